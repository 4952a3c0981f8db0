"""A process dies at any RPC of its work: what it has committed runs, and what it has not does not."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest

from eventbox import Transaction
from eventbox.tasks import Task
from tests.eventbox.tasks.world import SKEWS, Process, World

Work = Callable[[Process], Awaitable[Any]]

DEATHS = [
    (where, rpc, when)
    for where in ("firestore", "tasks")
    for rpc in range(3)
    for when in ("before", "after", "late")
]
"""No work here makes more than three RPCs to either; a test says so."""


async def send(process: Process) -> None:
    await process.queue.send(b"", process.order(), id="x")


async def send_again(process: Process) -> None:
    """An event that is there already, emitted without waking anybody."""
    await process.box.emit(b"", process.order(), id="x")
    await process.queue.send(b"", process.order(), id="x")


async def send_later(process: Process) -> None:
    eta = process.box.clock.now() + timedelta(seconds=40)
    await process.queue.send(b"", process.order(), id="x", process_after=eta)


async def send_in_transaction(process: Process) -> None:
    async def body(transaction: Transaction) -> None:
        transaction.set(process.client.document("witness/1"), {})
        await process.queue.send(b"", process.order(), id="x", transaction=transaction)

    await process.box.run_in_transaction(body)


async def enqueue_in_transaction(process: Process) -> None:
    async def body(transaction: Transaction) -> None:
        transaction.set(process.client.document("witness/1"), {})
        await process.queue.enqueue(Task("/mail", b"1"), transaction=transaction)
        await process.queue.enqueue(Task("/mail", b"2", name="mail-2"), transaction=transaction)

    await process.box.run_in_transaction(body)


async def enqueue_after_a_read(process: Process) -> None:
    async def body(transaction: Transaction) -> None:
        await process.client.document("witness/1").get(transaction=transaction)
        transaction.set(process.client.document("witness/1"), {})
        await process.queue.enqueue(Task("/mail", b"1"), transaction=transaction)
        await process.queue.enqueue(Task("/mail", b"2"), transaction=transaction)

    await process.box.run_in_transaction(body)


async def is_committed(world: World, path: str) -> bool:
    client = world.process().client
    return bool(await client.collection(path).limit(1).get())


@pytest.mark.parametrize("skew", SKEWS, ids=str)
@pytest.mark.parametrize(("where", "rpc", "when"), DEATHS)
@pytest.mark.parametrize("work", [send, send_later, send_in_transaction], ids=lambda work: work.__name__)
async def test_an_event_that_was_committed_is_consumed_and_one_that_was_not_wakes_nobody(
    world: World, work: Work, where: str, rpc: int, when: str, skew: timedelta
) -> None:
    await world.pass_time(timedelta(milliseconds=950))  # a phase in which a second is soon over
    await world.run_until_death(work(world.process(skew)), where, rpc, when)
    await world.recover()
    committed = await is_committed(world, "orders/1/eventbox_inbox")
    assert world.service.consumed == ({"x": 1} if committed else {})
    assert bool(world.service.wake_ups) == committed
    if work is send_in_transaction:
        assert await is_committed(world, "witness") == committed
    assert await world.reminders() == []


@pytest.mark.parametrize("skew", SKEWS, ids=str)
@pytest.mark.parametrize(("where", "rpc", "when"), DEATHS)
@pytest.mark.parametrize(
    "work", [enqueue_in_transaction, enqueue_after_a_read], ids=lambda work: work.__name__
)
async def test_a_task_runs_at_least_once_if_and_only_if_its_transaction_was_committed(
    world: World, work: Work, where: str, rpc: int, when: str, skew: timedelta
) -> None:
    await world.run_until_death(work(world.process(skew)), where, rpc, when)
    await world.recover()
    committed = await is_committed(world, "witness")
    assert {request.body for request in world.service.tasks} == ({b"1", b"2"} if committed else set())
    assert len(world.service.tasks) == (2 if committed else 0)  # the names hold while Cloud Tasks knows them
    assert await world.reminders() == []


@pytest.mark.parametrize("skew", SKEWS, ids=str)
@pytest.mark.parametrize(("where", "rpc", "when"), DEATHS)
async def test_an_event_emitted_before_is_consumed_once_a_send_of_it_has_returned(
    world: World, where: str, rpc: int, when: str, skew: timedelta
) -> None:
    if not await world.run_until_death(send_again(world.process(skew)), where, rpc, when):
        await send_again(world.process(skew))  # as whoever got no answer does
    await world.recover()
    assert world.service.consumed == {"x": 1}
    assert await world.reminders() == []


@pytest.mark.parametrize(
    "work", [send, send_again, send_later, send_in_transaction, enqueue_in_transaction, enqueue_after_a_read],
    ids=lambda work: work.__name__,
)  # fmt: skip
async def test_these_are_all_the_places_to_die(world: World, work: Work) -> None:
    process = world.process()
    await work(process)
    await process.queue.aclose()
    assert sum(world.firestore.counts.rpcs.values()) <= 3
    assert sum(world.tasks.counts.rpcs.values()) <= 3
    await world.recover()
    assert world.service.requests


@pytest.mark.parametrize("rpc", range(20))
@pytest.mark.parametrize("when", ["before", "after", "late"])
@pytest.mark.parametrize("where", ["firestore", "tasks"])
async def test_a_sweeper_that_dies_anywhere_leaves_the_rest_to_the_next_one(
    world: World, where: str, rpc: int, when: str
) -> None:
    for body in (b"1", b"2", b"3"):
        task = Task("/mail", body)
        work = world.process().box.run_in_transaction(_enqueueing(world.process(), task))
        assert not await world.run_until_death(work, "tasks", 0, "before")
    await world.pass_time(timedelta(minutes=2))
    await world.run_until_death(world.process().sweeper.sweep(), where, rpc, when)
    await world.recover()
    assert sorted(request.body for request in world.service.tasks) == [b"1", b"2", b"3"]
    assert await world.reminders() == []


def _enqueueing(process: Process, task: Task) -> Callable[[Transaction], Awaitable[None]]:
    async def body(transaction: Transaction) -> None:
        await process.queue.enqueue(task, transaction=transaction)

    return body
