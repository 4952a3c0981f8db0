"""What a worker that is told to stop does with what it has in hand, and with what comes in still."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest

from emulator.firestore import Fault as SlowFirestore
from emulator.tasks import Fault
from eventbox import Event
from eventbox.tasks import TaskRequest
from tests.advancing import while_advancing
from tests.eventbox.support import Recording, Waiting, emit, outstanding
from tests.eventbox.tasks.worker.house import House, logged
from tests.eventbox.tasks.worker.requesting import call


def held_by(gate: Waiting) -> type[Recording]:
    """A processor whose batches wait at the gate."""

    class Held(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
            await gate.wait()
            return await super().prepare_mutation(events, state)

    return Held


async def test_the_batch_in_hand_is_finished_and_no_other_begun() -> None:
    house, gate = House(max_events=1), Waiting()
    house.processor = held_by(gate)
    order = house.order()
    await emit(house.box, order, "a", "b", "c")
    running = asyncio.ensure_future(house.wake(order))
    await gate.reached()

    house.worker.stop()
    gate.open()
    answered = await running

    assert (answered.status, answered.outcome) == (200, "left")
    assert len(await house.applied(order)) == 1
    [wake_up] = await house.wake_ups()
    assert wake_up.at > house.clock.now(), "made before the answer: a task that is answered never comes again"
    assert wake_up.idle == 0


async def test_a_batch_that_takes_longer_than_the_grace_is_let_go_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    house, gate = House(grace=timedelta(0)), Waiting()
    house.processor = held_by(gate)
    order = house.order()
    await emit(house.box, order, "a")
    running = asyncio.ensure_future(house.wake(order))
    await gate.reached()

    house.worker.stop()
    answered = await running

    assert (answered.status, answered.outcome) == (200, "left")
    assert await outstanding(house.box, order) == {"a"}
    assert len(await house.wake_ups()) == 1
    assert logged(caplog) == [("left", logging.DEBUG)]


async def test_what_is_left_is_done_by_the_next_process() -> None:
    house, gate = House(grace=timedelta(0)), Waiting()
    house.processor = held_by(gate)
    order = house.order()
    await house.worker.send(b"", order, id="a")
    house.clock.advance(timedelta(seconds=2))
    draining = asyncio.ensure_future(house.cloud_tasks.drain())
    await gate.reached()
    house.worker.stop()
    await draining
    assert not await house.applied(order)

    house.processor = Recording
    async with house.worker.lifespan():  # a new life
        await house.let(3)

    assert await house.applied(order) == ["a"]
    assert not await house.tasks()


async def test_where_the_next_wake_up_cannot_be_made_this_one_is_kept() -> None:
    house, gate = House(grace=timedelta(0)), Waiting()
    house.processor = held_by(gate)
    house.cloud_tasks.faults.add(Fault(rpc="CreateTask", error="PERMISSION_DENIED"))
    order = house.order()
    await emit(house.box, order, "a")
    running = asyncio.ensure_future(house.wake(order))
    await gate.reached()

    house.worker.stop()

    assert (await running).status == 500


async def test_a_wake_up_that_comes_after_that_is_passed_on() -> None:
    house = House()
    order = house.order()
    await emit(house.box, order, "a")
    house.worker.stop()

    answered = await house.wake(order, idle=3)

    assert (answered.status, answered.outcome) == (200, "left")
    assert not house.runs
    [wake_up] = await house.wake_ups()
    assert wake_up.idle == 3


async def test_a_wake_up_that_waits_for_its_turn_is_passed_on() -> None:
    house, gate = House(concurrency=1), Waiting()
    house.processor = held_by(gate)
    first, second = house.order("1"), house.order("2")
    for order in (first, second):
        await emit(house.box, order, "a")
    running = [asyncio.ensure_future(house.wake(order)) for order in (first, second)]
    await gate.reached()
    house.worker.stop()
    gate.open()

    assert [(await one).outcome for one in running] == ["done", "left"]
    assert await outstanding(house.box, second) == {"a"}
    assert [wake_up.recipient for wake_up in await house.wake_ups()] == [second.ref._document_path]


async def test_a_tasks_handler_has_the_grace_and_is_called_again_by_cloud_tasks() -> None:
    house, gate = House(grace=timedelta(0)), Waiting()

    async def handler(task: TaskRequest) -> None:
        await gate.wait()

    house.worker.task("/emails", handler)
    running = asyncio.ensure_future(call(house.worker.app, "/emails"))
    await gate.reached()
    house.worker.stop()

    answered = await running
    assert (answered.status, answered.outcome) == (500, "unavailable")


async def test_health_says_so_for_whoever_balances_the_load() -> None:
    house = House()
    assert (await call(house.worker.app, "/healthz", method="GET")).status == 200

    house.worker.stop()

    assert (await call(house.worker.app, "/healthz", method="GET")).status == 503


async def test_background_work_of_the_queue_is_awaited_at_the_end() -> None:
    house = House()
    life = house.worker.lifespan()
    await life.__aenter__()
    house.firestore.faults.add(SlowFirestore(rpc="BatchWrite", latency=timedelta(seconds=1)))
    await house.worker.send(b"", house.order())
    assert await reminders(house) == 1  # its deletion is under way

    await while_advancing(house.clock, life.__aexit__(None, None, None))

    assert await reminders(house) == 0


async def reminders(house: House) -> int:
    group = house.box.client.collection_group("eventbox_reminders")
    return len([snapshot async for snapshot in group.stream()])
