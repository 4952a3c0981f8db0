"""The job on this library: an inbox for each recipient, drained by one worker process, on the emulator with a folder.

The worker is told which recipients have events, as Cloud Tasks tells it in production, one wake-up a recipient however
many events it has. What Cloud Tasks itself takes for that is no part of this: see `benchmarks.tasks`.
"""

from __future__ import annotations

import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from google.cloud.firestore import AsyncClient

from benchmarks.peers.job import EMITTERS, VALUE, Job, Peer, by_callers
from benchmarks.pinning import connected, pinned_emulator
from eventbox import DocumentProcessor, Event, EventBox, Mutation, Recipient, Transition


@dataclass(frozen=True)
class Counters:
    events: int = 0
    bytes: int = 0


class Count(DocumentProcessor[Counters]):
    """Counts its recipient's events, and their bytes."""

    def __init__(self, recipient: Recipient) -> None:
        super().__init__(recipient, Counters)

    async def prepare_mutation(self, events: Sequence[Event], state: Counters) -> Mutation[Counters]:
        if not events:
            return Mutation()
        size = sum(len(event.value) for event in events)
        return Mutation([Transition(Counters(state.events + len(events), state.bytes + size), events=events)])


class EventboxJob:
    """The job in a collection of its own."""

    def __init__(self, job: Job, client: AsyncClient) -> None:
        self._job = job
        self._documents = client.collection(f"counters-{uuid.uuid4().hex}")
        self._box = EventBox(client, share_emits=True)

    async def emit(self) -> None:
        await by_callers(EMITTERS, self._emit, range(self._job.events))

    async def process(self, concurrency: int, seconds: float) -> int:
        until = time.monotonic() + seconds
        done = 0

        async def drain(name: str) -> None:
            nonlocal done
            recipient = self._recipient(name)
            report = await self._box.drain(
                recipient, Count(recipient), stop=lambda: time.monotonic() >= until
            )
            done += report.events

        await by_callers(concurrency, drain, self._job.expected)
        return done

    async def counts(self) -> Mapping[str, int]:
        return {one.id: one.get("events") async for one in self._documents.stream()}

    async def _emit(self, event: int) -> None:
        recipient = self._recipient(self._job.recipient_of(event))
        await self._box.emit(VALUE.encode(), recipient, id=f"event-{event}")

    def _recipient(self, name: str) -> Recipient:
        return Recipient(self._documents.document(name), "counter")


@asynccontextmanager
async def served() -> AsyncIterator[Peer]:
    """A Firestore emulator with a data folder, on a core of its own."""
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        async with pinned_emulator(data_dir=Path(folder)) as process, connected(process.address) as client:
            yield partial(_begun, client)


@asynccontextmanager
async def _begun(client: AsyncClient, job: Job) -> AsyncIterator[EventboxJob]:
    yield EventboxJob(job, client)
