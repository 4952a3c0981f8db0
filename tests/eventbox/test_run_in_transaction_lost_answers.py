"""`run_in_transaction` when the answer to its commit is lost."""

from __future__ import annotations

import asyncio

import pytest
from google.cloud.firestore import AsyncClient, Increment

from emulator.firestore import Emulator, Fault
from eventbox import (
    EventBox,
    Transaction,
    UnknownOutcomeError,
)
from eventbox.testing import ManualClock
from tests.advancing import sent, while_advancing


async def test_a_lost_answer_of_a_blind_commit_that_nothing_guards_is_an_unknown_outcome(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, ref = EventBox(local_client, clock=clock), local_client.document("cells/1")

    async def increment(transaction: Transaction) -> None:
        transaction.set(ref, {"n": Increment(1)}, merge=True)

    for when in ("before", "after"):
        emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when=when))
        with pytest.raises(UnknownOutcomeError):
            await while_advancing(clock, box.run_in_transaction(increment))
    assert (await ref.get()).to_dict() == {"n": 1}


async def test_a_lost_answer_is_resolved_where_a_second_commit_would_do_no_harm(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, ref = EventBox(local_client, clock=clock), local_client.document("cells/1")

    async def read_and_increment(transaction: Transaction) -> None:
        await ref.get(transaction=transaction)
        transaction.set(ref, {"n": Increment(1)}, merge=True)

    async def delete(transaction: Transaction) -> None:
        transaction.delete(ref, option=local_client.write_option(last_update_time=snapshot.update_time))

    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="before"))
    await while_advancing(clock, box.run_in_transaction(read_and_increment))
    snapshot = await ref.get()
    assert snapshot.to_dict() == {"n": 1}
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="before"))
    await while_advancing(clock, box.run_in_transaction(delete))
    assert not (await ref.get()).exists


async def test_a_create_is_not_sent_again_since_somebody_may_have_deleted_what_it_made(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, ref = EventBox(local_client, clock=clock), local_client.document("jobs/1")

    async def create(transaction: Transaction) -> None:
        transaction.create(ref, {})
        transaction.set(local_client.document("jobs/count"), {"n": Increment(1)}, merge=True)

    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="after"))
    creating = asyncio.create_task(box.run_in_transaction(create))
    await sent(emulator, "Commit")
    await ref.delete()
    with pytest.raises(UnknownOutcomeError):
        await while_advancing(clock, creating)
    assert (await local_client.document("jobs/count").get()).to_dict() == {"n": 1}


async def test_a_spent_transaction_that_answers_aborted_is_an_unknown_outcome_and_not_run_again(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, ref = EventBox(local_client, clock=clock), local_client.document("cells/1")

    async def increment(transaction: Transaction) -> None:
        await ref.get(transaction=transaction)
        transaction.set(ref, {"n": Increment(1)}, merge=True)

    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="after"))
    emulator.faults.add(Fault(rpc="Commit", error="ABORTED"))
    with pytest.raises(UnknownOutcomeError):
        await while_advancing(clock, box.run_in_transaction(increment))
    assert (await ref.get()).to_dict() == {"n": 1}


async def test_a_lost_answer_of_a_transaction_that_wrote_nothing_runs_it_again(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, ref = EventBox(local_client, clock=clock), local_client.document("cells/1")

    async def read(transaction: Transaction) -> bool:
        return bool((await ref.get(transaction=transaction)).exists)

    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="after"))
    assert await while_advancing(clock, box.run_in_transaction(read)) is False


async def test_whoever_is_cancelled_while_a_lost_commit_is_found_out_about_leaves_no_locks(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box = EventBox(local_client, clock=clock, concurrency="pessimistic")
    ref = local_client.document("cells/1")

    async def body(transaction: Transaction) -> None:
        await ref.get(transaction=transaction)
        transaction.set(ref, {"n": 1})

    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="before"))
    finding_out = asyncio.create_task(box.run_in_transaction(body))
    await sent(emulator, "Commit")
    for _ in range(50):
        await asyncio.sleep(0)
    assert clock.next_wake is not None  # it waits before it sends the commit again
    finding_out.cancel()
    with pytest.raises(asyncio.CancelledError):
        await finding_out
    assert emulator.counts.rpcs["Rollback"] == 1
    await ref.set({"n": 2}, retry=None, timeout=1.0)
