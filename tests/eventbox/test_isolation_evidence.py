"""Isolation: an attempt counts only where something shows that the event is to blame."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from google.api_core.exceptions import PermissionDenied, ServiceUnavailable
from google.auth.exceptions import TransportError
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import (
    DocumentProcessor,
    Event,
    EventBox,
    Mutation,
    Recipient,
    Transaction,
    Transition,
)
from tests.eventbox.poisoned import (
    Poisoned,
    PoisonedSideEffects,
    PoisonError,
    applied,
    attempts,
    drained,
)
from tests.eventbox.support import Record, emit, outstanding

GOOD = [f"good {n}" for n in range(20)]


@pytest.fixture
def box(client: AsyncClient) -> EventBox:
    return EventBox(client, quarantine_after=3)


@pytest.mark.parametrize("n", [1, 2, 7])
async def test_a_processor_that_fails_on_everything_sets_nothing_aside(
    box: EventBox, to: Recipient, client: AsyncClient, n: int
) -> None:
    await emit(box, to, *(str(i) for i in range(n)))

    class Broken(DocumentProcessor[Record]):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            raise PoisonError

    for _ in range(10):
        assert isinstance(await drained(box, to, Broken(to, Record)), PoisonError)
    assert len(await outstanding(box, to)) == n
    assert await attempts(client, to) == {}


async def test_events_that_all_fail_are_not_set_aside_until_one_succeeds(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "bad 1", "bad 2")
    for _ in range(5):
        assert isinstance(await drained(box, to, Poisoned(to)), PoisonError)
    assert await attempts(client, to) == {}
    await emit(box, to, "good")
    await drained(box, to, Poisoned(to))
    assert await attempts(client, to) == {"bad 1": 1, "bad 2": 1}


@pytest.mark.parametrize("max_events", [1, 10])
async def test_of_a_single_event_a_batch_without_events_tells(
    box: EventBox, to: Recipient, client: AsyncClient, max_events: int
) -> None:
    await emit(box, to, "bad")
    processor = Poisoned(to)
    assert isinstance(await drained(box, to, processor, max_events=max_events), PoisonError)
    assert processor.batches == [{"bad"}, frozenset()]
    assert await attempts(client, to) == {"bad": 1}
    await drained(box, to, processor, max_events=max_events)
    assert (await box.drain(to, processor, max_events=max_events)).quarantined == 1


async def test_what_a_batch_without_events_emits_to_its_own_recipient_is_drained_too(
    box: EventBox, to: Recipient
) -> None:
    class Starting(Poisoned):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            async def begin(transaction: Transaction) -> None:
                await box.emit(b"", to, id="begun", transaction=transaction)

            if not events and not state.applied:
                return Mutation([Transition(Record(["started"]), side_effect=begin)])
            return await super().prepare_mutation(events, state)

    await emit(box, to, "bad")
    assert isinstance(await drained(box, to, Starting(to)), PoisonError)
    assert await applied(to) == ["begun", "started"]


PASSING = [
    ServiceUnavailable("down"),
    TimeoutError(),
    ConnectionResetError(),
    TransportError("no metadata server"),
]


@pytest.mark.parametrize("error", PASSING, ids=lambda one: type(one).__name__)
@pytest.mark.parametrize("wrapped", [False, True])
@pytest.mark.parametrize("processor_type", [Poisoned, PoisonedSideEffects])
async def test_what_may_pass_is_raised_at_once_and_not_counted(
    box: EventBox,
    to: Recipient,
    client: AsyncClient,
    error: Exception,
    wrapped: bool,
    processor_type: type[Poisoned],
) -> None:
    await emit(box, to, *GOOD, "bad")

    def make(_: str) -> BaseException:
        if not wrapped:
            return error
        outer = ExceptionGroup("two tasks", [ValueError("mine")])
        outer.__cause__ = error
        return outer

    processor = processor_type(to, error=make)
    for _ in range(5):
        assert isinstance(await drained(box, to, processor), ExceptionGroup if wrapped else type(error))
    assert len(processor.batches) == 5
    assert await attempts(client, to) == {}
    assert await applied(to) == []


async def test_a_group_that_holds_what_may_pass_may_pass(box: EventBox, to: Recipient) -> None:
    await emit(box, to, *GOOD, "bad")
    mixed = ExceptionGroup("tasks", [ValueError(), ExceptionGroup("more", [TimeoutError()])])
    processor = Poisoned(to, error=lambda _: mixed)
    assert isinstance(await drained(box, to, processor), ExceptionGroup)
    assert len(processor.batches) == 1
    processor = Poisoned(to, error=lambda _: ExceptionGroup("tasks", [ValueError()]))
    assert isinstance(await drained(box, to, processor), ExceptionGroup)
    assert len(processor.batches) > 1


@pytest.mark.parametrize("rpc", ["Commit", "GetDocument", "RunQuery"])
async def test_what_firestore_refuses_is_no_events_fault(
    local_client: AsyncClient, emulator: Emulator, rpc: str
) -> None:
    box, to = EventBox(local_client), Recipient(local_client.document("orders/1"), "order")
    await emit(box, to, *GOOD)
    emulator.faults.add(Fault(rpc=rpc, error="PERMISSION_DENIED", times=None))
    processor = Poisoned(to)
    assert isinstance(await drained(box, to, processor), PermissionDenied)
    assert len(processor.batches) <= 1
    assert emulator.counts.rpcs["BatchWrite"] == 1  # the emit


async def test_cancellation_is_no_events_fault(box: EventBox, to: Recipient, client: AsyncClient) -> None:
    await emit(box, to, *GOOD, "bad")
    processor = Poisoned(to, error=lambda _: asyncio.CancelledError())
    with pytest.raises(asyncio.CancelledError):
        await box.drain(to, processor)
    assert len(processor.batches) == 1
