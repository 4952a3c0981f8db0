"""Taking in a feed of blocks: several processes, of which one leads."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Sequence
from datetime import timedelta

from eventbox import NewEvent
from eventbox.sources import Committer, DistributedLock, FunctionWriter, Pointer, Result, run
from tests.chaos.accounts import recipient
from tests.chaos.actor import Actor
from tests.chaos.acts import Order
from tests.chaos.setting import Setting

INGESTOR = "feed"
BLOCK = "block"

_HEARTBEAT = timedelta(milliseconds=300)
_LEASE = timedelta(milliseconds=1_200)
_AT_ONCE = 8
_LOOK_EVERY = 0.05


def pointer(block: int) -> Pointer:
    return block.to_bytes(4, "big")


def order_of(block: int, paths: Sequence[str]) -> Order:
    """The event of a block."""
    return Order(f"{BLOCK}.{block}", paths[block % len(paths)], "credit", 1)


class Feed:
    """Blocks that come into being as time goes by, until it is over."""

    name = INGESTOR

    def __init__(self, setting: Setting) -> None:
        self._setting = setting

    async def ingest(
        self, writer: FunctionWriter, parent: Pointer | None
    ) -> AsyncIterator[Awaitable[Result]]:
        block = 0 if parent is None else self.pointer_metric(parent)
        while True:
            while block < self._setting.blocks(time.time()):
                block += 1
                yield self._process(writer, block)
            await asyncio.sleep(_LOOK_EVERY)

    def pointer_metric(self, pointer: Pointer) -> int:
        return int.from_bytes(pointer, "big")

    async def _process(self, writer: FunctionWriter, block: int) -> Result:
        order = order_of(block, self._setting.paths)
        await writer.write(self.name, pointer(block), [NewEvent(order.encode(), id=order.id)])
        return Result(pointer(block - 1) if block > 1 else None, pointer(block))


class _Progress:
    """Writes down what was committed."""

    def __init__(self, actor: Actor) -> None:
        self._journal = actor.journal

    def began(self, ingestor: str, position: int | None) -> None:
        self._journal.write("leading", position=position or 0)

    def committed(self, ingestor: str, blocks: int, position: int) -> None:
        self._journal.write("taken in", first=position - blocks + 1, last=position)


async def ingest(actor: Actor) -> None:
    """Take the feed in while this process has the lock: an event for an account and an entry of the log a block."""
    client, queue = actor.box.client, actor.queue

    async def write(ingestor: str, block: Pointer, events: Sequence[NewEvent]) -> None:
        for event in events:
            order = Order.decode(event.value)
            await queue.send(event.value, recipient(client, order.at), id=event.id)
            await actor.log.append(BLOCK, order.id.encode(), id=order.id)

    lock = DistributedLock(client, INGESTOR, heartbeat=_HEARTBEAT, lease=_LEASE)
    feed = Feed(actor.setting)
    await run(
        lock, Committer(client), FunctionWriter(write), feed, concurrency=_AT_ONCE, progress=_Progress(actor)
    )
