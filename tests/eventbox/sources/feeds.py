"""A feed of numbered blocks, as the tests of ingestion have it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable

from eventbox import NewEvent
from eventbox.sources import FunctionWriter, Result, Writer

Process = Callable[[int], Awaitable[None]]


def pointer(n: int) -> bytes:
    return n.to_bytes(4, "big")


async def nothing(n: int) -> None:
    """Process a block at once."""


class Numbers:
    """Blocks 1 to `count`; then it waits for more that never come (or ends, if `endless` is False)."""

    def __init__(
        self, count: int, process: Process = nothing, *, name: str = "numbers", endless: bool = True
    ) -> None:
        self.name = name
        self.count = count
        self.begun: list[int] = []
        self.starts: list[bytes | None] = []
        self.at_once = self.most_at_once = 0
        self.closed = 0
        self._process = process
        self._endless = endless

    async def ingest(self, writer: Writer, parent: bytes | None) -> AsyncIterator[Awaitable[Result]]:
        self.starts.append(parent)
        try:
            for n in range(0 if parent is None else int.from_bytes(parent, "big"), self.count):
                yield self._block(writer, n + 1)
            if self._endless:
                await asyncio.Event().wait()
        finally:
            self.closed += 1

    def pointer_metric(self, pointer: bytes) -> int:
        return int.from_bytes(pointer, "big")

    async def _block(self, writer: Writer, n: int) -> Result:
        self.begun.append(n)
        self.at_once += 1
        self.most_at_once = max(self.most_at_once, self.at_once)
        try:
            await self._process(n)
            await writer.write(self.name, pointer(n), [NewEvent(str(n).encode())])
        finally:
            self.at_once -= 1
        return Result(pointer(n - 1) if n > 1 else None, pointer(n))


class Written:
    """Remembers what was written."""

    def __init__(self) -> None:
        self.blocks: list[int] = []
        self.writer = FunctionWriter(self._write)

    async def _write(self, ingestor: str, block: bytes, events: object) -> None:
        self.blocks.append(int.from_bytes(block, "big"))
