"""A feed of blocks that grows, and an ingestor that follows it as badly as real ones do."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random

from google.api_core.exceptions import GoogleAPICallError

from eventbox import EmitError, NewEvent
from eventbox.sources import BoxWriter, Result
from eventbox.sources.writers import block_event_id
from tests.simulation.process import SimulatedClock


class FeedError(Exception):
    """The feed failed, for now."""


@dataclass
class Feed:
    """Blocks in a chain, each with some events."""

    name: str
    blocks: list[list[bytes]] = field(default_factory=list)
    unruly: bool = True

    def grow(self, events: int) -> None:
        """One block more."""
        number = len(self.blocks)
        self.blocks.append([f"{self.name}/{number}/{index}".encode() for index in range(events)])

    def position(self, pointer: bytes | None) -> int:
        """The number of the block behind this one."""
        return 0 if pointer is None else int(pointer) + 1

    def pointer(self, number: int) -> bytes | None:
        """The pointer of a block; None before the first."""
        return None if number < 0 else b"%06d" % number

    def event_ids(self, number: int) -> list[str]:
        """The IDs of a block's events."""
        pointer = self.pointer(number)
        assert pointer is not None
        return [block_event_id(self.name, pointer, index) for index in range(len(self.blocks[number]))]


class Follower:
    """An `Ingestor` of a feed. It is slow, fails, writes half of a block, and yields blocks that do not follow."""

    def __init__(self, feed: Feed, clock: SimulatedClock, rng: Random) -> None:
        self.name = feed.name
        self._feed = feed
        self._clock = clock
        self._rng = rng

    async def ingest(self, writer: BoxWriter, parent: bytes | None) -> AsyncIterator[Awaitable[Result]]:
        """The blocks behind the parent, as far as the feed goes now."""
        feed, rng = self._feed, self._rng
        for number in range(feed.position(parent), len(feed.blocks)):
            draw = rng.random() if feed.unruly else 1.0
            if draw < 0.02:
                raise FeedError("the feed breaks off")
            if draw < 0.05 and number:  # an ingestor's very first commit is always valid
                continue  # what comes next does not follow
            yield self._take(writer, number)
            if 0.05 < draw < 0.07 and number:
                yield self._take(writer, number)

    def pointer_metric(self, pointer: bytes) -> int:
        return int(pointer)

    async def _take(self, writer: BoxWriter, number: int) -> Result:
        feed, rng = self._feed, self._rng
        parent, block = feed.pointer(number - 1), feed.pointer(number)
        assert block is not None
        events = [NewEvent(value) for value in feed.blocks[number]]
        await self._clock.sleep(timedelta(seconds=rng.choice((0.0, 0.01, 0.5)) * rng.random()))
        draw = rng.random() if feed.unruly else 1.0
        if draw < 0.05:
            return Result(parent, block, FeedError("before"))
        if draw < 0.1:
            await writer.write(self.name, block, events[: len(events) // 2])
            raise FeedError("half of it")
        try:
            await writer.write(self.name, block, events)
        except (GoogleAPICallError, EmitError) as error:
            return Result(parent, block, error)
        if draw < 0.15:
            await asyncio.sleep(0)
            return Result(parent, block, FeedError("after"))
        return Result(parent, block)
