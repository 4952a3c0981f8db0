"""`RecipientTurns`: one run of a recipient at a time in this process, and so many recipients at once."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import datetime


class NoTurnError(Exception):
    """The turn did not come in the time that there was to wait for it."""


@dataclass(slots=True)
class _Line:
    """Those that stand in line for one recipient, and the last run that settled what there was."""

    lock: asyncio.Lock = field(default_factory=asyncio.Lock)
    users: int = 0
    settled: tuple[int, datetime] | None = None
    """When that run began, in the order of arrivals, and up to when it looked."""


class Turn:
    """One wake-up's turn with its recipient."""

    def __init__(self, line: _Line, arrived: int, began: int) -> None:
        self._line = line
        self._arrived = arrived
        self._began = began

    def is_settled(self, until: datetime) -> bool:
        """Whether a run has done this wake-up's work: one that began after it came, and looked as far ahead."""
        settled = self._line.settled
        return settled is not None and settled[0] > self._arrived and settled[1] >= until

    def settle(self, until: datetime) -> None:
        """Tell that this run has done, or seen to, all that was due up to then when it began."""
        self._line.settled = (self._began, until)


class RecipientTurns:
    """Keeps the runs of one recipient in a process apart, so that they do not contend with each other.

    Wake-ups that come during a run wait for it. The first of them then runs, and has done the work of those that came
    with it. Whoever waits longest is served first; recipients that nobody waits for cost no memory.

    Args:
        at_once: how many recipients may have their turn at once.
    """

    def __init__(self, at_once: int) -> None:
        self._slots = asyncio.Semaphore(at_once)
        self._lines: dict[str, _Line] = {}
        self._moments = itertools.count()

    @asynccontextmanager
    async def turn(self, name: str, *, patience_s: float) -> AsyncIterator[Turn]:
        """Wait for the recipient's turn, and have it inside the block.

        Args:
            name: the recipient's.
            patience_s: how long to wait at most; in real time, for that is what the caller waits in.

        Raises:
            NoTurnError: it did not come in time.
        """
        line = self._lines.setdefault(name, _Line())
        line.users += 1
        arrived = next(self._moments)
        loop = asyncio.get_running_loop()
        by = loop.time() + patience_s
        try:
            # the line first: who waits for a recipient keeps no other recipient from its run
            await _acquire(line.lock, by)
            try:
                async with self._slot(by):
                    yield Turn(line, arrived, next(self._moments))
            finally:
                line.lock.release()
        finally:
            line.users -= 1
            if not line.users:
                del self._lines[name]

    @asynccontextmanager
    async def any_turn(self, *, patience_s: float) -> AsyncIterator[None]:
        """Wait for a turn that is no recipient's, and have it inside the block. Raises NoTurnError as `turn` does."""
        async with self._slot(asyncio.get_running_loop().time() + patience_s):
            yield

    @asynccontextmanager
    async def _slot(self, by: float) -> AsyncIterator[None]:
        await _acquire(self._slots, by)
        try:
            yield
        finally:
            self._slots.release()

    def __len__(self) -> int:
        """How many recipients have a run or wait for one."""
        return len(self._lines)


async def _acquire(what: asyncio.Lock | asyncio.Semaphore, by: float) -> None:
    try:
        async with asyncio.timeout_at(by):
            await what.acquire()
    except TimeoutError as error:
        raise NoTurnError from error
