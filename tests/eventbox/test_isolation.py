"""Isolation: a drain finds the events that make a batch fail, and processes their neighbours."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument, NotFound, PermissionDenied, ServiceUnavailable
from google.auth.exceptions import TransportError
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import (
    ContentionError,
    DocumentProcessor,
    DrainReport,
    Event,
    EventBox,
    Mutation,
    NewEvent,
    PrepareError,
    Recipient,
    SkipTransition,
    Transaction,
    Transition,
)
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.poisoned import (
    Poisoned,
    PoisonedSideEffects,
    PoisonError,
    RefusedWrites,
    applied,
    attempts,
    in_quarantine,
)
from tests.eventbox.support import Deciding, Record, emit, outstanding

GOOD = [f"good {n}" for n in range(20)]


@pytest.fixture
def box(client: AsyncClient) -> EventBox:
    return EventBox(client, quarantine_after=3)


async def drained(box: EventBox, to: Recipient, processor: Any, **kwargs: Any) -> DrainReport | Exception:
    """What a drain reports, or raises."""
    try:
        return await box.drain(to, processor, **kwargs)
    except Exception as error:
        return error


@pytest.mark.parametrize("processor_type", [Poisoned, PoisonedSideEffects, RefusedWrites])
@pytest.mark.parametrize("bad", [["bad"], ["bad 1", "bad 2", "bad 3"]])
async def test_neighbours_are_processed_in_the_same_drain_and_the_error_is_raised_in_the_end(
    box: EventBox, to: Recipient, client: AsyncClient, processor_type: type[Poisoned], bad: list[str]
) -> None:
    await emit(box, to, *GOOD, *bad)
    error = NotFound if processor_type is RefusedWrites else PoisonError
    with pytest.raises(error) as caught:
        await box.drain(to, processor_type(to))
    assert "raised for event 'bad" in caught.value.__notes__[0]
    assert await applied(to) == sorted(GOOD)
    assert await outstanding(box, to) == set(bad)
    assert await attempts(client, to) == dict.fromkeys(bad, 1)
    assert await box.quarantined(to) == []


@pytest.mark.parametrize("processor_type", [Poisoned, PoisonedSideEffects, RefusedWrites])
async def test_an_event_that_fails_in_so_many_drains_is_set_aside_and_the_drain_returns(
    box: EventBox, to: Recipient, client: AsyncClient, processor_type: type[Poisoned]
) -> None:
    await emit(box, to, *GOOD, "bad")
    for _ in range(2):
        assert isinstance(await drained(box, to, processor_type(to)), Exception)
    report = await box.drain(to, processor_type(to))
    assert report == DrainReport(1, 0, contended=False, drained=True, quarantined=1)
    assert await in_quarantine(box, to) == ["bad"]
    assert await outstanding(box, to) == set()
    assert await attempts(client, to) == {}
    assert await box.drain(to, processor_type(to)) == DrainReport(1, 0, contended=False, drained=True)
    assert (await box.emit(b"", to, id="bad")).duplicate is True


async def test_process_batch_isolates_nothing_and_counts_nothing(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "good", "bad")
    for _ in range(5):
        with pytest.raises(PoisonError):
            await box.process_batch(to, Poisoned(to))
    assert await outstanding(box, to) == {"good", "bad"}
    assert await attempts(client, to) == {}


async def test_culprits_are_found_by_halving(box: EventBox, to: Recipient) -> None:
    await emit(box, to, *(f"good {n}" for n in range(255)), "bad")
    processor = Poisoned(to)
    assert isinstance(await drained(box, to, processor), PoisonError)
    assert len(processor.batches) == 1 + 2 * 8  # the whole, and two halves of 256, 128, ... 2


async def test_the_next_drain_tries_the_suspects_apart_without_halving(box: EventBox, to: Recipient) -> None:
    await emit(box, to, *GOOD, "bad 1", "bad 2")
    await drained(box, to, Poisoned(to))
    await emit(box, to, *(f"later {n}" for n in range(50)))
    processor = Poisoned(to)
    await drained(box, to, processor)
    later = frozenset(f"later {n}" for n in range(50))
    whole, rest, *singles = processor.batches
    assert whole == later | {"bad 1", "bad 2"}
    assert rest == later
    assert sorted(map(sorted, singles)) == [["bad 1"], ["bad 2"]]


async def test_where_the_attempts_cannot_be_read_it_halves(
    local_client: AsyncClient, emulator: Emulator
) -> None:
    box, to = EventBox(local_client), Recipient(local_client.document("orders/1"), "order")
    await emit(box, to, *GOOD, "bad")
    await drained(box, to, Poisoned(to))
    await emit(box, to, "good again")
    fault = Fault(rpc="RunQuery", error="PERMISSION_DENIED", path="orders/1/eventbox_attempts/*")
    pending = emulator.faults.add(fault)
    assert isinstance(await drained(box, to, Poisoned(to)), PoisonError)
    assert pending.remaining == 0
    assert await applied(to) == sorted([*GOOD, "good again"])


# Nothing is counted without evidence --------------------------------------------------------------------


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


@pytest.mark.parametrize("rpc", ["Commit", "BatchGetDocuments", "RunQuery"])
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


# Bounds -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("max_events", [1, 3, 10])
async def test_it_gets_past_more_poison_than_a_batch_holds(
    box: EventBox, to: Recipient, client: AsyncClient, max_events: int
) -> None:
    ages = timedelta(days=365)
    long_ago = (await client.document("now/1").set({})).update_time - ages
    bad = [f"bad {n}" for n in range(25)]
    await box.emit_many([NewEvent(b"", id=one, process_after=long_ago) for one in bad], to)  # listed first
    await emit(box, to, *GOOD)
    assert isinstance(await drained(box, to, Poisoned(to), max_events=max_events), PoisonError)
    assert await applied(to) == sorted(GOOD)
    assert await attempts(client, to) == dict.fromkeys(bad, 1)
    for _ in range(2):
        await emit(box, to, f"good {_} again")
        await drained(box, to, Poisoned(to), max_events=max_events)
    assert await in_quarantine(box, to) == sorted(bad)
    assert await outstanding(box, to) == set()


async def test_max_batches_lets_it_get_past_poison_too(box: EventBox, to: Recipient) -> None:
    await emit(box, to, "bad 1", "bad 2", "bad 3", "good")
    for _ in range(4):
        await drained(box, to, Poisoned(to), max_events=1, max_batches=1)
    assert await applied(to) == ["good"]


async def test_a_drain_that_nothing_succeeds_in_gives_up(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, *(f"bad {n}" for n in range(700)))
    processor = Poisoned(to)
    assert isinstance(await drained(box, to, processor), PoisonError)
    assert sum(len(batch) == 1 for batch in processor.batches) == 500


async def test_the_deadline_bounds_halving_and_what_was_found_by_then_is_counted(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, to = EventBox(local_client, clock=clock), Recipient(local_client.document("a/1"), "a")
    await emit(box, to, *(f"good {n}" for n in range(30)), *(f"bad {n}" for n in range(30)))
    emulator.faults.add(Fault(rpc="BatchGetDocuments", latency=timedelta(seconds=1), times=None))
    processor = Poisoned(to)
    deadline = clock.now() + timedelta(seconds=30)
    with pytest.raises(PoisonError):
        await while_advancing(clock, box.drain(to, processor, deadline=deadline))
    assert len(processor.batches) <= 30
    assert clock.now() <= deadline + timedelta(seconds=1)


async def test_a_stop_bounds_halving(box: EventBox, to: Recipient, client: AsyncClient) -> None:
    await emit(box, to, *GOOD, "bad")
    processor = Poisoned(to)
    with pytest.raises(PoisonError):
        await box.drain(to, processor, stop=lambda: len(processor.batches) == 3)
    assert len(processor.batches) == 3


# Batches that fail for other reasons than an event of theirs ----------------------------------------------


async def test_events_that_fail_only_together_are_no_poison(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, *GOOD, "left", "right")

    class Apart(Poisoned):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            if {"left", "right"} <= {event.id for event in events}:
                raise PoisonError
            return await super().prepare_mutation(events, state)

    report = await box.drain(to, Apart(to))
    assert (report.drained, report.quarantined) == (True, 0)
    assert await applied(to) == sorted([*GOOD, "left", "right"])
    assert await attempts(client, to) == {}


async def test_events_that_fail_only_together_and_otherwise_wait_end_the_drain(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "left", "right")
    batches: list[int] = []

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        batches.append(len(events))
        if len(events) == 2:
            raise PoisonError
        return Mutation()

    with pytest.raises(PoisonError):
        await box.drain(to, Deciding(to, decide))
    assert batches == [2, 1, 1]
    assert await attempts(client, to) == {}


async def test_a_processor_that_fails_on_many_events_at_once_gets_fewer(box: EventBox, to: Recipient) -> None:
    await emit(box, to, *(str(n) for n in range(100)))

    class Small(Poisoned):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            if len(events) > 5:
                self.batches.append(frozenset())
                raise PoisonError
            return await super().prepare_mutation(events, state)

    processor = Small(to)
    report = await box.drain(to, processor, max_events=40)
    assert (report.drained, report.events, report.quarantined) == (True, 100, 0)
    assert len(await applied(to)) == 100
    assert (
        sum(not batch for batch in processor.batches) == 1 + 2 + 4
    )  # the whole, halves and quarters; and once only


async def test_a_commit_that_is_too_large_is_split(box: EventBox, to: Recipient, client: AsyncClient) -> None:
    await box.emit_many([NewEvent(b"x" * 1_000, id=str(n)) for n in range(24)], to)

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        async def copy(transaction: Transaction) -> None:
            for event in events:
                transaction.set(client.document(f"copies/{event.id}"), {"value": event.value * 900})

        return Mutation([Transition(state, events=events, side_effect=copy)])

    report = await box.drain(to, Deciding(to, decide))
    assert (report.events, report.drained) == (24, True)


async def test_a_state_that_does_not_fit_its_document_is_no_events_fault(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, *(str(n) for n in range(4)))

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        grown = {"text": state.get("text", "") + "x" * 400_000 * len(events)}
        return Mutation([Transition(grown, events=events)] if events else [])

    for _ in range(5):
        assert isinstance(await drained(box, to, Deciding(to, decide)), InvalidArgument)
    assert len(await outstanding(box, to)) == 2  # the others fitted
    assert await attempts(client, to) == {}


async def test_a_batch_that_fails_without_events_is_raised(box: EventBox, to: Recipient) -> None:
    with pytest.raises(PoisonError):
        await box.drain(to, Deciding(to, lambda *_: (_ for _ in ()).throw(PoisonError())))


async def test_what_an_earlier_batch_did_does_not_let_a_state_that_fails_quarantine_events(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, *GOOD)

    class Full(Poisoned):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            if len(state.applied) >= 10:
                raise PoisonError("full")
            return await super().prepare_mutation(events, state)

    for _ in range(5):
        assert isinstance(await drained(box, to, Full(to), max_events=10), PoisonError)
    assert len(await outstanding(box, to)) == 10
    assert await in_quarantine(box, to) == []


# Garbage, skips, mutations that make no sense -------------------------------------------------------------


async def test_garbage_of_a_batch_that_fails_is_deleted_once_and_not_tried_again(
    box: EventBox, to: Recipient
) -> None:
    await emit(box, to, *GOOD, "bad", "junk 1", "junk 2")

    class Sorting(Poisoned):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            self.batches.append(frozenset(event.id for event in events))
            junk = [event for event in events if event.id.startswith("junk")]
            if any(map(self.is_poison, events)):
                raise PrepareError(garbage=junk) from PoisonError()
            rest = [event for event in events if event not in junk]
            return Mutation([Transition(Record([*state.applied, *(e.id for e in rest)]), events=rest)], junk)

    processor = Sorting(to)
    assert isinstance(await drained(box, to, processor), PoisonError)
    assert await outstanding(box, to) == {"bad"}
    assert await applied(to) == sorted(GOOD)
    assert not any("junk 1" in batch for batch in processor.batches[1:])


async def test_a_prepare_error_without_a_cause_is_poison_too(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, *GOOD, "bad")
    processor = Poisoned(to, error=lambda text: PrepareError(text))
    assert isinstance(await drained(box, to, processor), PrepareError)
    assert await attempts(client, to) == {"bad": 1}


async def test_garbage_that_is_all_of_a_batch_that_fails_leaves_nobody_to_blame(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "bad 1", "bad 2")

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        raise PrepareError("all of it", garbage=events)

    assert isinstance(await drained(box, to, Deciding(to, decide)), PrepareError)
    assert await outstanding(box, to) == set()
    assert await attempts(client, to) == {}


async def test_a_mutation_that_makes_no_sense_is_as_good_as_an_error(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, *GOOD, "bad")

    class Senseless(Poisoned):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            if any(map(self.is_poison, events)):
                return None  # type: ignore[return-value]
            return await super().prepare_mutation(events, state)

    assert isinstance(await drained(box, to, Senseless(to)), TypeError)
    assert await applied(to) == sorted(GOOD)
    assert await attempts(client, to) == {"bad": 1}


async def test_events_that_are_skipped_stay_while_poison_is_set_aside(
    local_client: AsyncClient,
) -> None:
    box, to = (
        EventBox(local_client, quarantine_after=1),
        Recipient(local_client.document("orders/1"), "order"),
    )
    await emit(box, to, "bad", "later")

    class Skipping(PoisonedSideEffects):
        def _side_effect(self, event: Event) -> Any:
            if event.id == "later":

                async def skip(transaction: Transaction) -> None:
                    raise SkipTransition

                return skip
            return super()._side_effect(event)

    report = await box.drain(to, Skipping(to))
    assert (report.drained, report.quarantined) == (False, 1)
    assert await outstanding(box, to) == {"later"}


async def test_callbacks_of_the_parts_of_a_batch_run_once(box: EventBox, to: Recipient) -> None:
    await emit(box, to, *GOOD, "bad")
    called: list[str] = []

    class Calling(Poisoned):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            mutation = await super().prepare_mutation(events, state)

            async def call() -> None:
                called.extend(event.id for event in events)

            return Mutation(
                [
                    Transition(one.transition_to, events=one.events, post_process=call)
                    for one in mutation.transitions
                ]
            )

    await drained(box, to, Calling(to))
    assert sorted(called) == sorted(GOOD)


async def test_contention_while_halving_ends_the_drain_and_is_reported(box: EventBox, to: Recipient) -> None:
    await emit(box, to, *GOOD, "bad")

    class Overtaken(Poisoned):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            mutation = await super().prepare_mutation(events, state)
            await box.process_batch(to, Poisoned(to, is_poison=lambda _: False))
            return mutation

    report = await box.drain(to, Overtaken(to))
    assert (report.contended, report.drained) == (True, False)
    assert await applied(to) == sorted([*GOOD, "bad"])


async def test_an_aborted_request_of_the_processors_own_is_contention(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    box, to = EventBox(local_client), Recipient(local_client.document("orders/1"), "order")
    await emit(box, to, "a")

    class Reading(Poisoned):
        async def load_state(self) -> tuple[Record, int]:
            await local_client.document("other/1").delete()
            return await super().load_state()

    emulator.faults.add(Fault(rpc="Commit", error="ABORTED", path="other/1"))
    with pytest.raises(ContentionError, match="aborted a request of the batch"):
        await box.process_batch(to, Reading(to))
    emulator.faults.add(Fault(rpc="Commit", error="ABORTED", path="other/1"))
    assert (await box.drain(to, Reading(to))).contended
