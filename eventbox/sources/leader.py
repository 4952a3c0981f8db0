"""`Leader`: work that one process at a time does, for as long as it holds a lock."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

from eventbox.sources.ending import end
from eventbox.sources.errors import LockLostError

T = TypeVar("T")


class Lock(Protocol):
    """What a lock offers; `DistributedLock` is one."""

    lost: asyncio.Event

    @property
    def token(self) -> int:
        """What rises with each new holder."""
        ...

    async def lock(self) -> None:
        """Wait until it is held."""
        ...

    async def unlock(self) -> None:
        """Let it go; nothing where it is not held."""
        ...


class Leader:
    """Runs work while it holds a lock: on one process at a time, and on another one when that is gone.

        leader = Leader(DistributedLock(client, "cleaner", heartbeat=timedelta(seconds=5)))
        result = await leader.run(clean_up)    # async def clean_up(token: int)

    Args:
        lock: a lock that nothing else uses.
    """

    def __init__(self, lock: Lock) -> None:
        self._lock = lock

    async def run(self, work: Callable[[int], Awaitable[T]]) -> T:
        """Take the lock, do the work and let go of the lock; what `work(token)` returned.

        When the lease is lost the work is cancelled, and done anew once the lock is taken again. What the work raises
        is raised, after the lock was let go; so is a cancellation, and no task is left behind.
        """
        while True:
            await self._lock.lock()
            try:
                return await while_held(self._lock, work(self._lock.token))
            except _Lost:
                continue
            finally:
                await self._lock.unlock()


async def while_held(lock: Lock, work: Awaitable[T]) -> T:
    """What the work returns; it is cancelled when the lock is lost.

    Raises:
        LockLostError: the lock was lost, and the work has ended.
        Whatever the work raised, if it ended before.
    """
    working = asyncio.ensure_future(work)
    lost = asyncio.ensure_future(lock.lost.wait())
    try:
        await asyncio.wait({working, lost}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        finished = working.done()
        await end(working, lost)
    if not finished:
        raise _Lost("the lock was lost, and the work that it guards was cancelled")
    return working.result()


class _Lost(LockLostError):
    """Ours, and not one that the work itself raises."""
