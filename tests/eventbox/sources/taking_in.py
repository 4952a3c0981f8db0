"""Taking in an ingestor's blocks without a lock and a committer, and checking what every ingestor must keep to."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import Any

from eventbox import NewEvent
from eventbox.sources import FunctionWriter


@dataclass(frozen=True)
class Taken:
    events: list[NewEvent]
    blocks: int
    place: bytes | None


async def take_in(ingestor: Any, place: bytes | None, *, at_most: int | None = None) -> Taken:
    """So many blocks, or all until the ingestor ends."""
    events: list[NewEvent] = []
    blocks = 0

    async def write(name: str, block: bytes, new: Sequence[NewEvent]) -> None:
        assert name == ingestor.name
        events.extend(new)

    async with aclosing(ingestor.ingest(FunctionWriter(write), place)) as stream:
        async for awaitable in stream:
            result = await awaitable
            assert result.error is None
            assert result.parent == place
            assert place is None or result.block > place
            assert len(result.block) <= 1_024
            assert ingestor.pointer_metric(result.block) >= 0
            place = result.block
            blocks += 1
            if blocks == at_most:
                break
    return Taken(events, blocks, place)
