"""Emitting: receipts, duplicates, times, transactions, and what happens when Firestore fails."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient, async_transactional

from emulator.firestore import Emulator, Fault
from eventbox import ContentionError, EmitError, EventBox, NewEvent, Recipient, Transaction
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.support import Recording
from tests.fronts import connect


async def test_an_emitted_event_is_outstanding(box: EventBox, to: Recipient) -> None:
    receipt = await box.emit(b"paid", to, id="delivery-1")
    assert (receipt.id, receipt.duplicate) == ("delivery-1", False)
    (event,) = await box.list_events(to)
    assert (event.id, event.value, event.process_after) == ("delivery-1", b"paid", None)
    assert event.emitted_at.utcoffset() == timedelta(0)


async def test_an_event_without_an_id_gets_one_of_its_own(box: EventBox, to: Recipient) -> None:
    receipts = [await box.emit(b"same", to) for _ in range(3)]
    assert len({receipt.id for receipt in receipts}) == 3
    assert len(await box.list_events(to)) == 3


async def test_emitting_an_id_again_changes_nothing_and_says_so(box: EventBox, to: Recipient) -> None:
    await box.emit(b"first", to, id="x")
    assert (await box.emit(b"second", to, id="x")).duplicate is True
    (event,) = await box.list_events(to)
    assert event.value == b"first"


async def test_an_id_that_was_consumed_is_a_duplicate(box: EventBox, to: Recipient) -> None:
    await box.emit(b"", to, id="x")
    await box.process_batch(to, Recording(to))
    assert (await box.emit(b"", to, id="x")).duplicate is True
    assert await box.list_events(to) == []


async def test_recipients_do_not_share_ids(box: EventBox, client: AsyncClient) -> None:
    one, other = (Recipient(client.document(f"orders/{n}"), "order") for n in (1, 2))
    await box.emit(b"", one, id="x")
    assert (await box.emit(b"", other, id="x")).duplicate is False


async def test_each_recipient_is_spoken_to_by_the_client_of_its_reference() -> None:
    async with Emulator().serving("127.0.0.1:0") as address, connect(address, "shared") as client:
        box = EventBox(client)
        async with connect(address, "shared") as another:
            theirs = Recipient(another.document("orders/1"), "order")
            await box.emit(b"", theirs)
        ours = Recipient(client.document("orders/1"), "order")
        await box.emit(b"", ours)
        assert len(await box.list_events(ours)) == 2


@pytest.mark.parametrize("event_id", ["a/b", ".", "..", "__x__", "\0", "🦊" * 64, "a" * 256, " "])
async def test_an_id_may_be_any_text_of_at_most_256_bytes(
    box: EventBox, to: Recipient, event_id: str
) -> None:
    await box.emit(b"", to, id=event_id)
    assert [event.id for event in await box.list_events(to)] == [event_id]


@pytest.mark.parametrize("value", [b"", b"\0\xff", b"x" * 1_000_000])
async def test_a_value_may_be_empty_and_as_long_as_it_may_be(
    box: EventBox, to: Recipient, value: bytes
) -> None:
    await box.emit(value, to)
    assert [event.value for event in await box.list_events(to)] == [value]


async def test_emit_many_gives_a_receipt_for_each_and_the_first_of_equal_ids_counts(
    box: EventBox, to: Recipient
) -> None:
    await box.emit(b"old", to, id="old")
    receipts = await box.emit_many(
        [NewEvent(b"1", id="a"), NewEvent(b"2", id="old"), NewEvent(b"3", id="a"), NewEvent(b"4")], to
    )
    assert [receipt.duplicate for receipt in receipts] == [False, True, True, False]
    assert {event.value for event in await box.list_events(to)} == {b"old", b"1", b"4"}


async def test_emit_many_of_nothing_is_nothing(box: EventBox, to: Recipient) -> None:
    assert await box.emit_many([], to) == []


async def test_emit_many_splits_what_is_too_much_for_one_request(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    box, to = EventBox(local_client), Recipient(local_client.document("orders/1"), "order")
    await box.emit_many([NewEvent(b"x" * 900_000, id=str(n)) for n in range(12)], to)
    assert emulator.counts.rpcs == {"BatchWrite": 2}
    await box.emit_many([NewEvent(b"", id=f"small {n}") for n in range(1_001)], to)
    assert emulator.counts.rpcs == {"BatchWrite": 2 + 3}
    assert len(await box.list_events(to)) == 1_013


async def test_an_event_is_not_handed_over_before_its_time(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, to = EventBox(local_client, clock=clock), Recipient(local_client.document("a/1"), "a")
    due = clock.now() + timedelta(hours=1)
    await box.emit(b"", to, id="later", process_after=due)
    processor = Recording(to)
    await box.process_batch(to, processor)
    assert [event.process_after for event in await box.list_events(to)] == [due]
    clock.advance(timedelta(hours=1))
    await box.process_batch(to, processor)
    assert [[event.id for event in batch] for batch in processor.batches] == [[], ["later"]]


async def test_an_event_that_is_not_due_costs_no_reads(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, to = EventBox(local_client, clock=clock), Recipient(local_client.document("a/1"), "a")
    later = clock.now() + timedelta(hours=1)
    await box.emit_many([NewEvent(b"", process_after=later) for _ in range(50)], to)
    emulator.counts.reset()
    await box.process_batch(to, Recording(to))
    assert emulator.counts.reads == 2  # the state, and the minimum of a query


async def test_a_clock_that_is_ahead_hands_nothing_over_early(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    ahead = ManualClock(emulator.clock.now() + timedelta(minutes=5))
    box, to = EventBox(local_client, clock=ahead), Recipient(local_client.document("a/1"), "a")
    await box.emit(b"", to, process_after=emulator.clock.now() + timedelta(minutes=1))
    processor = Recording(to)
    await box.process_batch(to, processor)
    assert processor.batches == [()]


async def test_a_time_in_the_past_is_kept_as_given(box: EventBox, to: Recipient) -> None:
    past = datetime(1999, 12, 31, 23, 59, 59, 123456, tzinfo=UTC)
    await box.emit(b"", to, process_after=past)
    processor = Recording(to)
    await box.process_batch(to, processor)
    assert [event.process_after for event in processor.batches[0]] == [past]


async def test_an_emit_in_a_transaction_happens_if_and_only_if_it_commits(
    box: EventBox, to: Recipient
) -> None:
    async def emit(transaction: Transaction) -> None:
        receipt = await box.emit(b"", to, id="yes", transaction=transaction)
        assert receipt.duplicate is None

    async def fail(transaction: Transaction) -> None:
        await box.emit(b"", to, id="no", transaction=transaction)
        raise RuntimeError("changed my mind")

    await box.run_in_transaction(emit)
    with pytest.raises(RuntimeError, match="changed my mind"):
        await box.run_in_transaction(fail)
    assert [event.id for event in await box.list_events(to)] == ["yes"]


async def test_an_emit_takes_part_in_a_transaction_of_googles_client(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    @async_transactional
    async def body(transaction: Any) -> None:
        await client.document("other/1").get(transaction=transaction)
        await box.emit(b"", to, id="x", transaction=transaction)

    await body(client.transaction())
    assert [event.id for event in await box.list_events(to)] == ["x"]


async def test_an_emit_in_a_transaction_never_brings_back_what_was_consumed(
    box: EventBox, to: Recipient
) -> None:
    await box.emit(b"", to, id="x")
    await box.process_batch(to, Recording(to))

    async def emit(transaction: Transaction) -> None:
        await box.emit(b"", to, id="x", transaction=transaction)

    await box.run_in_transaction(emit)
    assert await box.list_events(to) == []
    processor = Recording(to)
    await box.process_batch(to, processor)
    assert processor.batches == [()]


async def test_more_than_8_mib_do_not_fit_a_transaction(box: EventBox, to: Recipient) -> None:
    async def emit(transaction: Transaction) -> None:
        await box.emit_many([NewEvent(b"x" * 1_000_000) for _ in range(9)], to, transaction=transaction)

    with pytest.raises(ValueError, match="8,388,608 bytes"):
        await box.run_in_transaction(emit)


@pytest.mark.parametrize(
    "error", ["UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN", "ABORTED", "RESOURCE_EXHAUSTED"]
)
@pytest.mark.parametrize("when", ["before", "after"])
async def test_transient_errors_are_retried_and_a_resend_is_no_duplicate(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, error: str, when: Any
) -> None:
    box, to = EventBox(local_client, clock=clock), Recipient(local_client.document("a/1"), "a")
    emulator.faults.add(Fault(rpc="BatchWrite", error=error, when=when, times=2))
    receipt = await while_advancing(clock, box.emit(b"", to, id="x"))
    assert receipt.duplicate is False
    assert [event.id for event in await box.list_events(to)] == ["x"]


async def test_a_resend_is_no_duplicate_even_if_the_event_was_consumed_in_between(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, to = EventBox(local_client, clock=clock), Recipient(local_client.document("a/1"), "a")
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", when="after"))
    emitting = asyncio.create_task(box.emit(b"", to, id="x"))
    processor = Recording(to)
    while not any(processor.batches):
        await box.process_batch(to, processor)
    assert (await while_advancing(clock, emitting)).duplicate is False
    assert await box.list_events(to) == []


async def test_an_emit_gives_up_after_its_timeout_and_says_what_to_do(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, to = EventBox(local_client, clock=clock), Recipient(local_client.document("a/1"), "a")
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", times=None))
    began = clock.monotonic()
    with pytest.raises(EmitError, match=r"a/1.*emit them again with the same IDs") as caught:
        await while_advancing(clock, box.emit(b"", to, timeout=timedelta(seconds=5)))
    assert caught.value.receipts == []
    assert 2 < clock.monotonic() - began <= 6


async def test_what_firestore_refuses_is_not_retried(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, to = EventBox(local_client, clock=clock), Recipient(local_client.document("a/1"), "a")
    emulator.faults.add(Fault(rpc="BatchWrite", error="PERMISSION_DENIED"))
    with pytest.raises(EmitError, match="injected"):
        await box.emit(b"", to)
    assert emulator.counts.rpcs["BatchWrite"] == 1


async def test_an_emit_error_has_the_receipts_of_what_was_written(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, to = EventBox(local_client, clock=clock), Recipient(local_client.document("a/1"), "a")
    emulator.faults.add(Fault(rpc="BatchWrite", error="PERMISSION_DENIED"))
    events = [NewEvent(b"", id=str(n)) for n in range(700)]
    with pytest.raises(EmitError) as caught:
        await box.emit_many(events, to)
    written = {receipt.id for receipt in caught.value.receipts}
    assert written == {event.id for event in await box.list_events(to)}
    assert len(written) + len(caught.value.errors) == 700
    assert 0 < len(written) < 700


async def test_contention_is_no_word_of_emit(box: EventBox, to: Recipient) -> None:
    async def emit_all(transaction: Transaction) -> None:
        await box.emit(b"", to, id="x", transaction=transaction)

    try:
        await asyncio.gather(*(box.run_in_transaction(emit_all) for _ in range(8)))
    except ContentionError:
        pytest.fail("a blind add must never make a commit fail")
    assert len(await box.list_events(to)) == 1
