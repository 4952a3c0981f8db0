"""`ManualClock`: a clock that a test moves by hand."""

from __future__ import annotations

import asyncio
import heapq
import itertools
from datetime import UTC, datetime, timedelta


class ManualClock:
    """Stands still until `advance` moves it; whoever sleeps on it wakes up when its time has come.

    Args:
        start: the time of day that it begins with (aware); 2030-01-01 UTC by default.
    """

    def __init__(self, start: datetime = datetime(2030, 1, 1, tzinfo=UTC)) -> None:
        if start.utcoffset() is None:
            raise ValueError(f"start must be an aware datetime (give it a tzinfo), not {start!r}")
        self._now = start.astimezone(UTC)
        self._elapsed = timedelta(0)
        self._sleepers: list[tuple[timedelta, int, asyncio.Future[None]]] = []
        self._order = itertools.count()

    def now(self) -> datetime:
        """The time of day, aware and in UTC."""
        return self._now

    def monotonic(self) -> float:
        """Seconds that it has been advanced by."""
        return self._elapsed.total_seconds()

    async def sleep(self, duration: timedelta) -> None:
        """Return once the clock has been advanced by `duration`; at once where that is not positive."""
        if duration <= timedelta(0):
            await asyncio.sleep(0)
            return
        woken: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        heapq.heappush(self._sleepers, (self._elapsed + duration, next(self._order), woken))
        await woken

    def advance(self, duration: timedelta) -> None:
        """Move the clock on, and wake those whose time has come, in the order of their times.

        They run when the caller awaits next. Call it in the thread of the event loop.

        Raises:
            ValueError: the duration is negative.
            OverflowError: it would be later than the year 9999.
        """
        if duration < timedelta(0):
            raise ValueError(f"a clock does not go back: {duration!r}")
        self._now += duration  # an OverflowError beyond the year 9999, before anything has moved
        self._elapsed += duration
        while self._sleepers and self._sleepers[0][0] <= self._elapsed:
            _, _, woken = heapq.heappop(self._sleepers)
            if not woken.done():
                woken.set_result(None)

    @property
    def next_wake(self) -> datetime | None:
        """When the next sleeper wakes up; None when nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].done():
            heapq.heappop(self._sleepers)
        if not self._sleepers:
            return None
        return self._now + (self._sleepers[0][0] - self._elapsed)
