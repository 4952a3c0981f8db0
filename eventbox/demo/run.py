"""Running the demo as it would be in production: a history is taken in, Cloud Tasks calls the workers, they process."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, closing
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
from eventbox import EventBox
from eventbox.demo.chaos import wreak
from eventbox.demo.crew import Crew
from eventbox.demo.git import Repository, Totals
from eventbox.demo.history_log import follow
from eventbox.demo.kept_process import kept
from eventbox.demo.progress import Progress
from eventbox.demo.tallies import AUTHORS, FILES
from eventbox.dev.environment import Environment
from eventbox.dev.listening_socket import listening_socket
from eventbox.dev.queues import UNLIMITED, create_queues
from eventbox.tasks import Sweeper, TaskQueue

PROJECT = "eventbox-demo"

_MIN_BACKOFF, _MAX_BACKOFF = timedelta(milliseconds=100), timedelta(seconds=5)

_SWEEP_EVERY = timedelta(seconds=10)

_LOOK_EVERY = timedelta(milliseconds=50)
_COUNT_AFTER = timedelta(seconds=2)
"""How long nothing may move before the documents themselves are asked how far it is."""

_STALLED_AFTER = timedelta(minutes=3)
"""How long nothing may move before it is given up; a reminder is swept after a minute."""


@dataclass(frozen=True, slots=True)
class World:
    """What the demo runs on: both emulators and the crew as processes, and clients of the emulators."""

    firestore: EmulatorProcess
    client: AsyncClient
    queue: TaskQueue
    crew: Crew


@asynccontextmanager
async def world(workers: int, repository: Repository, progress: Progress) -> AsyncIterator[World]:
    """Emulators, and workers that they call over HTTP, while inside; nobody takes the history in yet."""
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(closing(listening_socket("127.0.0.1", 0)))
        firestore = await stack.enter_async_context(EmulatorProcess())
        tasks = await stack.enter_async_context(TasksEmulatorProcess())
        environment = Environment(
            project=PROJECT,
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
        queue = TaskQueue(
            CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel)),
            environment.queue_name,
            target=environment.target,
            service_account=environment.service_account,
            box=EventBox(client),
        )
        crew = Crew(workers, repository, environment, listening, progress)
        await stack.enter_async_context(kept(crew.workers))
        yield World(firestore, client, queue, crew)
        await queue.aclose()


async def run(on: World, progress: Progress, *, chaos: bool = False) -> None:
    """Wait until the history is taken in, processed and logged, or nothing moves any more; follow its log meanwhile.

    With `chaos`, processes are killed again and again.
    """
    beside = [
        asyncio.create_task(Sweeper(on.queue).run(_SWEEP_EVERY)),
        asyncio.create_task(follow(on.queue.box, progress)),
    ]
    if chaos:
        beside.append(asyncio.create_task(wreak(on.crew)))
    try:
        await _until_done(on.client, progress, beside)
        progress.end()
    finally:
        for task in beside:
            task.cancel()
        await asyncio.gather(*beside, return_exceptions=True)


async def stored_totals(client: AsyncClient, collection: str) -> Totals:
    """What the documents of a collection say together."""
    tallies = client.collection(collection)
    query = tallies.sum("commits", "commits").sum("changes", "changes").sum("added", "added")
    results = {one.alias: int(one.value) for one in (await query.sum("removed", "removed").get())[0]}
    return Totals(**results)


@asynccontextmanager
async def connected(address: str) -> AsyncIterator[AsyncClient]:
    """google's client on the emulator at an address."""
    client = AsyncClient(project=PROJECT, credentials=AnonymousCredentials())
    channel = aio.insecure_channel(address, options=[("grpc.max_receive_message_length", -1)])
    client._firestore_api_internal = FirestoreAsyncClient(
        transport=FirestoreGrpcAsyncIOTransport(channel=channel)
    )
    async with channel:
        yield client


async def _until_done(client: AsyncClient, progress: Progress, beside: list[asyncio.Task[None]]) -> None:
    moved, seen = time.monotonic(), (-1, -1, -1)
    while True:
        for task in beside:
            if task.done():
                task.result()  # none of them ends but by an error
        now = (progress.taken_in, progress.processed, progress.logged)
        if now != seen:
            moved, seen = time.monotonic(), now
        still = time.monotonic() - moved
        told = progress.processed >= progress.events
        if told or still >= _COUNT_AFTER.total_seconds():
            # a worker that was killed did not tell its last batches; or they were counted here, and then it told
            counted = [(await stored_totals(client, collection)).changes for collection in (AUTHORS, FILES)]
            progress.processed = sum(counted)
            if progress.processed >= progress.events and progress.logged >= progress.commits:
                return
            if still >= _STALLED_AFTER.total_seconds():
                return  # what the totals say is told
        await asyncio.sleep(_LOOK_EVERY.total_seconds())


__all__ = ["AUTHORS", "FILES", "World", "run", "stored_totals", "world"]
