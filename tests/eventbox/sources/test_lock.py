"""`DistributedLock`: one holder at a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox.sources import DistributedLock, LockHeldError, LockLostError
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.sources.locks import HEARTBEAT, make, settle


async def test_one_holds_it_until_it_lets_go(client: AsyncClient) -> None:
    one = DistributedLock(client, "a", heartbeat=HEARTBEAT)
    other = DistributedLock(client, "a", heartbeat=HEARTBEAT)
    await one.lock()
    waiting = asyncio.create_task(other.lock())
    done, _ = await asyncio.wait([waiting], timeout=0.1)
    assert not done
    assert one.held
    assert not other.held
    await one.unlock()
    async with asyncio.timeout(12):  # told, and not by the end of a lease of 15 s
        await waiting
    assert other.held
    assert other.token > one.token > 0
    await other.unlock()


async def test_locks_of_different_keys_are_independent_and_their_tokens_compare(client: AsyncClient) -> None:
    locks = [DistributedLock(client, key, heartbeat=HEARTBEAT) for key in ("a", "b", "a\0waiters")]
    for lock in locks:
        await lock.lock()
    assert all(lock.held for lock in locks)
    tokens = [lock.token for lock in locks]
    assert tokens == sorted(set(tokens))
    for lock in locks:
        await lock.unlock()


async def test_heartbeats_keep_it_for_as_long_as_one_likes(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    one, other = make(local_client, clock), make(local_client, clock)
    await one.lock()
    waiting = asyncio.create_task(other.lock())
    for _ in range(30):
        clock.advance(HEARTBEAT)
        await settle()
    assert one.held
    assert not one.lost.is_set()
    assert not waiting.done()
    await one.unlock()
    await asyncio.wait_for(waiting, 60)
    await other.unlock()


async def test_waiting_reads_once_a_lease_and_not_at_each_heartbeat(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    one, other = make(local_client, clock), make(local_client, clock)
    await one.lock()
    waiting = asyncio.create_task(other.lock())
    await settle()
    emulator.counts.reset()
    for _ in range(30):
        clock.advance(HEARTBEAT)
        await settle()
    assert emulator.counts.rpcs["Commit"] == 30
    assert emulator.counts.reads <= 15
    await one.unlock()
    await waiting
    await other.unlock()


async def test_taking_it_is_a_read_and_a_write_and_letting_go_a_write(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    lock = make(local_client, clock)
    await lock.lock()
    assert (emulator.counts.reads, emulator.counts.writes) == (1, 1)
    for _ in range(2):
        await lock.unlock()
        assert (emulator.counts.reads, emulator.counts.writes) == (1, 2)
    await lock.lock()  # looks whether others wait, besides
    assert (emulator.counts.reads, emulator.counts.writes) == (3, 3)
    await lock.unlock()


async def test_it_is_not_reentrant(client: AsyncClient) -> None:
    lock = DistributedLock(client, "a", heartbeat=HEARTBEAT)
    await lock.lock()
    with pytest.raises(LockHeldError, match="holds the lock 'a' already"):
        await lock.lock()
    other = DistributedLock(client, "a", heartbeat=HEARTBEAT)
    waiting = asyncio.create_task(other.lock())
    await asyncio.sleep(0)
    with pytest.raises(LockHeldError, match="is waiting"):
        await other.lock()
    waiting.cancel()
    await asyncio.wait([waiting])
    await lock.unlock()
    await lock.lock()
    await lock.unlock()


async def test_a_cancelled_wait_leaves_no_task(local_client: AsyncClient, clock: ManualClock) -> None:
    one, other = make(local_client, clock), make(local_client, clock)
    await one.lock()
    before = asyncio.all_tasks()
    waiting = asyncio.create_task(other.lock())
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert asyncio.all_tasks() == before
    await one.unlock()
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_async_with_cancels_what_it_guards_when_the_lease_is_lost(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    lock = make(local_client, clock)
    ended = []

    async def work() -> None:
        async with lock:
            emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", times=1_000))
            try:
                await asyncio.Event().wait()
            finally:
                ended.append(clock.now())

    with pytest.raises(LockLostError, match="lost"):
        await while_advancing(clock, work())
    assert ended
    assert asyncio.current_task().cancelling() == 0  # type: ignore[union-attr]


async def test_async_with_raises_what_its_body_raises_also_when_letting_go_fails(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    async def work() -> None:
        async with make(local_client, clock):
            emulator.faults.add(Fault(rpc="Commit", error="PERMISSION_DENIED", times=1_000))
            raise KeyError("mine")

    with pytest.raises(KeyError, match="mine"):
        await work()


async def test_async_with_passes_on_a_cancellation_from_outside(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    lock = make(local_client, clock)

    async def work() -> None:
        async with lock:
            await asyncio.Event().wait()

    task = asyncio.create_task(work())
    await settle()
    assert lock.held
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.wait_for(make(local_client, clock).lock(), 60)


async def test_one_that_comes_back_at_once_lets_those_who_wait_go_first(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    one, other = make(local_client, clock), make(local_client, clock)
    await one.lock()
    waiting = asyncio.create_task(other.lock())
    await settle()
    await one.unlock()
    again = asyncio.create_task(one.lock())
    await asyncio.wait_for(waiting, 60)  # without any time passing
    await settle()
    assert not again.done()
    await other.unlock()
    await asyncio.wait_for(again, 60)
    await one.unlock()


async def test_one_that_comes_back_waits_a_moment_only_for_those_who_have_gone(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    one, other = make(local_client, clock), make(local_client, clock)
    await one.lock()
    waiting = asyncio.create_task(other.lock())
    await settle()
    waiting.cancel()
    await asyncio.wait([waiting])
    await one.unlock()
    begin = clock.now()
    await while_advancing(clock, one.lock())
    assert timedelta(milliseconds=200) <= clock.now() - begin <= timedelta(milliseconds=500)
    await one.unlock()
    await asyncio.wait_for(one.lock(), 60)  # nobody has waited this time
    await one.unlock()


async def test_bad_arguments_are_refused(local_client: AsyncClient) -> None:
    second = timedelta(seconds=1)
    for key in ("", "x" * 1_025):
        with pytest.raises(ValueError, match="key"):
            DistributedLock(local_client, key, heartbeat=second)
    for bad in (b"a", None):
        with pytest.raises(TypeError, match="key"):
            DistributedLock(local_client, bad, heartbeat=second)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="heartbeat"):
        DistributedLock(local_client, "a", heartbeat=1)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="heartbeat"):
        DistributedLock(local_client, "a", heartbeat=timedelta(0))
    with pytest.raises(ValueError, match="longer than the heartbeat"):
        DistributedLock(local_client, "a", heartbeat=second, lease=second)
    with pytest.raises(TypeError, match="AsyncClient"):
        DistributedLock("client", "a", heartbeat=second)  # type: ignore[arg-type]
