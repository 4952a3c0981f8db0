"""Which recipients have something to do: a queue in which each waits at most once."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)


class Wakeups(Generic[K]):
    """Stands in for Cloud Tasks in this process.

    A recipient that is woken while it is being processed waits again, since that run may not have seen the event. So
    two workers may meet on it, and one of them finds contention: it wakes the recipient once more.
    """

    def __init__(self) -> None:
        self._waiting: deque[K] = deque()
        self._known: set[K] = set()
        self._running = 0
        self._closed = False
        self._changed = asyncio.Condition()

    async def wake(self, recipient: K) -> None:
        """Let a worker come to this recipient."""
        async with self._changed:
            if recipient not in self._known:
                self._known.add(recipient)
                self._waiting.append(recipient)
                self._changed.notify()

    async def close(self) -> None:
        """Nobody emits any more: the workers end when nothing is left."""
        async with self._changed:
            self._closed = True
            self._changed.notify_all()

    async def take(self) -> AsyncIterator[K]:
        """The recipients for one worker, until nothing is left."""
        while True:
            async with self._changed:
                await self._changed.wait_for(lambda: self._waiting or self._finished)
                if not self._waiting:
                    return
                recipient = self._waiting.popleft()
                self._known.discard(recipient)
                self._running += 1
            try:
                yield recipient
            finally:
                async with self._changed:
                    self._running -= 1
                    if self._finished:
                        self._changed.notify_all()

    @property
    def _finished(self) -> bool:
        return self._closed and not self._waiting and not self._running
