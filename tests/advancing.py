"""Letting time pass in tests that stand on a `ManualClock`."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from typing import TypeVar

from emulator.firestore import Emulator
from eventbox.testing import ManualClock

T = TypeVar("T")

_TURNS = 50
"""Turns of the event loop after which, in process, whoever can go on has gone on."""


async def while_advancing(clock: ManualClock, awaitable: Awaitable[T]) -> T:
    """Await it, moving the clock on to the next sleeper whenever nothing else can go on."""
    task = asyncio.ensure_future(awaitable)
    while not task.done():
        await settled()
        wake = clock.next_wake
        if wake is not None and not task.done():
            clock.advance(wake - clock.now())
    return await task


async def settled() -> None:
    """Return once whoever can go on without any time passing has gone on, in process."""
    for _ in range(_TURNS):
        await asyncio.sleep(0)


async def sent(emulator: Emulator, rpc: str, times: int = 1) -> None:
    """Return once so many RPCs of this name have been sent to the emulator, which is in process."""
    for _ in range(10_000):
        if emulator.counts.rpcs[rpc] >= times:
            return
        await asyncio.sleep(0)
    raise AssertionError(f"no {rpc} was sent")
