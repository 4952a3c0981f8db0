"""What something costs, as the emulator counts it: RPCs, sequential round trips, and billed operations."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from emulator.manual_clock import ManualClock

_ROUND_TRIP = timedelta(seconds=1)
_TURNS = 50
"""Turns of the event loop after which, in process, whoever can go on has gone on."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Counted at the wire. `writes` are writes and deletes, as the design's table has them."""

    round_trips: int
    rpcs: int
    reads: int
    writes: int

    def __sub__(self, other: Cost) -> Cost:
        return Cost(
            self.round_trips - other.round_trips,
            self.rpcs - other.rpcs,
            self.reads - other.reads,
            self.writes - other.writes,
        )


class Wire:
    """An emulator in process, every RPC of which takes a second of its clock: seconds passed are round trips."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self._emulator = Emulator(clock=self.clock)
        self.client: AsyncClient = self._emulator.client()

    async def cost(self, work: Awaitable[Any]) -> Cost:
        """What this costs."""
        fault = self._emulator.faults.add(Fault(latency=_ROUND_TRIP, times=None))
        counts, began = self._emulator.counts, self.clock.monotonic()
        counts.reset()
        await self._pass_time_for(work)
        fault.remove()
        round_trips = round((self.clock.monotonic() - began) / _ROUND_TRIP.total_seconds())
        return Cost(round_trips, sum(counts.rpcs.values()), counts.reads, counts.writes + counts.deletes)

    async def _pass_time_for(self, work: Awaitable[Any]) -> None:
        task = asyncio.ensure_future(work)
        while not task.done():
            for _ in range(_TURNS):
                await asyncio.sleep(0)
            wake = self.clock.next_wake
            if wake is not None and not task.done():
                self.clock.advance(wake - self.clock.now())
        await task
