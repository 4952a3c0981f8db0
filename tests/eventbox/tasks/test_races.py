"""Wake-ups that race with a run under way: none is swallowed, whatever the clocks say."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from emulator.firestore import Fault as FirestoreFault
from emulator.tasks import Fault
from eventbox import EmitError, Transaction
from eventbox.tasks import EnqueueError, RunScope, WakeUp
from tests.advancing import while_advancing
from tests.eventbox.support import Waiting
from tests.eventbox.tasks.world import SECOND, SKEWS, Process, World

PHASES = [timedelta(milliseconds=milliseconds) for milliseconds in (0, 1, 450, 899, 900, 901, 999)]

Send = Callable[[Process], Awaitable[Any]]


async def send(process: Process) -> None:
    await process.queue.send(b"", process.order(), id="racing")


async def send_in_transaction(process: Process) -> None:
    async def body(transaction: Transaction) -> None:
        await process.queue.send(b"", process.order(), id="racing", transaction=transaction)

    await process.box.run_in_transaction(body)


async def emit_and_notify(process: Process) -> None:
    await process.box.emit(b"", process.order(), id="racing")
    await process.queue.notify(process.order())


SENDS = [send, send_in_transaction, emit_and_notify]


@pytest.mark.parametrize("skew", SKEWS, ids=str)
@pytest.mark.parametrize("phase", PHASES, ids=str)
@pytest.mark.parametrize("how", SENDS, ids=lambda how: how.__name__)
async def test_what_is_sent_while_a_run_is_under_way_has_a_run_of_its_own(
    world: World, how: Send, phase: timedelta, skew: timedelta
) -> None:
    await world.process().queue.send(b"", world.process().order(), id="first")
    gate = Waiting()

    async def in_run(wake_up: WakeUp) -> None:
        world.service.in_run = None
        await gate.wait()

    world.service.in_run = in_run
    await world.pass_time(SECOND)
    running = asyncio.create_task(world.tasks.drain())
    await gate.reached()  # it has listed the events, and will see no more of them
    world.clock.advance(phase)
    await how(world.process(skew))
    gate.open()
    await running
    await world.deliver()
    assert world.service.consumed == {"first": 1, "racing": 1}


@pytest.mark.parametrize("skew", SKEWS, ids=str)
@pytest.mark.parametrize("phase", PHASES, ids=str)
@pytest.mark.parametrize("how", SENDS, ids=lambda how: how.__name__)
async def test_what_is_sent_in_a_run_to_its_own_recipient_has_another_one(
    world: World, how: Send, phase: timedelta, skew: timedelta
) -> None:
    worker = world.process(skew)

    async def in_run(wake_up: WakeUp) -> None:
        world.service.in_run = None
        world.clock.advance(phase)
        await how(worker)

    await world.process().queue.send(b"", world.process().order(), id="first")
    world.service.in_run = in_run
    await world.deliver()
    await world.deliver()
    assert world.service.consumed == {"first": 1, "racing": 1}
    first, second = world.service.wake_ups
    assert second.second > first.second


@pytest.mark.parametrize("skew", SKEWS, ids=str)
@pytest.mark.parametrize("phase", PHASES, ids=str)
@pytest.mark.parametrize("how", SENDS, ids=lambda how: how.__name__)
async def test_a_run_starts_within_11_tenths_of_a_second_after_the_commit_and_never_before(
    world: World, how: Send, phase: timedelta, skew: timedelta
) -> None:
    world.clock.advance(phase)
    began = world.clock.now()
    await how(world.process(skew))
    (wake_up,) = await world.waiting()
    slack = timedelta(milliseconds=1)  # commit times rise by a little while the clock stands
    assert began < wake_up.at <= began + timedelta(seconds=1.1) + slack


@pytest.mark.parametrize("how", [send, send_in_transaction], ids=lambda how: how.__name__)
async def test_a_commit_whose_answer_was_lost_is_followed_by_its_own_second(world: World, how: Send) -> None:
    began = world.clock.now()
    world.firestore.faults.add(FirestoreFault(rpc="Commit", error="UNAVAILABLE", when="after"))
    process = world.process(timedelta(seconds=30))
    await while_advancing(world.clock, how(process))
    (wake_up,) = await world.waiting()
    assert wake_up.at == began + SECOND
    await process.queue.flush()
    assert await world.reminders() == []
    await world.deliver()
    assert world.service.consumed == {"racing": 1}


async def test_a_lost_commit_whose_reminder_has_been_swept_meanwhile_needs_nothing_more(
    world: World,
) -> None:
    process = world.process()
    world.firestore.faults.add(FirestoreFault(rpc="Commit", error="UNAVAILABLE", when="after"))
    world.firestore.faults.add(FirestoreFault(rpc="BatchGetDocuments", error="UNAVAILABLE", times=8))
    sending = asyncio.ensure_future(send(process))
    await world.pass_time(2 * SECOND)
    world.clock.advance(timedelta(seconds=61))  # a machine that stood still, say
    assert (await world.process().sweeper.sweep()).created == 1
    created = world.tasks.counts.rpcs["CreateTask"]
    with suppress(EmitError):  # its time may be over
        await while_advancing(world.clock, sending)
    assert world.tasks.counts.rpcs["CreateTask"] == created


async def test_the_first_notify_of_a_process_asks_the_server_for_its_time(world: World) -> None:
    process = world.process(timedelta(hours=-1))
    await world.process().box.emit(b"", world.process().order(), id="x")
    world.firestore.counts.reset()
    await process.queue.notify(process.order())
    assert world.firestore.counts.reads == 1
    await process.queue.notify(process.order("2"))
    assert world.firestore.counts.reads == 1
    await world.deliver()
    assert world.service.consumed == {"x": 1}


@pytest.mark.parametrize(("code", "transient"), [("UNAVAILABLE", True), ("PERMISSION_DENIED", False)])
async def test_where_the_server_does_not_tell_its_time_a_notify_is_an_enqueue_error(
    world: World, code: str, transient: bool
) -> None:
    process = world.process()
    world.firestore.faults.add(FirestoreFault(rpc="BatchGetDocuments", error=code, times=None))
    with pytest.raises(EnqueueError, match=r"orders/1.* fault injected") as caught:
        await while_advancing(world.clock, process.queue.notify(process.order()))
    assert caught.value.transient == transient
    assert not world.tasks.counts.rpcs


async def test_a_thousand_wake_ups_in_one_second_for_one_recipient_are_one_task_and_one_run(
    world: World,
) -> None:
    process = world.process()
    await asyncio.gather(*(process.queue.send(b"", process.order(), id=str(n)) for n in range(500)))
    for n in range(500, 1_000):
        await process.queue.send(b"", process.order(), id=str(n))
    assert world.tasks.counts.rpcs["CreateTask"] == 1
    await world.deliver()
    assert world.tasks.counts.dispatches == 1
    assert len(world.service.consumed) == 1_000


async def test_wake_ups_of_several_processes_for_one_second_are_one_run(world: World) -> None:
    for n, skew in enumerate(SKEWS):
        process = world.process(skew)
        await process.queue.send(b"", process.order(), id=str(n))
        await process.queue.notify(process.order())
    await world.deliver()
    assert world.tasks.counts.dispatches == 1
    assert len(world.service.consumed) == len(SKEWS)


async def test_a_creation_that_fails_lets_those_who_wait_for_it_try_themselves(world: World) -> None:
    process = world.process()
    world.tasks.faults.add(Fault(rpc="CreateTask", error="PERMISSION_DENIED", latency=SECOND))
    sends = [process.queue.send(b"", process.order(), id=str(n)) for n in range(3)]
    working = asyncio.gather(*sends)
    await world.turns()
    assert world.tasks.counts.rpcs["CreateTask"] == 1
    await world.pass_time(SECOND)
    await working
    assert world.tasks.counts.rpcs["CreateTask"] == 2
    await world.deliver()
    assert len(world.service.consumed) == 3


async def test_an_outage_holds_up_those_who_want_the_same_wake_up_no_longer_than_one_of_them(
    world: World,
) -> None:
    process = world.process()
    world.tasks.faults.add(Fault(rpc="CreateTask", error="UNAVAILABLE", times=None))
    began = world.clock.now()
    patient = asyncio.ensure_future(process.queue.notify(process.order()))
    await while_advancing(
        world.clock, asyncio.gather(*(process.queue.send(b"", process.order()) for _ in range(30)))
    )
    assert world.clock.now() - began <= 10 * SECOND + timedelta(milliseconds=1)
    assert not patient.done()
    with pytest.raises(EnqueueError) as caught:
        await while_advancing(world.clock, patient)
    assert caught.value.transient
    assert world.clock.now() - began <= 60 * SECOND


async def test_in_a_run_a_notify_is_for_a_later_second_than_the_runs_own_whatever_was_heard(
    world: World,
) -> None:
    process = world.process()
    run = WakeUp(process.order().ref._document_path, int(world.clock.now().timestamp()) + 5)
    with RunScope(run.second).entered():
        await process.queue.notify(process.order())
        await process.queue.wake(run.recipient, not_before=world.clock.now(), idle=3)
    (wake_up,) = await world.waiting()
    assert wake_up.second == run.second + 1


async def test_a_follow_up_bears_its_marks_and_starts_later_than_it_was_told(world: World) -> None:
    process = world.process()
    later = world.clock.now() + timedelta(seconds=8)
    order = process.order().ref._document_path
    await process.queue.wake(order, not_before=later, fresh=True, idle=3)
    (wake_up,) = await world.waiting()
    assert wake_up == WakeUp(order, int(later.timestamp()) + 1, fresh=True, idle=3)
