"""Processors, and short ways to emit and to look, that the tests of the core share."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from google.cloud.firestore import AsyncClient

from eventbox import (
    DocumentProcessor,
    Event,
    EventBox,
    Mutation,
    NewEvent,
    Recipient,
    Transaction,
    Transition,
)

Decide = Callable[[Sequence[Event], Any], Mutation[Any]]


@dataclass
class Record:
    """A state that remembers what was applied to it."""

    applied: list[str] = field(default_factory=list)


class Recording(DocumentProcessor[Record]):
    """Consumes every event and records its ID in the state."""

    def __init__(self, recipient: Recipient) -> None:
        super().__init__(recipient, Record)
        self.batches: list[Sequence[Event]] = []

    async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
        self.batches.append(events)
        if not events:
            return Mutation()
        applied = Record(state.applied + [event.id for event in events])
        return Mutation([Transition(applied, events=events)])


class Deciding(DocumentProcessor[Any]):
    """Does what the test's function says; the state is a dict."""

    def __init__(self, recipient: Recipient, decide: Decide) -> None:
        super().__init__(recipient, dict)
        self._decide = decide

    async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Mutation[Any]:
        return self._decide(events, state)


class InTransaction:
    """A processor of the plain kind: its state is a field `n` of a document of its own, read in the transaction."""

    def __init__(self, recipient: Recipient, decide: Decide) -> None:
        self._ref = recipient.ref.collection("states").document("state")
        self._decide = decide

    async def load_state(self) -> tuple[Any, int]:
        snapshot = await self._ref.get()
        return (snapshot.get("n"), snapshot.get("eversion")) if snapshot.exists else (0, 0)

    async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Mutation[Any]:
        return self._decide(events, state)

    async def fetch_eversion(self, transaction: Transaction) -> int:
        snapshot = await self._ref.get(transaction=transaction)
        return int(snapshot.get("eversion")) if snapshot.exists else 0

    async def save_state(self, transaction: Transaction, state: Any, eversion: int) -> None:
        transaction.set(self._ref, {"n": state, "eversion": eversion})


class Waiting:
    """A gate that a test opens: `await gate.reached` until somebody waits in it, then `gate.open()`."""

    def __init__(self) -> None:
        self._reached = asyncio.Event()
        self._opened = asyncio.Event()

    async def wait(self) -> None:
        self._reached.set()
        await self._opened.wait()

    async def reached(self) -> None:
        await self._reached.wait()

    def open(self) -> None:
        self._opened.set()


def consume_all(state: Any, **kwargs: Any) -> Decide:
    """Decide to consume every event, into this state."""
    return lambda events, _: Mutation([Transition(state, events=events, **kwargs)] if events else [])


def writes(path: str, data: dict[str, Any]) -> Callable[[Transaction], Awaitable[None]]:
    """A side effect that sets a document."""

    async def side_effect(transaction: Transaction) -> None:
        transaction.set(transaction._client.document(path), data)

    return side_effect


async def emit(box: EventBox, to: Recipient, *ids: str) -> None:
    await box.emit_many([NewEvent(event_id.encode(), id=event_id) for event_id in ids], to)


async def fill(box: EventBox, to: Recipient, n: int) -> None:
    """Emit so many events, whose IDs are in the order of their numbers."""
    await box.emit_many([NewEvent(b"", id=f"{i:03}") for i in range(n)], to)


async def outstanding(box: EventBox, to: Recipient) -> set[str]:
    return {event.id for event in await box.list_events(to)}


async def document(client: AsyncClient, path: str) -> dict[str, Any] | None:
    data: dict[str, Any] | None = (await client.document(path).get()).to_dict()
    return data
