"""Transient entries: handed to whoever waits for them in this process, and stored nowhere."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator
from weakref import WeakSet

from eventbox.log.entry import LogEntry


class TransientEntries(AsyncIterator[LogEntry]):
    """The transient entries of a log that are appended in this process from now on, in order.

    It takes entries in from the moment it is made until `aclose`, or until nobody refers to it any more. Who reads too
    slowly loses the oldest: `missed` counts them.
    """

    def __init__(self, subscribers: Subscribers, capacity: int) -> None:
        self.missed = 0
        self._waiting: deque[LogEntry] = deque(maxlen=capacity)
        self._subscribers = subscribers
        self._arrived = asyncio.Event()
        self._closed = False
        subscribers.add(self)

    def __aiter__(self) -> TransientEntries:
        return self

    async def __anext__(self) -> LogEntry:
        while not self._waiting:
            if self._closed:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        return self._waiting.popleft()

    async def aclose(self) -> None:
        """Take no more entries in; the iteration ends after those that have been."""
        self._closed = True
        self._subscribers.remove(self)
        self._arrived.set()

    def _take_in(self, entry: LogEntry) -> None:
        self.missed += len(self._waiting) == self._waiting.maxlen
        self._waiting.append(entry)
        self._arrived.set()


class Subscribers:
    """Who waits for a log's transient entries in this process."""

    def __init__(self) -> None:
        self._all: WeakSet[TransientEntries] = WeakSet()

    def add(self, one: TransientEntries) -> None:
        self._all.add(one)

    def remove(self, one: TransientEntries) -> None:
        self._all.discard(one)

    def publish(self, entries: list[LogEntry]) -> None:
        """Hand the entries to all."""
        for one in list(self._all):
            for entry in entries:
                one._take_in(entry)
