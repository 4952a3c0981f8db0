"""Running the demo: emission and workers side by side, on an emulator in a process of its own."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass, field

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport
from grpc import aio

from eventbox import EventBox, NewEvent, Recipient
from eventbox.demo.git import Repository, Totals
from eventbox.demo.tallies import AUTHORS, FILES, TallyProcessor, events_of
from eventbox.demo.wakeups import Wakeups

_WINDOW = 1_000
"""Events that are read before they are emitted together, grouped by their recipients."""

_EMITTERS = 16

Key = tuple[str, str]


@dataclass(slots=True)
class Progress:
    """How far the demo has come."""

    total: int = 0
    emitted: int = 0
    processed: int = 0
    contended: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.began, 1e-9)


async def run(repository: Repository, box: EventBox, progress: Progress, *, workers: int) -> None:
    """Emit every change of a history and process it."""
    wakeups = Wakeups[Key]()
    async with asyncio.TaskGroup() as group:
        for _ in range(workers):
            group.create_task(_work(box, wakeups, progress))
        await _emit(repository, box, wakeups, progress)
        await wakeups.close()


async def stored_totals(client: AsyncClient, collection: str) -> Totals:
    """What the documents of a collection say together."""
    tallies = client.collection(collection)
    query = tallies.sum("commits", "commits").sum("changes", "changes").sum("added", "added")
    results = {one.alias: int(one.value) for one in (await query.sum("removed", "removed").get())[0]}
    return Totals(**results)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[AsyncClient]:
    """google's client on the emulator at an address."""
    client = AsyncClient(project="eventbox-demo", credentials=AnonymousCredentials())
    channel = aio.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
    client._firestore_api_internal = FirestoreAsyncClient(
        transport=FirestoreGrpcAsyncIOTransport(channel=channel)
    )
    async with channel:
        yield client


def recipient_of(client: AsyncClient, key: Key) -> Recipient:
    """The recipient of a collection and a document ID."""
    collection, document_id = key
    return Recipient(client.collection(collection).document(document_id), collection)


async def _emit(repository: Repository, box: EventBox, wakeups: Wakeups[Key], progress: Progress) -> None:
    window: defaultdict[Key, list[NewEvent]] = defaultdict(list)
    size = 0
    async with aclosing(repository.commits()) as commits:
        async for commit in commits:
            for collection, document_id, event in events_of(commit):
                window[collection, document_id].append(event)
                size += 1
            if size >= _WINDOW:
                await _emit_window(window, box, wakeups, progress)
                window.clear()
                size = 0
    await _emit_window(window, box, wakeups, progress)


async def _emit_window(
    window: dict[Key, list[NewEvent]], box: EventBox, wakeups: Wakeups[Key], progress: Progress
) -> None:
    slots = asyncio.Semaphore(_EMITTERS)

    async def emit(key: Key, events: list[NewEvent]) -> None:
        async with slots:
            await box.emit_many(events, recipient_of(box.client, key))
        progress.emitted += len(events)
        await wakeups.wake(key)

    async with asyncio.TaskGroup() as group:
        for key, events in window.items():
            group.create_task(emit(key, events))


async def _work(box: EventBox, wakeups: Wakeups[Key], progress: Progress) -> None:
    async for key in wakeups.take():
        recipient = recipient_of(box.client, key)
        report = await box.drain(recipient, TallyProcessor(recipient))
        progress.processed += report.events
        if report.contended:
            progress.contended += 1
        if not report.drained:
            await wakeups.wake(key)


__all__ = ["AUTHORS", "FILES", "Progress", "connected", "recipient_of", "run", "stored_totals"]
