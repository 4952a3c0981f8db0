"""Locks on a manual clock, as the tests have them."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from google.cloud.firestore import AsyncClient

from eventbox.sources import DistributedLock
from eventbox.testing import ManualClock

HEARTBEAT = timedelta(seconds=5)
LEASE = 3 * HEARTBEAT


def make(client: AsyncClient, clock: ManualClock, key: str = "a", **kwargs: object) -> DistributedLock:
    return DistributedLock(client, key, heartbeat=HEARTBEAT, clock=clock, **kwargs)  # type: ignore[arg-type]


async def settle() -> None:
    """Let everyone go on who can."""
    for _ in range(100):
        await asyncio.sleep(0)


async def crash(lock: DistributedLock) -> None:
    """As if its process had died: no heartbeat any more, and no release."""
    assert lock._session is not None
    for task in lock._session.tasks:
        task.cancel()
    await settle()
