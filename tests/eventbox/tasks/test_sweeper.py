"""Sweeping up the reminders that were left behind."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition, ServiceUnavailable

from dsset.wire import Wire
from emulator.firestore import Fault as FirestoreFault
from emulator.tasks import Fault
from eventbox import Transaction
from eventbox.tasks import Sweeper, Task, TaskQueue
from eventbox.tasks.reminders import Reminder
from tests.advancing import while_advancing
from tests.eventbox.tasks.world import INDEXES, MINUTE, QUEUE, SECOND, SKEWS, Process, World


async def leave_behind(world: World, process: Process, *tasks: Task) -> None:
    """Tasks of a transaction whose process died right after the commit."""

    async def body(transaction: Transaction) -> None:
        for task in tasks:
            await process.queue.enqueue(task, transaction=transaction)

    assert not await world.run_until_death(process.box.run_in_transaction(body), "tasks", 0, "before")


async def send_and_die(world: World, process: Process, id: str) -> None:
    send = process.queue.send(b"", process.order(), id=id)
    assert not await world.run_until_death(send, "tasks", 0, "before")


@pytest.mark.parametrize("skew", SKEWS, ids=str)
async def test_only_what_is_stale_by_the_servers_time_is_touched(world: World, skew: timedelta) -> None:
    await leave_behind(world, world.process(shards=1), Task("/x"))
    sweeper = world.process(skew, shards=1).sweeper
    await world.pass_time(59 * SECOND)
    assert (await sweeper.sweep()).stale == 0
    await world.pass_time(2 * SECOND)
    report = await sweeper.sweep()
    assert (report.stale, report.created, report.failed, report.complete) == (1, 1, 0, True)
    assert (await sweeper.sweep()).stale == 0
    assert await world.tasks.drain() == 1


async def test_a_sweeper_whose_clock_lags_by_hours_finds_what_is_stale_at_its_first_sweep(
    world: World, process: Process
) -> None:
    await leave_behind(world, process, *(Task("/x") for _ in range(40)))
    await world.pass_time(2 * MINUTE)
    report = await world.process(timedelta(hours=-5)).sweeper.sweep()
    assert (report.stale, report.created, report.complete) == (40, 40, True)


async def test_it_names_a_wake_up_as_its_sender_would_have(world: World, process: Process) -> None:
    """The sender has created it, but died before it could delete the reminder."""
    await world.run_until_death(process.queue.send(b"", process.order(), id="x"), "firestore", 1, "before")
    assert len(await world.reminders()) == 1
    await world.deliver()
    await world.pass_time(2 * MINUTE)
    report = await world.process().sweeper.sweep()
    assert (report.stale, report.created, report.failed) == (1, 1, 0)
    await world.deliver()
    assert len(world.service.wake_ups) == 1
    assert await world.reminders() == []


async def test_sweeps_at_once_are_safe(world: World, process: Process) -> None:
    await leave_behind(world, process, *(Task("/x", str(n).encode()) for n in range(100)))
    await world.pass_time(2 * MINUTE)
    latency = [
        world.firestore.faults.add(FirestoreFault(latency=timedelta(milliseconds=30), times=None)),
        world.tasks.faults.add(Fault(latency=timedelta(milliseconds=70), times=None)),
    ]
    sweepers = [world.process(skew).sweeper for skew in SKEWS]
    reports = await while_advancing(world.clock, asyncio.gather(*(one.sweep() for one in sweepers)))
    for fault in latency:
        fault.remove()
    assert all(report.failed == 0 for report in reports)
    assert sum(report.stale for report in reports) > 100  # they did meet
    await world.deliver()
    assert Counter(request.body for request in world.service.tasks) == {
        str(n).encode(): 1 for n in range(100)
    }
    assert await world.reminders() == []


async def test_it_goes_page_by_page(world: World, process: Process) -> None:
    one = world.process(shards=1)
    for _ in range(8):
        await leave_behind(world, one, *(Task("/x") for _ in range(100)))
    await world.pass_time(2 * MINUTE)
    world.firestore.counts.reset()
    report = await world.process(shards=1).sweeper.sweep()
    assert (report.stale, report.created) == (800, 800)
    assert world.firestore.counts.rpcs == {"RunQuery": 3, "BatchWrite": 3}
    assert world.firestore.counts.reads == 800
    assert await world.reminders() == []


async def test_large_tasks_are_taken_a_few_at_a_time(world: World, process: Process) -> None:
    one = world.process(shards=1)
    for _ in range(12):
        await leave_behind(world, one, Task("/x", b"x" * 900_000))
    await world.pass_time(2 * MINUTE)
    world.firestore.counts.reset()
    assert (await world.process(shards=1).sweeper.sweep()).created == 12
    assert world.firestore.counts.rpcs["RunQuery"] == 2


async def test_one_that_is_refused_for_good_does_not_block_those_behind_it(
    world: World, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    one = world.process(shards=1)
    await leave_behind(world, one, Task("/x", b"bad"))
    await world.pass_time(SECOND)
    await leave_behind(world, one, Task("/x", b"good"))
    await world.pass_time(2 * MINUTE)
    world.tasks.faults.add(Fault(rpc="CreateTask", error="PERMISSION_DENIED"))
    sweeper = world.process(shards=1).sweeper
    caplog.clear()
    report = await sweeper.sweep()
    assert (report.stale, report.created, report.failed) == (2, 1, 1)
    (record,) = [one for one in caplog.records if one.levelno == logging.ERROR]
    assert "eventbox_reminders" in record.getMessage()
    assert "PERMISSION_DENIED" in record.getMessage()
    assert (await sweeper.sweep()).stale == 0  # it was put off
    await world.pass_time(MINUTE + SECOND)
    assert (await sweeper.sweep()).created == 1
    await world.deliver()
    assert {request.body for request in world.service.tasks} == {b"bad", b"good"}


async def test_what_fails_again_and_again_is_tried_less_and_less_often(
    world: World, process: Process
) -> None:
    await leave_behind(world, process, Task("/x"))
    world.tasks.faults.add(Fault(rpc="CreateTask", error="PERMISSION_DENIED", times=None))
    sweeper = world.process().sweeper
    waits = []
    last = world.clock.now()
    while len(waits) < 9:
        world.clock.advance(MINUTE)
        if (await sweeper.sweep()).failed:
            waits.append((world.clock.now() - last) / MINUTE)
            last = world.clock.now()
    # it is a little past each time, for commit times rise by a little while the clock stands
    assert [round(wait) for wait in waits] == pytest.approx([1, 1, 2, 4, 8, 16, 32, 60, 60], abs=1.01)


async def test_a_reminder_that_nobody_can_read_is_put_off(world: World, process: Process) -> None:
    shelf = process.queue._shelf
    for id, data in {"00": {}, "01": {"task": b"\xff", "name": "x"}, "02": {"recipient": 5}}.items():
        path = shelf.name(id * 16).partition("/documents/")[2]
        await process.client.document(path).set({"fresh_until": world.clock.now(), **data})
    report = await process.sweeper.sweep()
    assert (report.stale, report.failed) == (3, 3)
    assert (await process.sweeper.sweep()).stale == 0


async def test_an_outage_of_cloud_tasks_ends_a_sweep_early_and_nothing_is_lost(
    world: World, process: Process
) -> None:
    one = world.process(shards=1)
    for _ in range(5):
        await leave_behind(world, one, *(Task("/x") for _ in range(100)))
    await world.pass_time(2 * MINUTE)
    outage = world.tasks.faults.add(Fault(rpc="CreateTask", error="UNAVAILABLE", times=None))
    report = await while_advancing(world.clock, world.process(shards=1).sweeper.sweep())
    assert (report.created, report.complete) == (0, False)
    assert report.failed == report.stale == 300  # a page of them
    outage.remove()
    await world.pass_time(10 * MINUTE)
    report = await world.process(shards=1).sweeper.sweep()
    assert (report.created, report.complete) == (500, True)


async def test_a_shard_that_cannot_be_read_is_left_to_the_next_sweep(
    world: World, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    await leave_behind(world, process, *(Task("/x") for _ in range(100)))
    await world.pass_time(2 * MINUTE)
    world.firestore.faults.add(FirestoreFault(rpc="RunQuery", error="PERMISSION_DENIED", times=2))
    sweeper = world.process().sweeper
    report = await sweeper.sweep()
    assert not report.complete
    assert 0 < report.created < 100
    assert "left to the next sweep" in caplog.text
    assert report.created + (await sweeper.sweep()).created == 100


async def test_a_sweep_that_can_read_nothing_at_all_is_an_error(world: World, process: Process) -> None:
    world.firestore.faults.add(FirestoreFault(rpc="RunQuery", error="UNAVAILABLE", times=None))
    with pytest.raises(ServiceUnavailable):
        await while_advancing(world.clock, process.sweeper.sweep())


async def test_a_deadline_ends_it_and_the_next_one_goes_on(world: World, process: Process) -> None:
    await leave_behind(world, process, *(Task("/x") for _ in range(200)))
    await world.pass_time(2 * MINUTE)
    slow = world.tasks.faults.add(Fault(rpc="CreateTask", latency=SECOND, times=None))
    sweeper = world.process().sweeper
    began = world.clock.now()
    report = await while_advancing(world.clock, sweeper.sweep(deadline=began + 3 * SECOND))
    assert world.clock.now() - began <= 4 * SECOND
    assert not report.complete
    assert 0 < report.created < 200
    slow.remove()
    assert report.created + (await sweeper.sweep()).created == 200
    assert (await sweeper.sweep(deadline=world.clock.now())).complete is False


async def test_run_sweeps_until_it_is_cancelled_and_survives_failures(
    world: World, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    running = asyncio.create_task(Sweeper(process.queue).run(timedelta(seconds=30)))
    await world.turns()
    await leave_behind(world, world.process(), Task("/x", b"1"))
    world.firestore.faults.add(FirestoreFault(rpc="RunQuery", error="PERMISSION_DENIED", times=16))
    await world.pass_time(31 * SECOND)
    assert "a sweep of projects/demo" in caplog.text
    await world.pass_time(2 * MINUTE)
    await world.tasks.drain()
    assert [request.body for request in world.service.tasks] == [b"1"]
    running.cancel()
    with suppress(asyncio.CancelledError):
        await running
    assert running.cancelled()


async def test_many_fresh_reminders_do_not_make_it_slow_or_dear(world: World, process: Process) -> None:
    await _plant(world, process, 20_000, fresh_for=timedelta(days=30))
    await leave_behind(world, process, Task("/x"))
    await world.pass_time(2 * MINUTE)
    world.firestore.counts.reset()
    report = await world.process().sweeper.sweep()
    assert (report.stale, report.created) == (1, 1)
    assert world.firestore.counts.reads == 16


async def test_thousands_of_stale_ones_are_spread_evenly_and_finished_in_one_sweep(
    world: World, process: Process
) -> None:
    await _plant(world, process, 5_000, fresh_for=MINUTE)
    paths = [snapshot.reference.path async for snapshot in _stream(process)]
    shards = Counter(path.split("/")[1] for path in paths)
    assert len(shards) == 16
    assert min(shards.values()) > 5_000 / 16 * 0.7
    await world.pass_time(2 * MINUTE)
    report = await process.sweeper.sweep()
    assert (report.stale, report.created, report.complete) == (5_000, 5_000, True)
    assert await world.reminders() == []


async def test_reminders_of_other_queues_are_left_alone(world: World, process: Process) -> None:
    other = world.tasks.create_queue(QUEUE + "-2")
    queue = TaskQueue(
        world.tasks.client(), other, target="https://o.test", service_account=None, box=process.box
    )
    await leave_behind(world, process, Task("/x"))
    await world.pass_time(2 * MINUTE)
    assert (await Sweeper(queue).sweep()).stale == 0
    assert (await process.sweeper.sweep()).stale == 1


async def test_the_repositorys_indexes_serve_it_and_no_other_query() -> None:
    async with World(indexes=INDEXES, enforce_indexes=True) as world:
        process = world.process()
        await leave_behind(world, process, *(Task("/x") for _ in range(700)))
        await send_and_die(world, process, "x")
        await world.pass_time(2 * MINUTE)
        assert (await world.process().sweeper.sweep()).created == 701
        await world.deliver()
        assert world.service.consumed == {"x": 1}
        reminders = process.client.collection("eventbox_queues/x/eventbox_reminders")
        for field in ("name", "task", "recipient", "eta", "failures"):
            with pytest.raises(FailedPrecondition, match=f"eventbox_reminders and field {field}"):
                await reminders.order_by(field).get()


async def _plant(world: World, process: Process, count: int, *, fresh_for: timedelta) -> None:
    """Reminders of tasks, written straight away."""
    queue = process.queue
    task = queue._target.task(Task("/x"))
    fresh_until = world.clock.now() + fresh_for
    wire_writes: list[Any] = []
    for _ in range(count):
        reminder = Reminder.of_task(task, None, process.box._rng, fresh_until)
        wire_writes.append(queue._shelf.write(reminder))
    for start in range(0, count, 500):
        await Wire.of(process.client).batch_write(wire_writes[start : start + 500])


def _stream(process: Process) -> Any:
    return process.client.collection_group("eventbox_reminders").stream()
