"""`Pipeline`: an ingestor's blocks, processed side by side and handed on in order."""

from __future__ import annotations

import asyncio
import inspect
from collections import deque
from collections.abc import AsyncIterator, Awaitable
from typing import Any

from eventbox.sources.ending import end
from eventbox.sources.ingestor import Result

_AHEAD = 16
"""How many blocks, for each that is processed at once, may be ahead of the first that is not committed."""

MAX_READY = 1_000
"""At most so many blocks are handed on at once."""


class BlockError(Exception):
    """A block could not be processed, or the ingestor failed; its error is the `__cause__`."""


class Pipeline:
    """Processes blocks from when it is entered until it is left; then no task of it is left behind.

    Args:
        blocks: an awaitable for each block, in order.
        concurrency: how many are processed at once.
    """

    def __init__(self, blocks: AsyncIterator[Awaitable[Result]], concurrency: int) -> None:
        if not hasattr(blocks, "__anext__"):
            close = getattr(blocks, "close", None)
            if close is not None:
                close()  # a coroutine would warn that it was never awaited
            raise TypeError(
                f"ingest must return an asynchronous iterator (an async def with yields), not {type(blocks).__name__}"
            )
        self._blocks = blocks
        self._slots = asyncio.Semaphore(concurrency)
        self._ahead = asyncio.Semaphore(_AHEAD * concurrency)
        self._begun: deque[asyncio.Future[Result]] = deque()
        self._changed = asyncio.Event()
        self._producing: asyncio.Task[None] | None = None

    async def __aenter__(self) -> Pipeline:
        self._producing = asyncio.create_task(self._produce())
        self._producing.add_done_callback(lambda _: self._changed.set())
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        assert self._producing is not None
        await end(self._producing, *self._begun)  # after this it begins no more
        await end(*self._begun)

    async def ready(self) -> list[Result]:
        """The results of the next blocks, in order: all that are processed, at least one; none at the feed's end.

        Raises:
            BlockError: the next block failed, and those before it were handed on.
            TypeError: the ingestor yielded what it must not.
        """
        assert self._producing is not None
        while not self._begun:
            if self._producing.done():
                self._raise(self._producing)
                return []
            self._changed.clear()
            await self._changed.wait()
        await asyncio.wait([self._begun[0]])
        results: list[Result] = []
        while self._begun and self._begun[0].done() and len(results) < MAX_READY:
            head = self._begun[0]
            if results and (head.cancelled() or head.exception() or _failed(head.result())):
                break
            self._raise(head)
            result = head.result()
            if not isinstance(result, Result):
                raise TypeError(f"a block must come to a Result, not to a {type(result).__name__}")
            if result.error is not None:
                raise BlockError(f"block {result.block!r} could not be processed") from result.error
            self._begun.popleft()
            self._ahead.release()
            results.append(result)
        return results

    async def _produce(self) -> None:
        try:
            while True:
                await self._ahead.acquire()
                await self._slots.acquire()
                try:
                    block = await anext(self._blocks)
                except StopAsyncIteration:
                    return
                if not inspect.isawaitable(block):
                    raise _MisuseError(f"ingest must yield awaitables, not a {type(block).__name__}")
                task = asyncio.ensure_future(block)
                task.add_done_callback(lambda _: self._slots.release())
                self._begun.append(task)
                self._changed.set()
        finally:
            close = getattr(self._blocks, "aclose", None)
            if close is not None:
                await close()

    @staticmethod
    def _raise(task: asyncio.Future[Any]) -> None:
        error = asyncio.CancelledError() if task.cancelled() else task.exception()
        if isinstance(error, _MisuseError):
            raise TypeError(str(error))
        if error is not None:
            raise BlockError(f"a block could not be processed: {error!r}") from error


class _MisuseError(Exception):
    """Not an error of the feed, but of whoever wrote the ingestor."""


def _failed(result: object) -> bool:
    return not isinstance(result, Result) or result.error is not None
