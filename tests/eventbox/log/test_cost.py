"""What the log costs: RPCs, sequential round trips, reads and writes, as its docstrings say."""

from __future__ import annotations

from datetime import timedelta

import pytest

from emulator.firestore import Emulator
from eventbox.log import EventLog
from eventbox.testing import ManualClock
from tests.eventbox.log.support import Recording, append, append_and_order
from tests.eventbox.test_cost import Cost, Meter


@pytest.fixture
def meter(emulator: Emulator, clock: ManualClock) -> Meter:
    return Meter(emulator, clock)


async def test_appending_is_one_write(local_log: EventLog, meter: Meter) -> None:
    assert await meter(local_log.append("a", b"1")) == Cost(1, 1, 0, 1)
    assert await meter(append(local_log, *map(str, range(100)))) == Cost(1, 1, 0, 100)


@pytest.mark.parametrize("n", [1, 20, 500])
async def test_a_step_is_two_round_trips_and_a_write_an_entry(
    local_log: EventLog, meter: Meter, n: int
) -> None:
    await append_and_order(local_log, "a")
    await append(local_log, *map(str, range(n)))
    # the head, and a segment in each of the two logs
    assert await meter(local_log.order()) == Cost(2, 3, n + 1, n + 1 + 2)


async def test_a_step_with_nothing_to_order_is_two_reads(local_log: EventLog, meter: Meter) -> None:
    assert await meter(local_log.order()) == Cost(1, 2, 2, 0)


async def test_reading(local_log: EventLog, meter: Meter) -> None:
    await append_and_order(local_log, *map(str, range(200)))
    assert await meter(local_log.read(0, 100)) == Cost(1, 1, 1, 0)
    assert await meter(local_log.next_id()) == Cost(1, 1, 1, 0)
    # no segment (a query reads 1 at least), then the head
    assert await meter(local_log.read(200)) == Cost(2, 2, 2, 0)


async def test_following_a_backlog_is_a_commit_a_batch_and_a_read_a_segment(
    local_log: EventLog, meter: Meter
) -> None:
    await append_and_order(local_log, *map(str, range(500)))
    handling = local_log.handle_events("f", Recording(), until_idle=True, batch=100)
    # the cursor; the head before and after; one segment; five commits
    assert await meter(handling) == Cost(9, 9, 4, 5)


async def test_trimming(local_log: EventLog, meter: Meter) -> None:
    for _ in range(8):
        await append_and_order(local_log, *(["x" * 700] * 100))
    segments = len(await local_log._ref.collection("eventbox_log_trimable_segments").get())
    assert segments == 8
    trimming = local_log.trim(min_id_age=151, min_age=timedelta(0))
    # the head; the segments, of which six are deleted and one loses half of its entries
    first = await meter(trimming)
    assert (first.reads, first.writes_and_deletes) == (1 + 8 + 2, 7)
