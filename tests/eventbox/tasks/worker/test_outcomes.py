"""The table of outcomes, row by row: status, log level, metric, and what comes of it."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from google.api_core.exceptions import PermissionDenied, ServiceUnavailable

from emulator.tasks import Fault
from eventbox import Event, Mutation, Recipient, SkipTransition, Transition
from tests.eventbox.support import Deciding, Recording, emit, outstanding
from tests.eventbox.tasks.worker.expecting import expect
from tests.eventbox.tasks.worker.house import House
from tests.eventbox.tasks.worker.requesting import call


def deciding(decide: Any) -> Any:
    return lambda recipient: Deciding(recipient, decide)


class Contending(Recording):
    """Somebody else processes the same events while it makes up its mind."""

    house: House

    async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
        mutation = await super().prepare_mutation(events, state)
        order = self.house.order()
        await self.house.new_box().process_batch(order, Recording(order))
        return mutation


async def test_done(house: House, caplog: pytest.LogCaptureFixture) -> None:
    order = house.order()
    await emit(house.box, order, "a", "b")

    answered = await house.wake(order)

    assert (answered.status, answered.outcome) == (200, "done")
    assert sorted(await house.applied(order)) == ["a", "b"]
    assert not await house.tasks()
    expect(house, caplog, "done", logging.DEBUG)
    assert [*house.counted()] == [("wake", "done", "order")]


async def test_done_where_there_is_nothing_to_do(house: House, caplog: pytest.LogCaptureFixture) -> None:
    answered = await house.wake(house.order())

    assert (answered.status, answered.outcome) == (200, "done")
    assert not await house.tasks()
    expect(house, caplog, "done", logging.DEBUG)


async def test_left_where_time_is_up(caplog: pytest.LogCaptureFixture) -> None:
    house = House(max_events=1)
    order = house.order()

    class Slow(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
            house.clock.advance(timedelta(seconds=90))
            return await super().prepare_mutation(events, state)

    house.processor = Slow
    await emit(house.box, order, "a", "b", "c", "d")

    answered = await house.wake(order)

    assert (answered.status, answered.outcome) == (200, "left")
    assert len(await house.applied(order)) == 2, "a third batch would have ended after two thirds of 300 s"
    expect(house, caplog, "left", logging.DEBUG)
    [wake_up] = await house.wake_ups()
    assert wake_up.at > house.clock.now()
    assert (wake_up.idle, wake_up.fresh) == (0, False)
    house.processor = Recording
    await house.let(3)
    assert sorted(await house.applied(order)) == ["a", "b", "c", "d"]
    assert not await house.tasks()


async def test_stuck_where_nothing_moves(house: House, caplog: pytest.LogCaptureFixture) -> None:
    order = house.order()
    house.processor = deciding(lambda events, state: Mutation())
    await emit(house.box, order, "a")

    answered = await house.wake(order)

    assert (answered.status, answered.outcome) == (200, "stuck")
    expect(house, caplog, "stuck", logging.INFO)
    [wake_up] = await house.wake_ups()
    assert wake_up.idle == 1


async def test_stuck_is_worth_a_warning_after_a_while(house: House, caplog: pytest.LogCaptureFixture) -> None:
    order = house.order()
    house.processor = deciding(lambda events, state: Mutation())
    await emit(house.box, order, "a")

    await house.wake(order, idle=4)

    expect(house, caplog, "stuck", logging.WARNING)


async def test_runs_that_move_nothing_come_later_and_later(house: House) -> None:
    house = House(longest_pause=timedelta(seconds=20))
    order = house.order()
    await emit(house.box, order, "a")
    times: list[float] = []
    start = house.clock.now()

    def skip(events: Any, state: Any) -> Mutation[Any]:
        times.append((house.clock.now() - start).total_seconds())
        return Mutation()

    house.processor = deciding(skip)
    await house.wake(order)
    await house.let(100)

    pauses = [later - earlier for earlier, later in pairwise(times)]
    assert pauses == [1, 2, 4, 8, 16, 21, 21, 21]


async def test_a_run_that_moves_something_comes_again_soon(house: House) -> None:
    order = house.order()
    skipped = False

    async def skip(transaction: Any) -> None:
        raise SkipTransition

    def one_at_a_time(events: Sequence[Event], state: Any) -> Mutation[Any]:
        nonlocal skipped
        if skipped or not events:
            return Mutation([Transition({"n": 1}, events=events, side_effect=skip)] if events else [])
        skipped = True
        return Mutation([Transition({"n": 0}, events=events[:1])])

    house.processor = deciding(one_at_a_time)
    await emit(house.box, order, "a", "b")

    await house.wake(order, idle=7)

    [wake_up] = await house.wake_ups()
    assert wake_up.idle == 0


async def test_contended(house: House, caplog: pytest.LogCaptureFixture) -> None:
    order = house.order()
    Contending.house = house
    house.processor = Contending
    await emit(house.box, order, "a")

    answered = await house.wake(order)

    assert (answered.status, answered.outcome) == (200, "contended")
    expect(house, caplog, "contended", logging.INFO)
    [wake_up] = await house.wake_ups()
    assert wake_up.at > house.clock.now()
    assert wake_up.idle == 1


async def test_contended_where_the_fresh_wake_up_fails_too(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    order = house.order()
    Contending.house = house
    house.processor = Contending
    await emit(house.box, order, "a")
    house.cloud_tasks.faults.add(Fault(rpc="CreateTask", error="PERMISSION_DENIED"))

    answered = await house.wake(order)

    assert (answered.status, answered.outcome) == (500, "failed")
    [record] = [record for record in caplog.records if hasattr(record, "outcome")]
    assert record.levelno == logging.ERROR
    assert isinstance(record.exc_info[1].__cause__, PermissionDenied)


async def test_late(house: House, caplog: pytest.LogCaptureFixture) -> None:
    order = house.order()
    await emit(house.box, order, "a")

    answered = await house.wake(order, ago=62, idle=8)

    assert (answered.status, answered.outcome) == (200, "late")
    assert not house.runs
    expect(house, caplog, "late", logging.WARNING)
    [wake_up] = await house.wake_ups()
    assert wake_up.fresh
    assert wake_up.idle == 8
    assert wake_up.at - house.clock.now() <= timedelta(seconds=2), "it has waited already"
    house.clock.advance(timedelta(minutes=10))
    await house.cloud_tasks.drain()
    assert await house.applied(order) == ["a"], "a fresh one is never late again"


async def test_a_minute_is_not_late(house: House) -> None:
    order = house.order()
    await emit(house.box, order, "a")

    assert (await house.wake(order, ago=59)).outcome == "done"


async def test_late_by_the_servers_time_whatever_this_machines_says() -> None:
    house = House()
    order = house.order()
    await emit(house.box, order, "a")
    house.clock._now += timedelta(hours=1)  # set forward, while no time passes

    assert (await house.wake(order, ago=3600)).outcome == "done"
    assert (await house.wake(order, ago=3600 + 62)).outcome == "late"


@pytest.mark.parametrize(
    "error", [ServiceUnavailable("down"), TimeoutError(), ConnectionResetError()], ids=repr
)
async def test_unavailable(house: House, caplog: pytest.LogCaptureFixture, error: Exception) -> None:
    def fail(events: Any, state: Any) -> Any:
        raise error

    house.processor = deciding(fail)
    order = house.order()
    await emit(house.box, order, "a")

    answered = await house.wake(order)

    assert (answered.status, answered.outcome) == (500, "unavailable")
    assert await outstanding(house.box, order) == {"a"}
    expect(house, caplog, "unavailable", logging.WARNING)


async def test_a_handler_that_is_not_asynchronous_is_told_so(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.worker.task("/plain", lambda task: None)  # type: ignore[arg-type, return-value]

    answered = await call(house.worker.app, "/plain")

    assert (answered.status, answered.outcome) == (500, "failed")
    [record] = [record for record in caplog.records if record.levelno == logging.ERROR]
    assert "the handler of /plain must be asynchronous (async def)" in (
        record.exc_text or str(record.exc_info)
    )


async def test_failed(house: House, caplog: pytest.LogCaptureFixture) -> None:
    def fail(events: Any, state: Any) -> Any:
        raise KeyError("colour")

    house.processor = deciding(fail)
    order = house.order()
    await emit(house.box, order, "a")

    answered = await house.wake(order)

    assert (answered.status, answered.outcome) == (500, "failed")
    expect(house, caplog, "failed", logging.ERROR)
    [record] = [record for record in caplog.records if hasattr(record, "outcome")]
    assert "KeyError: 'colour'" in (record.exc_text or "")
    assert record.recipient == "orders/1"


async def test_an_event_that_fails_alone_is_tried_again_and_its_neighbours_are_done(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.processor = Choking
    order = house.order()
    await emit(house.box, order, "a", "poison", "b")

    answered = await house.wake(order)

    assert (answered.status, answered.outcome) == (500, "failed")
    assert sorted(await house.applied(order)) == ["a", "b"]
    expect(house, caplog, "failed", logging.ERROR)


async def test_quarantined(caplog: pytest.LogCaptureFixture) -> None:
    house = House(box={"quarantine_after": 1})
    house.processor = Choking
    order = house.order()
    await emit(house.box, order, "a", "poison", "b")

    answered = await house.wake(order)

    assert (answered.status, answered.outcome) == (200, "quarantined")
    assert sorted(await house.applied(order)) == ["a", "b"]
    assert [one.event.id for one in await house.box.quarantined(order)] == ["poison"]
    assert not await house.tasks()
    expect(house, caplog, "quarantined", logging.WARNING)


async def test_poison_is_set_aside_by_and_by_as_cloud_tasks_tries_again(house: House) -> None:
    house.processor = Choking
    order = house.order()
    for event in ("a", "poison", "b"):
        await house.worker.send(b"", order, id=event)

    await house.let(120)

    assert sorted(await house.applied(order)) == ["a", "b"]
    assert [one.event.id for one in await house.box.quarantined(order)] == ["poison"]
    assert not await house.tasks()
    counted = house.counted()
    assert counted["wake", "failed", "order"] == 4
    assert counted["wake", "quarantined", "order"] == 1


class Choking(Recording):
    """Fails on one event."""

    async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
        if any(event.id == "poison" for event in events):
            raise KeyError("colour")
        return await super().prepare_mutation(events, state)


async def test_a_factory_that_fails_is_a_failure(house: House, caplog: pytest.LogCaptureFixture) -> None:
    def fail(recipient: Recipient) -> Any:
        raise KeyError("no such order")

    house.processor = fail
    assert (await house.wake(house.order())).outcome == "failed"
    house.processor = lambda recipient: object()
    assert (await house.wake(house.order())).outcome == "failed"
