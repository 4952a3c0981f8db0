"""`Killer`: who dies next, and who stands still for a while; decided by a seed."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from random import Random

from tests.chaos.crew import Kept
from tests.chaos.journal import Journal

_PAUSE = (0.1, 0.9)
_STANDSTILL = (0.3, 5.0)
_STOPS = 0.25
"""What share of the blows lets a process stand still; the others kill."""


class Killer:
    """Strikes at random.

    Args:
        victims: with how likely each is to be struck.
        rng: decides.
        journal: is told.
    """

    def __init__(self, victims: Mapping[Kept, float], rng: Random, journal: Journal) -> None:
        self._victims = victims
        self._journal = journal
        self._rng = rng

    async def wreak(self) -> None:
        """Go on until cancelled; then all that stand still go on."""
        rng = self._rng
        try:
            async with asyncio.TaskGroup() as group:
                while True:
                    await asyncio.sleep(rng.uniform(*_PAUSE))
                    if not self._victims:
                        continue
                    (victim,) = rng.choices(list(self._victims), weights=list(self._victims.values()))
                    stops, duration = rng.random() < _STOPS, rng.uniform(*_STANDSTILL)
                    if not stops:
                        if victim.kill():
                            self._journal.write("killed", victim=victim.name)
                    elif victim.stop():
                        self._journal.write("stopped", victim=victim.name, seconds=duration)
                        group.create_task(self._go_on(victim, duration))
        finally:
            for victim in self._victims:
                victim.go_on()

    async def _go_on(self, victim: Kept, after: float) -> None:
        await asyncio.sleep(after)
        victim.go_on()
