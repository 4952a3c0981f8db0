"""Transactions of the user's own: when they begin, what they show, and what happens when they lose."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import Aborted, AlreadyExists, NotFound
from google.cloud.firestore import AsyncClient, FieldFilter, Increment

from emulator.firestore import Emulator, Fault
from eventbox import (
    ContentionError,
    EventBox,
    Transaction,
    TransactionEndedError,
)
from eventbox.testing import ManualClock
from tests.advancing import sent, while_advancing


async def test_it_returns_what_the_function_returned(box: EventBox) -> None:
    async def nothing(transaction: Transaction) -> str:
        return "done"

    assert await box.run_in_transaction(nothing) == "done"


@pytest.mark.parametrize("concurrency", ["optimistic", "pessimistic"])
async def test_concurrent_increments_are_all_counted(client: AsyncClient, concurrency: Any) -> None:
    box = EventBox(client, concurrency=concurrency)
    ref = client.document("counters/1")
    await ref.set({"n": 0})

    async def increment(transaction: Transaction) -> None:
        snapshot = await ref.get(transaction=transaction)
        transaction.update(ref, {"n": snapshot.get("n") + 1})

    await asyncio.gather(*(box.run_in_transaction(increment, attempts=50) for _ in range(8)))
    assert (await ref.get()).to_dict() == {"n": 8}


async def test_reads_of_every_kind_take_part(box: EventBox, client: AsyncClient) -> None:
    for n in range(3):
        await client.document(f"cells/{n}").set({"n": n})
    cells = client.collection("cells")

    async def read(transaction: Transaction) -> list[Any]:
        one = await transaction.get(cells.document("1"))
        several = [s.id async for s in await transaction.get_all([cells.document("0"), cells.document("9")])]
        stream = [s.id async for s in cells.order_by("n").stream(transaction=transaction)]
        query = [s.id async for s in await transaction.get(cells.where(filter=FieldFilter("n", ">", 0)))]
        listed = [s.id for s in await cells.limit(1).get(transaction=transaction)]
        count = (await cells.count().get(transaction=transaction))[0][0].value
        counted = [r[0].value async for r in await transaction.get(cells.count())]
        as_google_has_it = [s.id async for s in await transaction.get(cells.document("2"))]
        return [one.get("n"), sorted(several), stream, query, listed, count, counted, as_google_has_it]

    assert await box.run_in_transaction(read) == [
        1, ["0", "9"], ["0", "1", "2"], ["1", "2"], ["0"], 3, [3], ["2"],
    ]  # fmt: skip


async def test_reads_that_begin_side_by_side_share_one_transaction(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    box = EventBox(local_client)
    refs = [local_client.document(f"cells/{n}") for n in range(5)]

    async def read(transaction: Transaction) -> None:
        await asyncio.gather(*(ref.get(transaction=transaction) for ref in refs))
        transaction.set(refs[0], {})

    emulator.counts.reset()
    await box.run_in_transaction(read)
    assert dict(emulator.counts.rpcs) == {"BatchGetDocuments": 5, "Commit": 1}


async def test_it_begins_with_its_first_read_and_not_at_all_where_nothing_is_read(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    box, ref = EventBox(local_client), local_client.document("cells/1")

    async def write(transaction: Transaction) -> None:
        transaction.set(ref, {"n": 1})

    async def read_and_write(transaction: Transaction) -> None:
        await ref.get(transaction=transaction)
        transaction.update(ref, {"n": Increment(1)})

    async def nothing(transaction: Transaction) -> None: ...

    for body, rpcs in [
        (write, {"Commit": 1}),
        (read_and_write, {"BatchGetDocuments": 1, "Commit": 1}),
        (nothing, {}),
    ]:
        emulator.counts.reset()
        await box.run_in_transaction(body)
        assert dict(emulator.counts.rpcs) == rpcs


async def test_what_the_function_raises_undoes_it_and_is_not_retried(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    box, ref = EventBox(local_client), local_client.document("cells/1")
    runs = []

    async def fail(transaction: Transaction) -> None:
        runs.append(1)
        await ref.get(transaction=transaction)
        transaction.set(ref, {})
        raise ValueError("no")

    with pytest.raises(ValueError, match="no"):
        await box.run_in_transaction(fail)
    assert runs == [1]
    assert emulator.counts.rpcs["Rollback"] == 1
    assert not (await ref.get()).exists


async def test_a_failed_precondition_is_raised_as_google_raises_it_and_not_retried(
    box: EventBox, client: AsyncClient
) -> None:
    await client.document("cells/1").set({})
    runs = []

    async def create(transaction: Transaction) -> None:
        runs.append(1)
        transaction.create(client.document("cells/1"), {})

    async def update(transaction: Transaction) -> None:
        runs.append(1)
        await client.document("cells/2").get(transaction=transaction)
        transaction.update(client.document("cells/2"), {"n": 1})

    with pytest.raises(AlreadyExists):
        await box.run_in_transaction(create)
    with pytest.raises(NotFound):
        await box.run_in_transaction(update)
    assert runs == [1, 1]
    await client.document("cells/2").set({})  # no lock was left


@pytest.mark.parametrize("rpc", ["Commit", "BatchGetDocuments"])
async def test_aborted_is_tried_again_with_backoff_and_then_contention(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, rpc: str
) -> None:
    box, ref = EventBox(local_client, clock=clock), local_client.document("cells/1")
    runs = []

    async def body(transaction: Transaction) -> None:
        runs.append(1)
        await ref.get(transaction=transaction)
        transaction.set(ref, {})

    emulator.faults.add(Fault(rpc=rpc, error="ABORTED", times=2))
    await while_advancing(clock, box.run_in_transaction(body))
    assert len(runs) == 3
    emulator.faults.add(Fault(rpc=rpc, error="ABORTED", times=None))
    began = clock.monotonic()
    with pytest.raises(ContentionError, match="gave up after 4 attempts") as caught:
        await while_advancing(clock, box.run_in_transaction(body, attempts=4))
    assert len(runs) == 7
    assert clock.monotonic() > began
    assert isinstance(caught.value.__cause__, Aborted)


async def test_an_aborted_read_that_the_function_swallows_is_contention_all_the_same(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, ref = EventBox(local_client, clock=clock), local_client.document("cells/1")

    async def careless(transaction: Transaction) -> None:
        try:
            await ref.get(transaction=transaction)
        except Exception:
            transaction.set(ref, {"guessed": True})

    emulator.faults.add(Fault(rpc="BatchGetDocuments", error="ABORTED"))
    with pytest.raises(ContentionError):
        await box.run_in_transaction(careless, attempts=1)
    assert not (await ref.get()).exists


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_first_read_whose_answer_was_lost_leaves_no_lock_against_our_own_commit(
    clock: ManualClock, when: Any
) -> None:
    emulator = Emulator(clock=clock)
    client = emulator.client()
    box, ref = EventBox(client, clock=clock, concurrency="pessimistic"), client.document("cells/1")

    async def body(transaction: Transaction) -> None:
        await ref.get(transaction=transaction)
        transaction.set(ref, {"n": 1})

    emulator.faults.add(Fault(rpc="BatchGetDocuments", error="UNAVAILABLE", when=when))
    await while_advancing(clock, box.run_in_transaction(body))
    assert (await ref.get()).to_dict() == {"n": 1}
    # the second try begins apart: were its answer lost too, what it left behind would hold no locks
    assert emulator.counts.rpcs["BeginTransaction"] == 1


async def test_one_that_is_tried_again_asks_for_its_place_in_line(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, ref = EventBox(local_client, clock=clock), local_client.document("cells/1")
    seen: list[tuple[bytes, bytes]] = []

    async def body(transaction: Transaction) -> None:
        await ref.get(transaction=transaction)
        seen.append((transaction._options.read_write.retry_transaction, transaction._server_id))
        transaction.set(ref, {"n": 1})

    emulator.faults.add(Fault(rpc="Commit", error="ABORTED"))
    await while_advancing(clock, box.run_in_transaction(body))
    assert [retried for retried, _ in seen] == [b"", seen[0][1]]


async def test_later_reads_are_retried(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, ref = EventBox(local_client, clock=clock), local_client.document("cells/1")

    async def body(transaction: Transaction) -> bool:
        await ref.get(transaction=transaction)
        emulator.faults.add(Fault(rpc="BatchGetDocuments", error="UNAVAILABLE", times=2))
        return bool((await ref.get(transaction=transaction)).exists)

    assert await while_advancing(clock, box.run_in_transaction(body)) is False


async def test_on_commit_callbacks_run_after_the_commit_in_order_and_never_without_it(
    box: EventBox, client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    called: list[Any] = []

    async def later() -> None:
        called.append((await client.document("cells/1").get()).exists)

    async def broken() -> None:
        raise RuntimeError("a callback's own trouble")

    async def body(transaction: Transaction) -> None:
        transaction.on_commit(later)
        transaction.on_commit(broken)
        transaction.on_commit(lambda: called.append("last"))
        transaction.set(client.document("cells/1"), {})

    async def fail(transaction: Transaction) -> None:
        transaction.on_commit(lambda: called.append("never"))
        raise KeyError

    await box.run_in_transaction(body)
    with pytest.raises(KeyError):
        await box.run_in_transaction(fail)
    assert called == [True, "last"]
    assert "the commit stands" in caplog.text


async def test_a_transaction_that_has_ended_refuses_everything(box: EventBox, client: AsyncClient) -> None:
    kept = []

    async def keep(transaction: Transaction) -> None:
        kept.append(transaction)

    await box.run_in_transaction(keep)
    (transaction,) = kept
    with pytest.raises(TransactionEndedError, match="committed"):
        transaction.set(client.document("cells/1"), {})
    with pytest.raises(TransactionEndedError):
        await client.document("cells/1").get(transaction=transaction)
    with pytest.raises(TransactionEndedError):
        transaction.on_commit(lambda: None)


async def test_a_cancelled_commit_leaves_no_locks(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, ref = (
        EventBox(local_client, clock=clock, concurrency="pessimistic"),
        local_client.document("cells/1"),
    )

    async def body(transaction: Transaction) -> None:
        await ref.get(transaction=transaction)
        transaction.set(ref, {"n": 1})

    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(hours=1)))
    committing = asyncio.create_task(box.run_in_transaction(body))
    await sent(emulator, "Commit")
    committing.cancel()
    with pytest.raises(asyncio.CancelledError):
        await committing
    assert emulator.counts.rpcs["Rollback"] == 1
    await ref.set({"n": 2}, retry=None, timeout=1.0)


async def test_what_is_written_while_the_commit_is_under_way_is_refused(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, ref = EventBox(local_client, clock=clock), local_client.document("cells/1")
    kept: list[Transaction] = []

    async def body(transaction: Transaction) -> None:
        kept.append(transaction)
        transaction.set(ref, {"n": 1})

    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(seconds=1)))
    committing = asyncio.create_task(box.run_in_transaction(body))
    await sent(emulator, "Commit")
    with pytest.raises(TransactionEndedError, match="sent to be committed"):
        kept[0].set(ref, {"n": 2})
    await while_advancing(clock, committing)


async def test_bad_arguments_are_refused(box: EventBox, client: AsyncClient) -> None:
    async def body(transaction: Transaction) -> None: ...

    with pytest.raises(TypeError, match="fn must be"):
        await box.run_in_transaction("x")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="attempts must be positive"):
        await box.run_in_transaction(body, attempts=0)
    with pytest.raises(ValueError, match="concurrency"):
        await box.run_in_transaction(body, concurrency="none")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="concurrency"):
        EventBox(client, concurrency="none")  # type: ignore[arg-type]

    async def wrong(transaction: Transaction) -> None:
        await transaction.get("cells/1")

    with pytest.raises(TypeError, match="document reference"):
        await box.run_in_transaction(wrong)
