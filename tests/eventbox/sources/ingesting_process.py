"""What a process of `test_processes` does: `python -m tests.eventbox.sources.ingesting_process ADDRESS MODE`.

run       takes in the numbers 1 to `BLOCKS` and says, for each commit, its token, how many blocks and the last one
git:PATH  takes in the history of a repository, an event for each commit
listen    runs a listener that broadcasts the numbers 1 to `BLOCKS`, and keeps its place
stubborn  takes the lock, commits block 1 and waits for a line; then it commits block 2, whatever has become of the lock
"""

from __future__ import annotations

import asyncio
import random
import sys
from datetime import timedelta
from pathlib import Path

from google.cloud.firestore import AsyncClient

from eventbox import EventBox, NewEvent, Recipient
from eventbox.sources import (
    BoxWriter,
    Committer,
    DistributedLock,
    EventStore,
    ListenerManager,
    ListenerStore,
    Service,
    run,
)
from eventbox.sources.ingestors.git_history import GitCommit, GitHistory
from tests.eventbox.sources.feeds import Numbers, pointer
from tests.fronts import connect

BLOCKS = 400
HEARTBEAT = timedelta(milliseconds=150)
PROJECT = "sources"


def recipient(client: AsyncClient) -> Recipient:
    return Recipient(client.document("taken/in"), "taken")


def say(*words: object) -> None:
    print(*words, flush=True)


class Saying:
    def __init__(self, lock: DistributedLock) -> None:
        self._lock = lock

    def began(self, ingestor: str, position: int | None) -> None:
        say("began", self._lock.token, position)
        if position == BLOCKS:  # the one who finished was killed
            say("finished")

    def committed(self, ingestor: str, blocks: int, position: int) -> None:
        say("committed", self._lock.token, blocks, position)
        if position == BLOCKS:
            say("finished")


async def ingest(client: AsyncClient) -> None:
    async def process(n: int) -> None:
        await asyncio.sleep(random.uniform(0, 0.03))

    lock = DistributedLock(client, "numbers", heartbeat=HEARTBEAT)
    writer = BoxWriter(EventBox(client), recipient(client))
    await run(lock, Committer(client), writer, Numbers(BLOCKS, process), concurrency=4, progress=Saying(lock))


async def ingest_git(client: AsyncClient, path: str) -> None:
    def events(commit: GitCommit) -> list[NewEvent]:
        return [NewEvent(commit.id.encode())]

    lock = DistributedLock(client, "git", heartbeat=HEARTBEAT)
    writer = BoxWriter(EventBox(client), recipient(client))
    ingestor = GitHistory("git", Path(path), events)
    await run(lock, Committer(client), writer, ingestor, concurrency=4, progress=Saying(lock))


async def manage(client: AsyncClient) -> None:
    lock = DistributedLock(client, "listeners", heartbeat=HEARTBEAT)

    async def listen(service: Service, store: ListenerStore) -> None:
        n = int(await store.get(b"n") or b"0")
        say("began", lock.token, n)
        while n < BLOCKS:
            n += 1
            await store.broadcast("number", str(n).encode())
            await store.set(b"n", str(n).encode())
            say("committed", n)
        say("finished")
        await asyncio.Event().wait()

    store = EventStore(client.document("sources/1"))
    await ListenerManager(Service("test"), store, lock, listeners={"numbers": listen}).run()


async def stubborn(client: AsyncClient) -> None:
    lock, committer = DistributedLock(client, "numbers", heartbeat=HEARTBEAT), Committer(client)
    await lock.lock()
    await committer.claim("numbers", lock.token)
    await committer.commit("numbers", None, pointer(1), token=lock.token)
    say("ready")
    sys.stdin.readline()
    try:
        await committer.commit("numbers", pointer(1), pointer(2), token=lock.token)
    except Exception as error:
        say(type(error).__name__)
    else:
        say("committed")
    await asyncio.sleep(0)
    await lock.unlock()
    say("lost" if lock.lost.is_set() else "held")


async def main(address: str, mode: str) -> None:
    say("up")
    async with connect(address, PROJECT) as client:
        if mode.startswith("git:"):
            await ingest_git(client, mode.removeprefix("git:"))
        else:
            await {"run": ingest, "listen": manage, "stubborn": stubborn}[mode](client)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
