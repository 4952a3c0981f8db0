"""Isolation: batches that fail for other reasons than one event, and what else there is in a batch that fails."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random
from typing import Any

import pytest
from google.api_core.exceptions import InvalidArgument, PermissionDenied
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import (
    ContentionError,
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
from tests.eventbox.poisoned import (
    Poisoned,
    PoisonedSideEffects,
    PoisonError,
    applied,
    attempts,
    begins_with_bad,
    drained,
    in_quarantine,
)
from tests.eventbox.support import Deciding, Record, emit, outstanding

GOOD = [f"good {n}" for n in range(20)]


@pytest.fixture
def box(client: AsyncClient) -> EventBox:
    return EventBox(client, quarantine_after=3)


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


class Sorting(Poisoned):
    """Throws away what is junk, also where it fails."""

    async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
        self.batches.append(frozenset(event.id for event in events))
        junk = [event for event in events if event.id.startswith("junk")]
        if any(map(self.is_poison, events)):
            raise PrepareError(garbage=junk) from PoisonError()
        rest = [event for event in events if event not in junk]
        return Mutation([Transition(Record([*state.applied, *(e.id for e in rest)]), events=rest)], junk)


async def test_garbage_of_a_batch_that_fails_is_deleted_once_and_not_tried_again(
    client: AsyncClient, to: Recipient
) -> None:
    box = EventBox(client, quarantine_after=1)
    await emit(box, to, *GOOD, "bad", "junk 1", "junk 2")
    processor = Sorting(to)
    report = await box.drain(to, processor)
    assert report == DrainReport(1, len(GOOD) + 2, contended=False, drained=True, quarantined=1)
    assert await outstanding(box, to) == set()
    assert await applied(to) == sorted(GOOD)
    assert not any("junk 1" in batch for batch in processor.batches[1:])


async def test_garbage_that_cannot_be_deleted_is_no_events_fault(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    box, to = EventBox(local_client), Recipient(local_client.document("orders/1"), "order")
    await emit(box, to, *GOOD, "bad", "junk")
    emulator.faults.add(Fault(rpc="BatchWrite", error="PERMISSION_DENIED"))
    processor = Sorting(to)
    assert isinstance(await drained(box, to, processor), PermissionDenied)
    assert len(processor.batches) == 1


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

    class BadLast(Random):
        """Lets the good half be run first: once an event is known to fail by itself, its error is raised."""

        def shuffle(self, x: Any) -> None:
            x.sort(key=begins_with_bad)

    report = await EventBox(to.ref._client, rng=BadLast(1)).drain(to, Overtaken(to))
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
