"""Bad arguments: a clear error before any RPC, and nothing lost."""

from __future__ import annotations

import asyncio
import pickle
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator
from eventbox import (
    EmitError,
    Event,
    EventBox,
    NewEvent,
    PrepareError,
    Receipt,
    Recipient,
    Transaction,
    chain,
)
from tests.eventbox.support import Deciding, Recording, consume_all


@pytest.fixture
def box(local_client: AsyncClient) -> EventBox:
    return EventBox(local_client)


@pytest.fixture
def to(local_client: AsyncClient) -> Recipient:
    return Recipient(local_client.document("orders/1"), "order")


@pytest.mark.parametrize(
    ("value", "arguments", "error", "message"),
    [
        ("text", {}, TypeError, "must be bytes"),
        (None, {}, TypeError, "must be bytes"),
        (bytearray(b""), {}, TypeError, "must be bytes"),
        (b"x" * 1_000_001, {}, ValueError, "1,000,001 bytes"),
        (b"", {"id": ""}, ValueError, "1 to 256 bytes"),
        (b"", {"id": "x" * 257}, ValueError, "not 257"),
        (b"", {"id": 5}, TypeError, "an ID must be a str"),
        (b"", {"id": b"x"}, TypeError, "an ID must be a str"),
        (b"", {"process_after": datetime(2030, 1, 1)}, ValueError, "aware"),
        (b"", {"process_after": 5}, TypeError, "datetime"),
        (b"", {"transaction": object()}, TypeError, "AsyncTransaction"),
    ],
)
async def test_a_bad_emit_sends_nothing(
    box: EventBox, to: Recipient, emulator: Emulator, value: Any, arguments: Any, error: Any, message: str
) -> None:
    with pytest.raises(error, match=message):
        await box.emit(value, to, **arguments)
    assert not emulator.counts.rpcs


async def test_one_bad_event_among_many_sends_none(box: EventBox, to: Recipient, emulator: Emulator) -> None:
    with pytest.raises(ValueError, match="bytes"):
        await box.emit_many([NewEvent(b"good"), NewEvent(b"x" * 2_000_000)], to)
    with pytest.raises(TypeError, match="event 1 must be a NewEvent"):
        await box.emit_many([NewEvent(b"good"), b"bad"], to)  # type: ignore[list-item]
    assert not emulator.counts.rpcs


async def test_a_recipient_that_is_a_collection_is_refused(
    box: EventBox, local_client: AsyncClient, emulator: Emulator
) -> None:
    collection: Any = local_client.collection("orders")
    with pytest.raises(TypeError, match="a recipient is a document"):
        Recipient(collection, "order")
    calls = (
        lambda: box.emit(b"", collection),
        lambda: box.list_events(collection),
        lambda: box.process_batch(collection, Recording(Recipient(local_client.document("a/1"), "a"))),
    )
    for call in calls:
        with pytest.raises(TypeError, match="expected a Recipient"):
            await call()
    assert not emulator.counts.rpcs


@pytest.mark.parametrize(("string", "error"), [("", ValueError), (None, TypeError), (5, TypeError)])
def test_a_monitoring_string_must_be_text(local_client: AsyncClient, string: Any, error: Any) -> None:
    with pytest.raises(error, match="monitoring_string"):
        Recipient(local_client.document("a/1"), string)


async def test_a_recipient_or_a_transaction_of_another_database_is_refused(
    box: EventBox, emulator: Emulator
) -> None:
    elsewhere = emulator.client(database="other")
    with pytest.raises(ValueError, match=r"databases/other.*\(default\)"):
        await box.emit(b"", Recipient(elsewhere.document("a/1"), "a"))
    with pytest.raises(ValueError, match=r"databases/other.*\(default\)"):
        await box.emit(b"", Recipient(box.client.document("a/1"), "a"), transaction=elsewhere.transaction())


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_events": 0}, ValueError),
        ({"max_events": -1}, ValueError),
        ({"max_events": "1"}, TypeError),
        ({"max_events": True}, TypeError),
        ({"max_bytes": 0}, ValueError),
    ],
)
async def test_bad_bounds_of_a_batch_are_refused(
    box: EventBox, to: Recipient, emulator: Emulator, arguments: Any, error: Any
) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        await box.process_batch(to, Recording(to), **arguments)
    assert not emulator.counts.rpcs


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_events": 0}, ValueError),
        ({"max_events": 1.5}, TypeError),
        ({"max_batches": 0}, ValueError),
        ({"max_batches": "1"}, TypeError),
        ({"deadline": 5}, TypeError),
        ({"deadline": datetime(2030, 1, 1)}, ValueError),
        ({"as_of": datetime(2030, 1, 1)}, ValueError),
        ({"stop": True}, TypeError),
    ],
)
async def test_bad_bounds_of_a_drain_are_refused(
    box: EventBox, to: Recipient, emulator: Emulator, arguments: Any, error: Any
) -> None:
    with pytest.raises(error, match=next(iter(arguments))):
        await box.drain(to, Recording(to), **arguments)
    assert not emulator.counts.rpcs


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(-1), 5, None])
def test_a_bad_delay_is_refused(local_client: AsyncClient, delay: Any) -> None:
    with pytest.raises(ValueError, match="tombstones_delay"):
        EventBox(local_client, tombstones_delay=delay)


def test_a_client_of_another_kind_is_refused(emulator: Emulator) -> None:
    with pytest.raises(TypeError, match="the synchronous client will not do"):
        EventBox(emulator.sync_client())
    with pytest.raises(TypeError, match="AsyncClient, not object"):
        EventBox(object())


async def test_googles_own_way_to_run_a_transaction_is_refused(box: EventBox, emulator: Emulator) -> None:
    async def body(transaction: Transaction) -> None:
        for call in (transaction._begin, transaction._commit):
            with pytest.raises(TypeError, match="eventbox Transaction"):
                await call()

    await box.run_in_transaction(body)


def test_errors_with_contents_pickle() -> None:
    event = Event("x", b"", datetime(2030, 1, 1, tzinfo=UTC))
    prepare = pickle.loads(pickle.dumps(PrepareError("why", garbage=[event])))
    assert (str(prepare), prepare.garbage) == ("why", [event])
    emit = pickle.loads(pickle.dumps(EmitError("a/1", [Receipt("x", False)], {1: ValueError("no")})))
    assert (emit.recipient, emit.receipts, str(emit.errors[1])) == ("a/1", [Receipt("x", False)], "no")
    assert "1 of 2 events for a/1" in str(emit)
    assert "1 events were garbage" in str(PrepareError(garbage=[event]))


async def test_a_load_state_that_is_not_asynchronous_is_told_so_and_leaves_nothing_behind(
    box: EventBox, to: Recipient
) -> None:
    class Answering(Deciding):
        def load_state(self) -> Any:
            return {}, 0

    class Failing(Deciding):
        def load_state(self) -> Any:
            raise LookupError("no state")

    before = asyncio.all_tasks()
    with pytest.raises(TypeError, match=r"Answering\.load_state must be asynchronous"):
        await box.process_batch(to, Answering(to, consume_all({})))
    with pytest.raises(LookupError, match="no state"):
        await box.process_batch(to, Failing(to, consume_all({})))
    assert asyncio.all_tasks() == before


async def test_a_side_effect_that_is_not_asynchronous_is_told_so(
    box: EventBox, to: Recipient, emulator: Emulator
) -> None:
    def in_haste(transaction: Transaction) -> Any:
        transaction.set(to.ref.parent.document("2"), {})

    async def fine(transaction: Transaction) -> None: ...

    await box.emit(b"", to)
    for side_effect in (in_haste, chain(fine, in_haste)):
        with pytest.raises(TypeError, match=r"side effect.* must be asynchronous .*returned None"):
            await box.process_batch(to, Deciding(to, consume_all({}, side_effect=side_effect)))
    assert emulator.counts.rpcs["Commit"] == 0


async def test_a_body_of_a_transaction_that_is_not_asynchronous_is_told_so(
    box: EventBox, to: Recipient, emulator: Emulator
) -> None:
    body: Any = lambda transaction: transaction.set(to.ref, {})  # noqa: E731
    with pytest.raises(TypeError, match=r"run_in_transaction must be asynchronous .*returned None"):
        await box.run_in_transaction(body)
    assert not emulator.counts.rpcs
