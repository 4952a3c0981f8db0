"""Running the demo as it would be in production: emitters send, Cloud Tasks calls the workers, they process."""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, aclosing, asynccontextmanager, closing
from dataclasses import dataclass
from datetime import timedelta

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport
from google.cloud.tasks_v2 import CloudTasksAsyncClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from grpc import aio

from emulator.process import EmulatorProcess
from emulator.tasks.process import TasksEmulatorProcess
from eventbox import EventBox, NewEvent, Recipient, Transaction
from eventbox.demo.git import Repository, Totals
from eventbox.demo.progress import Progress
from eventbox.demo.tallies import AUTHORS, FILES, events_of
from eventbox.demo.worker_pool import worker_pool
from eventbox.dev.environment import Environment
from eventbox.dev.listening_socket import listening_socket
from eventbox.dev.queues import UNLIMITED, create_queues
from eventbox.tasks import Sweeper, TaskQueue

_WINDOW = 1_000
"""Events that are read before they are sent together, grouped by their recipients."""

_EMITTERS = 16

_MIN_BACKOFF, _MAX_BACKOFF = timedelta(milliseconds=100), timedelta(seconds=5)

_SWEEP_EVERY = timedelta(seconds=10)

_LOOK_EVERY = timedelta(milliseconds=50)
_COUNT_AFTER = timedelta(seconds=2)
"""How long nothing may move before the documents themselves are asked how far it is."""

_STALLED_AFTER = timedelta(minutes=3)
"""How long nothing may move before it is given up; a reminder is swept after a minute."""

Key = tuple[str, str]


@dataclass(frozen=True, slots=True)
class World:
    """What the demo runs on: both emulators as processes, and clients of them."""

    firestore: EmulatorProcess
    client: AsyncClient
    queue: TaskQueue
    box: EventBox


@asynccontextmanager
async def world(workers: int, progress: Progress) -> AsyncIterator[World]:
    """Emulators, and workers that they call over HTTP, while inside."""
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(closing(listening_socket("127.0.0.1", 0)))
        firestore = await stack.enter_async_context(EmulatorProcess())
        tasks = await stack.enter_async_context(TasksEmulatorProcess())
        environment = Environment(
            project="eventbox-demo",
            queue="demo",
            target=f"http://127.0.0.1:{listening.getsockname()[1]}",
            firestore=firestore.address,
            tasks=tasks.address,
            certs_url=tasks.certs_url,
        )
        await create_queues(
            tasks.address,
            {environment.queue_name: UNLIMITED},
            min_backoff=_MIN_BACKOFF,
            max_backoff=_MAX_BACKOFF,
        )
        client = await stack.enter_async_context(connected(firestore.address))
        channel = await stack.enter_async_context(aio.insecure_channel(tasks.address))
        box = EventBox(client)
        queue = TaskQueue(
            CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel)),
            environment.queue_name,
            target=environment.target,
            service_account=environment.service_account,
            box=box,
        )
        await stack.enter_async_context(worker_pool(workers, environment, listening, progress))
        yield World(firestore, client, queue, box)
        await queue.aclose()


async def run(repository: Repository, on: World, progress: Progress) -> None:
    """Send every change of a history, and wait until it is processed, or nothing moves any more."""
    sweeping = asyncio.create_task(Sweeper(on.queue).run(_SWEEP_EVERY))
    try:
        await _send_all(repository, on, progress)
        await _until_processed(on.client, progress)
    finally:
        sweeping.cancel()
        await asyncio.gather(sweeping, return_exceptions=True)


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


async def _send_all(repository: Repository, on: World, progress: Progress) -> None:
    window: defaultdict[Key, list[NewEvent]] = defaultdict(list)
    size = 0
    async with aclosing(repository.commits()) as commits:
        async for commit in commits:
            for collection, document_id, event in events_of(commit):
                window[collection, document_id].append(event)
                size += 1
            if size >= _WINDOW:
                await _send_window(window, on, progress)
                window.clear()
                size = 0
    await _send_window(window, on, progress)


async def _send_window(window: dict[Key, list[NewEvent]], on: World, progress: Progress) -> None:
    slots = asyncio.Semaphore(_EMITTERS)

    async def send(key: Key, events: list[NewEvent]) -> None:
        collection, document_id = key
        to = Recipient(on.client.collection(collection).document(document_id), collection)
        *others, last = events

        async def body(transaction: Transaction) -> None:
            await on.box.emit_many(others, to, transaction=transaction)
            await on.queue.send(last.value, to, id=last.id, transaction=transaction)

        async with slots:
            if others:  # one commit, and one wake-up for all of them
                await on.box.run_in_transaction(body)
            else:
                await on.queue.send(last.value, to, id=last.id)
        progress.emitted += len(events)

    async with asyncio.TaskGroup() as group:
        for key, events in window.items():
            group.create_task(send(key, events))


async def _until_processed(client: AsyncClient, progress: Progress) -> None:
    moved, seen = time.monotonic(), -1
    while progress.processed < progress.total:
        if progress.processed != seen:
            moved, seen = time.monotonic(), progress.processed
        still = time.monotonic() - moved
        if still >= _COUNT_AFTER.total_seconds():
            # a worker that was killed did not tell its last batches
            counted = [(await stored_totals(client, collection)).changes for collection in (AUTHORS, FILES)]
            if sum(counted) > progress.processed:
                progress.processed = sum(counted)
                continue
            if still >= _STALLED_AFTER.total_seconds():
                return  # what the totals say is told
            await asyncio.sleep(1)
        await asyncio.sleep(_LOOK_EVERY.total_seconds())
    # a worker may tell of what was counted in the documents already
    progress.processed = min(progress.processed, progress.total)


__all__ = ["AUTHORS", "FILES", "World", "run", "stored_totals", "world"]
