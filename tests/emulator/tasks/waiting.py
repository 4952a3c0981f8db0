"""Letting everybody go on, in tests that stand on a `ManualClock`."""

from __future__ import annotations

import asyncio
from datetime import datetime

from emulator.manual_clock import ManualClock

_TURNS = 50
"""Turns of the event loop after which, in process, whoever can go on has gone on."""


async def until(clock: ManualClock) -> datetime | None:
    """Return once everybody waits; when the next of those wakes up who sleep on the clock."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)
    return clock.next_wake
