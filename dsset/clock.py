"""Where the library takes the time from.

Everything here that waits, backs off or compares times goes by a `Clock`, so that a test can move the time by
hand. Real code leaves the default, `SystemClock`.
"""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol, runtime_checkable


@runtime_checkable
class Clock(Protocol):
    """A source of time; `SystemClock` and `eventbox.testing.ManualClock` are two."""

    def now(self) -> datetime:
        """The time of day, aware and in UTC."""
        ...

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        ...

    async def sleep(self, duration: timedelta) -> None:
        """Return once `duration` has passed on this clock."""
        ...


class SystemClock:
    """This machine's clock."""

    def now(self) -> datetime:
        """The time of day, aware and in UTC."""
        return datetime.now(UTC)

    def monotonic(self) -> float:
        """Seconds since some fixed moment; never goes back."""
        return time.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        """Return once `duration` has passed."""
        await asyncio.sleep(duration.total_seconds())
