"""Processors that some events are poison to, for the tests of isolation and quarantine."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from google.cloud.firestore import AsyncClient

from eventbox import (
    DocumentProcessor,
    DrainReport,
    Event,
    EventBox,
    Mutation,
    Recipient,
    Transaction,
    Transition,
)
from tests.eventbox.support import Record


class PoisonError(Exception):
    """What poison makes a processor raise."""


def begins_with_bad(event: Event) -> bool:
    return event.id.startswith("bad")


class Poisoned(DocumentProcessor[Record]):
    """Records the IDs of its events in the state, and fails where one of them is poison."""

    def __init__(
        self,
        recipient: Recipient,
        is_poison: Callable[[Event], bool] = begins_with_bad,
        error: Callable[[str], BaseException] = PoisonError,
    ) -> None:
        super().__init__(recipient, Record)
        self.is_poison = is_poison
        self.error = error
        self.batches: list[frozenset[str]] = []

    async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
        self.batches.append(frozenset(event.id for event in events))
        for event in events:
            if self.is_poison(event):
                raise self.error(f"cannot read {event.id}")
        if not events:
            return Mutation()
        return Mutation([Transition(Record(state.applied + [e.id for e in events]), events=events)])


class PoisonedSideEffects(Poisoned):
    """Fails in the side effect of the transition that an event of poison is in."""

    async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
        self.batches.append(frozenset(event.id for event in events))
        transitions = []
        applied = state.applied
        for event in events:
            applied = [*applied, event.id]
            transitions.append(
                Transition(Record(applied), events=[event], side_effect=self._side_effect(event))
            )
        return Mutation(transitions)

    def _side_effect(self, event: Event) -> Any:
        async def side_effect(transaction: Transaction) -> None:
            transaction.set(self.recipient.ref.collection("mails").document(event.id), {"sent": True})
            if self.is_poison(event):
                raise self.error(f"cannot mail {event.id}")

        return side_effect


class RefusedWrites(PoisonedSideEffects):
    """Poison makes its side effect put a precondition on a write that cannot hold, so that the commit is refused."""

    def _side_effect(self, event: Event) -> Any:
        async def side_effect(transaction: Transaction) -> None:
            if self.is_poison(event):
                transaction.update(self.recipient.ref.parent.document("missing"), {"n": 1})

        return side_effect


async def applied(to: Recipient) -> list[str]:
    """The IDs of the events that were processed, sorted; one that was processed twice is there twice."""
    data = (await to.ref.get()).to_dict() or {}
    return sorted(data.get("applied", []))


async def attempts(client: AsyncClient, to: Recipient) -> dict[str, int]:
    """How many attempts are counted, by the events' IDs."""
    snapshots = [one async for one in to.ref.collection("eventbox_attempts").stream()]
    return {one.get("id"): one.get("attempts") for one in snapshots}


async def in_quarantine(box: EventBox, to: Recipient) -> list[str]:
    return sorted(one.event.id for one in await box.quarantined(to))


async def drained(box: EventBox, to: Recipient, processor: Any, **kwargs: Any) -> DrainReport | Exception:
    """What a drain reports, or raises."""
    try:
        return await box.drain(to, processor, **kwargs)
    except Exception as error:
        return error
