"""What tasks and wake-ups cost, as counted at the wire. Each RPC takes a second, so seconds are round trips."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest

from emulator.firestore import Fault as FirestoreFault
from emulator.tasks import Fault
from eventbox import Transaction
from eventbox.tasks import Task
from tests.advancing import while_advancing
from tests.eventbox.tasks.world import MINUTE, SECOND, Process, World


@dataclass(frozen=True)
class Cost:
    """What something cost, the background's work included, but for its round trips, which nobody waits for."""

    round_trips: int
    firestore: dict[str, int]
    tasks: dict[str, int]
    reads: int
    writes: int
    deletes: int


class Meter:
    def __init__(self, world: World, process: Process) -> None:
        self._world = world
        self._process = process

    async def __call__(self, awaitable: Awaitable[Any]) -> Cost:
        world = self._world
        pending = [
            world.firestore.faults.add(FirestoreFault(latency=SECOND, times=None)),
            world.tasks.faults.add(Fault(latency=SECOND, times=None)),
        ]
        firestore, tasks = world.firestore.counts, world.tasks.counts
        firestore.reset()
        tasks.reset()
        began = world.clock.monotonic()
        await while_advancing(world.clock, awaitable)
        round_trips = round(world.clock.monotonic() - began)
        await while_advancing(world.clock, self._process.queue.flush())
        for fault in pending:
            fault.remove()
        return Cost(
            round_trips,
            dict(firestore.rpcs),
            dict(tasks.rpcs),
            firestore.reads,
            firestore.writes,
            firestore.deletes,
        )


@pytest.fixture
def meter(world: World, process: Process) -> Meter:
    return Meter(world, process)


async def test_send(process: Process, meter: Meter) -> None:
    assert await meter(process.queue.send(b"", process.order())) == Cost(
        2, {"Commit": 1, "BatchWrite": 1}, {"CreateTask": 1}, 0, 2, 1
    )


async def test_send_of_a_duplicate(process: Process, meter: Meter) -> None:
    await process.box.emit(b"", process.order(), id="x")
    assert await meter(process.queue.send(b"", process.order(), id="x")) == Cost(
        3, {"Commit": 1, "BatchGetDocuments": 1}, {"CreateTask": 1}, 1, 0, 0
    )


async def test_send_without_waking_is_an_emit(process: Process, meter: Meter) -> None:
    assert await meter(process.queue.send(b"", process.order(), wake=False)) == Cost(
        1, {"BatchWrite": 1}, {}, 0, 1, 0
    )


async def test_send_in_a_transaction(process: Process, meter: Meter) -> None:
    async def body(transaction: Transaction) -> None:
        await process.queue.send(b"", process.order(), transaction=transaction)

    assert await meter(process.box.run_in_transaction(body)) == Cost(
        2, {"Commit": 1, "BatchWrite": 1}, {"CreateTask": 1}, 0, 2, 1
    )


async def test_many_sends_of_one_transaction_to_one_recipient_share_a_reminder(
    process: Process, meter: Meter
) -> None:
    async def body(transaction: Transaction) -> None:
        for _ in range(50):
            await process.queue.send(b"", process.order(), transaction=transaction)

    assert await meter(process.box.run_in_transaction(body)) == Cost(
        2, {"Commit": 1, "BatchWrite": 1}, {"CreateTask": 1}, 0, 51, 1
    )


async def test_several_tasks_of_one_transaction_are_created_side_by_side(
    process: Process, meter: Meter
) -> None:
    async def body(transaction: Transaction) -> None:
        for _ in range(20):
            await process.queue.enqueue(Task("/x"), transaction=transaction)
        await process.queue.send(b"", process.order("1"), transaction=transaction)
        await process.queue.send(b"", process.order("2"), transaction=transaction)

    cost = await meter(process.box.run_in_transaction(body))
    assert (cost.round_trips, cost.tasks) == (2, {"CreateTask": 22})
    assert (cost.reads, cost.writes, cost.deletes) == (0, 24, 22)
    assert cost.firestore == {"Commit": 1, "BatchWrite": 1}


async def test_enqueue(process: Process, meter: Meter) -> None:
    assert await meter(process.queue.enqueue(Task("/x"))) == Cost(1, {}, {"CreateTask": 1}, 0, 0, 0)


async def test_notify(process: Process, meter: Meter) -> None:
    await process.box.emit(b"", process.order())
    assert await meter(process.queue.notify(process.order())) == Cost(1, {}, {"CreateTask": 1}, 0, 0, 0)


async def test_what_a_process_has_made_sure_of_costs_nothing_again(process: Process, meter: Meter) -> None:
    await process.queue.send(b"", process.order())
    await process.queue.flush()
    assert await meter(process.queue.notify(process.order())) == Cost(0, {}, {}, 0, 0, 0)


async def test_the_deletion_is_on_its_way_when_a_send_returns(world: World, process: Process) -> None:
    await process.queue.send(b"", process.order())
    assert world.firestore.counts.rpcs["BatchWrite"] == 1


async def test_many_deletions_are_few_rpcs(process: Process, meter: Meter) -> None:
    sends = asyncio.gather(*(process.queue.send(b"", process.order(str(n))) for n in range(600)))
    cost = await meter(sends)
    assert (cost.writes, cost.deletes) == (1_200, 600)
    assert cost.firestore["BatchWrite"] <= 4


@pytest.mark.parametrize("shards", [1, 16, 40])
async def test_a_sweep_that_finds_nothing(world: World, shards: int) -> None:
    process = world.process(shards=shards)
    meter = Meter(world, process)
    cost = await meter(process.sweeper.sweep())
    assert (cost.firestore, cost.reads, cost.writes) == ({"RunQuery": shards}, shards, 0)


@pytest.mark.parametrize("skew", [timedelta(seconds=seconds) for seconds in (-30, 0, 30)], ids=str)
async def test_a_sweep_reads_nothing_that_is_fresh(world: World, process: Process, skew: timedelta) -> None:
    for n in range(30):
        await left_behind(world, process, str(n))
    sweeper = world.process(skew)
    if skew > timedelta(0):  # what it has heard of the server corrects a clock that leads
        await sweeper.queue.notify(sweeper.order())
    await world.pass_time(40 * SECOND)
    world.firestore.counts.reset()
    report = await sweeper.sweeper.sweep()
    assert (report.stale, report.complete) == (0, True)
    # a clock that lags, in a process that has heard nothing yet, takes one more query to find out that it does
    queries = 17 if skew < timedelta(0) else 16
    assert world.firestore.counts.rpcs == {"RunQuery": queries}
    assert world.firestore.counts.reads == queries


async def test_a_sweep_that_finds_some(world: World, process: Process) -> None:
    for n in range(10):
        await left_behind(world, process, str(n))
    await world.pass_time(2 * MINUTE)
    world.firestore.counts.reset()
    report = await world.process(shards=1).sweeper.sweep()
    assert report.stale < 10  # those of one shard of 16
    await world.process().sweeper.sweep()
    counts = world.firestore.counts
    assert (counts.deletes, counts.writes) == (10, 0)
    assert counts.reads <= 10 + 17


async def left_behind(world: World, process: Process, id: str) -> None:
    """A send whose process dies right after its commit."""
    send = process.queue.send(b"", process.order(id), id="x")
    assert not await world.run_until_death(send, "tasks", 0, "before")
