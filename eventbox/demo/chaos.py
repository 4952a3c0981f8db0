"""Chaos: processes are killed again and again at their work."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random, SystemRandom

from eventbox.demo.crew import Crew
from eventbox.demo.kept_process import KeptProcess

_PAUSE_S = (0.05, 0.8)
"""Between two deaths of workers."""

_WORK_S = (0.0, 0.3)
"""How long a process may go on with the history that has just got on with it."""


async def wreak(crew: Crew, rng: Random | None = None) -> None:
    """Kill one after the other, a worker and an ingesting process side by side, until cancelled.

    The next one dies when the last one is back, so that something of the work gets done; of the ingesting processes
    always the one that works.
    """
    rng = rng or SystemRandom()
    async with asyncio.TaskGroup() as group:
        group.create_task(_kill_workers(crew.workers, rng))
        group.create_task(_kill_ingestors(crew, rng))


async def _kill_workers(workers: Sequence[KeptProcess], rng: Random) -> None:
    while True:
        await asyncio.sleep(rng.uniform(*_PAUSE_S))
        await _kill(rng.choice(workers))


async def _kill_ingestors(crew: Crew, rng: Random) -> None:
    while True:
        working = await crew.next_at_work()
        await asyncio.sleep(rng.uniform(*_WORK_S))
        await _kill(working)


async def _kill(process: KeptProcess) -> None:
    process.kill()
    await process.up.wait()
