"""`DistributedLock` through crashes, outages and lost answers."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random

import pytest
from google.api_core.exceptions import PermissionDenied
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox.sources import DistributedLock
from eventbox.testing import ManualClock
from tests.advancing import sent, while_advancing
from tests.eventbox.sources.locks import HEARTBEAT, LEASE, crash, make, settle


async def test_it_is_taken_over_within_a_lease_after_a_crash(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    one, other = make(local_client, clock), make(local_client, clock)
    await one.lock()
    await crash(one)
    clock.advance(LEASE - timedelta(seconds=1))
    waiting = asyncio.create_task(other.lock())
    await settle()
    assert not waiting.done()
    clock.advance(timedelta(seconds=1))
    await asyncio.wait_for(waiting, 60)
    assert other.token > one.token
    await other.unlock()


async def test_a_stale_holder_is_told_before_another_takes_it(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    one, other = make(local_client, clock), make(local_client, clock)
    await one.lock()
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", times=1_000))
    for _ in range(14):
        clock.advance(timedelta(seconds=1))
        await settle()
    assert one.held
    clock.advance(timedelta(seconds=1))
    await settle()
    assert one.lost.is_set()
    assert not one.held
    emulator.faults.clear()
    await other.lock()
    assert other.held
    emulator.counts.reset()
    await one.unlock()
    assert not emulator.counts.rpcs
    assert other.held
    await asyncio.wait_for(other.unlock(), 60)


async def test_an_answer_that_is_seen_after_the_lease_has_ended_gives_no_lock(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    own = ManualClock()
    lock = make(local_client, own)
    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(seconds=1)))
    taking = asyncio.create_task(lock.lock())
    await sent(emulator, "Commit")
    await settle()
    own.advance(LEASE)  # the process stands still, with the answer under way
    clock.advance(timedelta(seconds=1))
    await settle()
    assert not taking.done()
    clock.advance(LEASE)
    own.advance(LEASE)
    await asyncio.wait_for(taking, 60)
    assert lock.held
    await lock.unlock()


async def test_a_lock_that_was_lost_is_taken_again_and_not_lost_any_more(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    lock = make(local_client, clock)
    await lock.lock()
    token = lock.token
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", times=1_000))
    await while_advancing(clock, lock.lost.wait())
    emulator.faults.clear()
    assert lock.token == token
    await while_advancing(clock, lock.lock())  # never unlocked in between
    assert lock.held
    assert not lock.lost.is_set()
    assert lock.token > token
    await lock.unlock()


async def test_one_that_another_took_is_lost_at_the_next_heartbeat(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    lock = make(local_client, clock)
    await lock.lock()
    await settle()
    document = local_client.collection("eventbox_locks").document(lock._document.id)
    await document.update({"holder": b"somebody else"})
    clock.advance(HEARTBEAT)
    await settle()
    assert lock.lost.is_set()
    await lock.unlock()
    assert (await document.get()).get("holder") == b"somebody else"


@pytest.mark.parametrize("when", ["before", "after", "late"])
@pytest.mark.parametrize("rpc", ["Commit", "BatchGetDocuments", "*"])
async def test_lost_answers_of_every_step_are_resolved(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, when: str, rpc: str
) -> None:
    latency = timedelta(milliseconds=30) if when == "late" else timedelta(0)

    def disturb() -> None:
        if when == "before" or rpc == "Commit":
            emulator.faults.add(
                Fault(rpc=rpc, error="UNAVAILABLE", when=when, times=2, latency=latency)  # type: ignore[arg-type]
            )

    one, other = make(local_client, clock, rng=Random(1)), make(local_client, clock, rng=Random(2))
    disturb()
    begin = clock.now()
    await while_advancing(clock, one.lock())
    assert clock.now() - begin < timedelta(seconds=1)  # its own lease is not taken for another's
    assert one.held
    disturb()
    for _ in range(20):
        clock.advance(HEARTBEAT / 10)
        await settle()
    assert one.held
    emulator.faults.clear()
    clock.advance(HEARTBEAT)
    await settle()
    assert one.held
    disturb()
    await while_advancing(clock, one.unlock())
    emulator.faults.clear()
    before = clock.now()
    await while_advancing(clock, other.lock())
    assert clock.now() - before < LEASE / 2
    assert other.token > one.token
    await other.unlock()


async def test_a_heartbeat_that_was_under_way_does_not_keep_it_from_being_let_go(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    one, other = make(local_client, clock), make(local_client, clock)
    await one.lock()
    document = local_client.collection("eventbox_locks").document(one._document.id)
    await document.update({"nonce": b"of a heartbeat whose answer nobody waited for"})
    await one.unlock()
    await asyncio.wait_for(other.lock(), 60)
    await other.unlock()


async def test_a_token_is_larger_than_the_one_before_whatever_the_servers_clock_says(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    lock = make(local_client, clock)
    await lock.lock()
    await lock.unlock()
    document = local_client.collection("eventbox_locks").document(lock._document.id)
    await document.update({"token": 2**60})
    await lock.lock()
    assert lock.token == 2**60 + 1
    await lock.unlock()


async def test_the_lease_that_counts_is_the_holders(local_client: AsyncClient, clock: ManualClock) -> None:
    one, other = make(local_client, clock, lease=4 * LEASE), make(local_client, clock)
    await one.lock()
    await crash(one)
    waiting = asyncio.create_task(other.lock())
    for _ in range(11):
        clock.advance(HEARTBEAT)
        await settle()
    assert not waiting.done()
    clock.advance(HEARTBEAT)
    await asyncio.wait_for(waiting, 60)
    await other.unlock()


async def test_the_holder_reckons_its_lease_from_before_it_sent_the_heartbeat(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    lock = make(local_client, clock)
    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(seconds=4), times=2))
    taking = asyncio.create_task(lock.lock())
    await settle()
    clock.advance(timedelta(seconds=4))
    await taking
    assert lock._session is not None
    assert lock._session.deadline == pytest.approx(LEASE.total_seconds(), abs=0.01)
    await settle()
    clock.advance(HEARTBEAT)
    await settle()
    clock.advance(timedelta(seconds=4))
    await settle()
    assert lock._session.deadline == pytest.approx((HEARTBEAT + LEASE).total_seconds() + 4, abs=0.01)
    await lock.unlock()


@pytest.mark.parametrize("seed", range(10))
async def test_under_faults_at_most_one_holds_it_and_tokens_rise(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, seed: int
) -> None:
    rng = Random(seed)
    locks = [make(local_client, clock, rng=Random(rng.random())) for _ in range(4)]
    tokens: list[int] = []
    crashed = 0

    async def contend(lock: DistributedLock) -> None:
        nonlocal crashed
        for _ in range(6):
            await lock.lock()
            tokens.append(lock.token)
            await clock.sleep(HEARTBEAT * rng.uniform(0, 5))
            if rng.random() < 0.2:
                crashed += 1
                await crash(lock)
                lock._session = None
            await lock.unlock()

    for when in ("before", "after", "late"):
        emulator.faults.add(
            Fault(rpc="Commit", error="UNAVAILABLE", when=when, times=10**6, probability=0.1,  # type: ignore[arg-type]
                  latency=timedelta(seconds=2) if when == "late" else timedelta(0))
        )  # fmt: skip
    emulator.faults.add(Fault(rpc="BatchGetDocuments", error="UNAVAILABLE", times=10**6, probability=0.1))
    tasks = [asyncio.create_task(contend(lock)) for lock in locks]
    while not all(task.done() for task in tasks):
        for _ in range(20):
            await asyncio.sleep(0)
            assert sum(lock.held for lock in locks) <= 1
        wake = clock.next_wake
        if wake is not None:
            clock.advance(min(wake - clock.now(), HEARTBEAT))
    for task in tasks:
        task.result()
    assert tokens == sorted(set(tokens))
    assert len(tokens) == 24


async def test_a_refusal_is_raised(emulator: Emulator, local_client: AsyncClient, clock: ManualClock) -> None:
    emulator.faults.add(Fault(rpc="*", error="PERMISSION_DENIED"))
    lock = make(local_client, clock)
    with pytest.raises(PermissionDenied):
        await lock.lock()
    await lock.lock()
    await lock.unlock()


async def test_an_outage_is_waited_out(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    emulator.faults.add(Fault(rpc="BatchGetDocuments", error="UNAVAILABLE", times=30))
    lock = make(local_client, clock)
    await while_advancing(clock, lock.lock())
    assert lock.held
    await lock.unlock()
