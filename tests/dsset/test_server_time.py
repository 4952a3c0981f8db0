"""What is known of the server's time: a lower bound, whatever this machine's clock says."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from google.cloud.firestore import AsyncClient

from dsset import DSSet, Item
from dsset.clock import SystemClock
from dsset.server_time import ServerTime
from dsset.wire import Wire
from eventbox.testing import ManualClock

SECOND = timedelta(seconds=1)


class WrongClock(ManualClock):
    """A clock whose time of day is wrong, on which as much time passes as on the right one."""

    def __init__(self, right: ManualClock, skew: timedelta) -> None:
        super().__init__(right.now() + skew)
        self._right = right

    def monotonic(self) -> float:
        return self._right.monotonic()


@pytest.fixture(params=[-3600, -30, 0, 30, 3600])
def server_time(request: pytest.FixtureRequest, local_client: AsyncClient, clock: ManualClock) -> ServerTime:
    """As known by a process whose clock is wrong by so many seconds."""
    return ServerTime.of(local_client, WrongClock(clock, timedelta(seconds=request.param)))


async def test_nothing_is_known_before_anything_was_heard(server_time: ServerTime) -> None:
    assert server_time.lower_bound() is None


async def test_a_commits_time_is_heard_and_what_passes_since_is_added(
    server_time: ServerTime, local_client: AsyncClient, clock: ManualClock
) -> None:
    began = clock.now()
    response = await Wire.of(local_client).commit([])
    heard = server_time.lower_bound()
    assert heard is not None
    assert began <= heard < began + SECOND
    assert heard == response.commit_time.ToDatetime(UTC)
    clock.advance(timedelta(minutes=5))
    assert server_time.lower_bound() == heard + timedelta(minutes=5)


@pytest.mark.parametrize("what", ["add", "list", "delete", "states"])
async def test_every_answer_is_heard(
    what: str, server_time: ServerTime, local_client: AsyncClient, clock: ManualClock
) -> None:
    began = clock.now()
    dsset = DSSet(local_client.document("queues/1"), clock=clock)
    match what:
        case "add":
            await dsset.add([Item("x", b"")])
        case "list":
            await dsset.list(1)
        case "delete":
            await dsset.delete(["x"])
        case "states":
            await dsset.states(["x"])
    heard = server_time.lower_bound()
    assert heard is not None
    assert began <= heard < began + SECOND


async def test_of_many_writes_the_latest_commit_is_heard(
    server_time: ServerTime, local_client: AsyncClient, clock: ManualClock
) -> None:
    dsset = DSSet(local_client.document("queues/1"), clock=clock)
    await dsset.add([Item(str(n), b"") for n in range(100)])
    heard = server_time.lower_bound()
    created = [item.created_at for item in (await dsset.list(100)).items]
    assert heard is not None
    assert heard >= max(created)


def test_a_slow_answer_does_not_take_back_what_a_quick_one_has_told(clock: ManualClock) -> None:
    server_time = ServerTime(clock)
    epoch = datetime(1970, 1, 1, tzinfo=UTC)
    server_time.hear(100_000_000)
    clock.advance(10 * SECOND)
    server_time.hear(105_000_000)  # it took 5 s to arrive
    assert server_time.lower_bound() == epoch + 110 * SECOND
    server_time.hear(112_000_000)  # and this one less time than the first
    assert server_time.lower_bound() == epoch + 112 * SECOND


async def test_one_client_and_clock_have_one_server_time(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    assert ServerTime.of(local_client, clock) is ServerTime.of(local_client, clock)
    assert ServerTime.of(local_client, clock) is not ServerTime.of(local_client, ManualClock())
    # boxes that are made without a clock share the machine's
    assert ServerTime.of(local_client, SystemClock()) is ServerTime.of(local_client, SystemClock())


def test_it_is_known_without_an_event_loop_and_says_utc(clock: ManualClock) -> None:
    server_time = ServerTime(clock)
    server_time.hear(1_500_000)
    assert server_time.lower_bound() == datetime(1970, 1, 1, 0, 0, 1, 500_000, tzinfo=UTC)
