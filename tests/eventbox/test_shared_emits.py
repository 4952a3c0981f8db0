"""Emits that share RPCs (`share_emits`): each is to its caller as if it had been alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from google.cloud.firestore import AsyncClient
from opentelemetry.sdk.trace import TracerProvider

from emulator.firestore import Emulator, Fault
from eventbox import EmitError, EventBox, NewEvent, Receipt, Recipient, Transaction
from eventbox.testing import ManualClock
from tests.advancing import sent, while_advancing
from tests.eventbox.support import Recording


@pytest.fixture
def box(local_client: AsyncClient, clock: ManualClock) -> EventBox:
    return EventBox(local_client, clock=clock, share_emits=True)


@pytest.fixture
def recipients(local_client: AsyncClient) -> list[Recipient]:
    return [Recipient(local_client.document(f"orders/{n}"), "order") for n in range(10)]


@pytest.fixture
def to(recipients: list[Recipient]) -> Recipient:
    return recipients[0]


async def test_emits_at_once_share_an_rpc(
    box: EventBox, emulator: Emulator, recipients: list[Recipient]
) -> None:
    receipts = await asyncio.gather(*(box.emit(b"", one, id="x") for one in recipients))
    assert receipts == [Receipt("x", False)] * 10
    assert emulator.counts.rpcs == {"BatchWrite": 1}
    assert emulator.counts.writes == 10
    for one in recipients:
        assert [event.id for event in await box.list_events(one)] == ["x"]


async def test_one_emit_after_the_other_takes_a_round_trip_each(
    box: EventBox, emulator: Emulator, clock: ManualClock, to: Recipient
) -> None:
    emulator.faults.add(Fault(latency=timedelta(milliseconds=10), times=None))
    for number in range(3):
        await while_advancing(clock, box.emit(b"", to))
        assert clock.monotonic() == pytest.approx(0.01 * (number + 1))


async def test_of_many_each_takes_at_most_two_round_trips(
    box: EventBox, emulator: Emulator, clock: ManualClock, to: Recipient
) -> None:
    emulator.faults.add(Fault(latency=timedelta(milliseconds=10), times=None))

    async def emit(at: int) -> float:
        await clock.sleep(timedelta(milliseconds=at))
        began = clock.monotonic()
        await box.emit(b"", to)
        return clock.monotonic() - began

    took = await while_advancing(clock, asyncio.gather(*(emit(at) for at in range(100))))
    assert max(took) <= 0.02 + 1e-9
    assert emulator.counts.rpcs["BatchWrite"] <= 25


async def test_an_event_that_cannot_be_written_fails_its_own_emit_alone(
    box: EventBox, emulator: Emulator, recipients: list[Recipient]
) -> None:
    path = "orders/3/eventbox_inbox/*"
    emulator.faults.add(Fault(rpc="BatchWrite", error="INVALID_ARGUMENT", path=path, times=None))
    results = await asyncio.gather(*(box.emit(b"", one) for one in recipients), return_exceptions=True)
    failed = results.pop(3)
    assert isinstance(failed, EmitError)
    assert failed.receipts == []
    assert all(isinstance(result, Receipt) and not result.duplicate for result in results)


async def test_of_several_events_of_one_call_too_one_that_cannot_be_written_fails_alone(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, to: Recipient
) -> None:
    box = EventBox(local_client, clock=clock)
    await box.emit(b"", to, id="bad")
    (found,) = [one async for one in local_client.collection_group("eventbox_inbox").stream()]
    await found.reference.delete()
    emulator.faults.add(
        Fault(rpc="BatchWrite", error="INVALID_ARGUMENT", path=found.reference.path, times=None)
    )
    events = [NewEvent(b"", id=name) for name in ("a", "bad", "b", "c", "d")]
    with pytest.raises(EmitError) as caught:
        await box.emit_many(events, to)
    assert [receipt.id for receipt in caught.value.receipts] == ["a", "b", "c", "d"]
    assert {event.id for event in await box.list_events(to)} == {"a", "b", "c", "d"}


async def test_a_lost_answer_makes_nobodys_emit_a_duplicate(
    box: EventBox, emulator: Emulator, clock: ManualClock, recipients: list[Recipient]
) -> None:
    await while_advancing(clock, box.emit(b"", recipients[7], id="x"))
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", when="after"))
    emits = asyncio.gather(*(box.emit(b"", one, id="x") for one in recipients))
    receipts = await while_advancing(clock, emits)
    assert [receipt.duplicate for receipt in receipts] == [number == 7 for number in range(10)]


async def test_an_event_that_was_consumed_before_the_resend_is_neither_back_nor_a_duplicate(
    box: EventBox, emulator: Emulator, clock: ManualClock, to: Recipient
) -> None:
    processor = Recording(to)
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", when="after"))
    emits = asyncio.gather(*(box.emit(b"", to, id=str(n)) for n in range(5)))
    await sent(emulator, "BatchWrite")
    await box.process_batch(to, processor)
    assert not any(receipt.duplicate for receipt in await while_advancing(clock, emits))
    assert await box.list_events(to) == []
    assert sorted((await processor.load_state())[0].applied) == list("01234")


async def test_cancelling_one_emit_leaves_the_others_alone(
    box: EventBox, emulator: Emulator, clock: ManualClock, recipients: list[Recipient]
) -> None:
    emulator.faults.add(Fault(rpc="BatchWrite", latency=timedelta(seconds=1)))
    emits = [asyncio.create_task(box.emit(b"", one)) for one in recipients]
    await sent(emulator, "BatchWrite")
    emits.pop(4).cancel()
    receipts = await while_advancing(clock, asyncio.gather(*emits))
    assert not any(receipt.duplicate for receipt in receipts)


async def test_an_emit_in_a_transaction_goes_with_its_commit(
    box: EventBox, emulator: Emulator, to: Recipient
) -> None:
    async def body(transaction: Transaction) -> None:
        await box.emit(b"", to, transaction=transaction)
        assert emulator.counts.rpcs["BatchWrite"] == 0

    await box.run_in_transaction(body)
    assert emulator.counts.rpcs["BatchWrite"] == 0
    assert len(await box.list_events(to)) == 1


async def test_each_event_bears_the_trace_of_its_own_emit(
    local_client: AsyncClient, clock: ManualClock, recipients: list[Recipient]
) -> None:
    provider = TracerProvider()
    box = EventBox(local_client, clock=clock, share_emits=True, tracer_provider=provider)
    tracer = provider.get_tracer("test")

    async def emit(to: Recipient) -> int:
        with tracer.start_as_current_span("request") as span:
            await box.emit(b"", to)
            return span.get_span_context().trace_id

    traces = await asyncio.gather(*map(emit, recipients))
    assert len(set(traces)) == 10
    for one, trace in zip(recipients, traces, strict=True):
        (found,) = [item async for item in one.ref.collection("eventbox_inbox").stream()]
        assert f"{trace:032x}" in str(found.to_dict())
