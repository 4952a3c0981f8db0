"""`Leader`, `ListenerManager` and `Broadcaster` end what they began, and pass on what they must."""

from __future__ import annotations

import asyncio

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator
from eventbox.sources import (
    Broadcaster,
    EventStore,
    Leader,
    ListenerError,
    ListenerManager,
    ListenerStore,
    LockLostError,
    Service,
    StoredEvent,
)
from eventbox.sources.ending import end
from eventbox.testing import ManualClock
from tests.eventbox.sources.locks import LEASE, make, settle


async def test_who_is_cancelled_while_tasks_end_is_cancelled_when_they_have() -> None:
    last = asyncio.Event()

    async def slow_to_end() -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await last.wait()

    slow = asyncio.create_task(slow_to_end())
    await settle()
    ending = asyncio.create_task(end(slow))
    await settle()
    ending.cancel()
    await settle()
    assert not ending.done()
    last.set()
    with pytest.raises(asyncio.CancelledError):
        await ending
    assert slow.done()


async def test_the_works_own_loss_of_another_lock_is_raised_and_the_work_not_done_anew(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    lock, times = make(local_client, clock), 0

    async def work(token: int) -> None:
        nonlocal times
        times += 1
        if times == 1:
            raise LockLostError("another lock")

    with pytest.raises(LockLostError, match="another lock"):
        await Leader(lock).run(work)
    assert times == 1
    assert not lock.held


async def test_a_listener_that_is_slow_to_end_has_ended_when_run_raises(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    ended = []

    async def slow_to_end(service: Service, store: ListenerStore) -> None:
        try:
            await asyncio.Event().wait()
        finally:
            await settle()
            ended.append(True)

    async def failing(service: Service, store: ListenerStore) -> None:
        raise OSError("broken")

    store, lock = EventStore(local_client.document("sources/1"), clock=clock), make(local_client, clock)
    both = {"slow": slow_to_end, "failing": failing}
    with pytest.raises(ListenerError, match="'failing'"):
        await ListenerManager(Service("shop"), store, lock, listeners=both, clock=clock).run()
    assert ended == [True]


async def test_one_that_goes_on_waiting_does_not_read_all_the_time_once_another_has_the_lock(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    one, two, three = (make(local_client, clock) for _ in range(3))
    await one.lock()
    waiting = {asyncio.create_task(lock.lock()) for lock in (two, three)}
    await settle()
    await one.unlock()
    await asyncio.wait(waiting, return_when=asyncio.FIRST_COMPLETED)
    await settle()
    emulator.counts.reset()
    for _ in range(20):
        await settle()
    assert emulator.counts.reads <= 2
    clock.advance(LEASE / 5)
    assert sum(lock.held for lock in (two, three)) == 1
    for task in waiting:
        task.cancel()
    await asyncio.wait(waiting)
    for lock in (two, three):
        await lock.unlock()


async def test_so_many_are_broadcast_at_once_and_no_more(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    store = EventStore(local_client.document("sources/1"), clock=clock)
    for n in range(20):
        await store.store(bytes([n]), "t")
    now = most = 0

    async def broadcast(event: StoredEvent) -> None:
        nonlocal now, most
        now += 1
        most = max(most, now)
        await asyncio.sleep(0)
        now -= 1

    assert await Broadcaster(store, broadcast, concurrency=3, clock=clock).broadcast_all() == (20, 0)
    assert most == 3
