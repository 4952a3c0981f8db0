"""`Broadcaster`: hands what is stored to those who want it, until it is known to have arrived."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random, SystemRandom
from typing import TypeAlias

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1.base_query import FieldFilter

from dsset.clock import Clock, SystemClock
from dsset.retry import Backoff, is_transient
from eventbox.sources.event_store import EventStore
from eventbox.sources.stored_event import STORE, StoredEvent
from eventbox.sources.watch import Watch

logger = logging.getLogger(__name__)

BroadcastFn: TypeAlias = Callable[[StoredEvent], Awaitable[None]]
"""Hands an event on. It may get the same one again, and must be harmless to repeat: the event's ID tells."""

ATTEMPTS = 5
"""How often an event is tried, with backoff, before the others go on without it and it waits for the next round."""

_FIRST_ROUND, _LAST_ROUND = timedelta(seconds=1), timedelta(seconds=30)
"""How long it waits for another round where some events could not be broadcast, at first and at last."""


class Broadcaster:
    """Hands every event of a store that was not received to `broadcast`, and marks it.

        broadcaster = Broadcaster(store, publish, rebroadcast_after=timedelta(minutes=10))
        task = asyncio.create_task(broadcaster.run())
        ...
        await broadcaster.received(event_id)      # from wherever the confirmation comes

    Args:
        store: where the events are.
        broadcast: is given an event; when it returns, the event is marked as broadcasted. If it raises, it is tried
            again with backoff, and in the next round after 5 tries.
        rebroadcast_after: broadcast again what has not been received after this time. That reads each event that waits
            to be received once in that time. Never, by default.
        concurrency: how many are broadcast at once.
        clock: what the waits go by.

    Run one at a time, with a `Leader`, unless repeated broadcasts do no harm.

    Cost: 1 read and 1 write for each event, 1 RPC for each 500 of either, besides what the listener reads that tells of
    new ones, 1 an event at most; while there is nothing to do, 1 RPC and 1 read each 30 s (2 with `rebroadcast_after`,
    and as often as that says where it is shorter).
    """

    def __init__(
        self,
        store: EventStore,
        broadcast: BroadcastFn,
        *,
        rebroadcast_after: timedelta | None = None,
        concurrency: int = 16,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        if not isinstance(store, EventStore):
            raise TypeError(f"store must be an EventStore, not {type(store).__name__}")
        if not callable(broadcast):
            raise TypeError(f"broadcast must be an asynchronous function, not {type(broadcast).__name__}")
        if rebroadcast_after is not None and (
            not isinstance(rebroadcast_after, timedelta) or rebroadcast_after <= timedelta(0)
        ):
            raise ValueError(f"rebroadcast_after must be a positive timedelta, not {rebroadcast_after!r}")
        if not isinstance(concurrency, int) or isinstance(concurrency, bool) or concurrency <= 0:
            raise ValueError(f"concurrency must be a positive int, not {concurrency!r}")
        self._store = store
        self._broadcast = broadcast
        self._rebroadcast_after = rebroadcast_after
        self._slots = asyncio.Semaphore(concurrency)
        self._clock = clock or SystemClock()
        self._rng = rng or SystemRandom()

    async def received(self, id: str) -> None:
        """Note that an event has arrived: it is not broadcast again."""
        await self._store.mark_received(id)

    async def broadcast_all(self) -> tuple[int, int]:
        """Broadcast what waits for it now, each event at most `ATTEMPTS` times; how many succeeded, and failed."""
        done = failed = 0
        async for events in self._store.unreceived():
            async with asyncio.TaskGroup() as group:
                tasks = [group.create_task(self._try(event)) for event in events]
            succeeded = [event.id for event, task in zip(events, tasks, strict=True) if task.result()]
            await self._store.mark_broadcasted(succeeded)
            done += len(succeeded)
            failed += len(events) - len(succeeded)
        return done, failed

    async def rebroadcast(self, unchanged_for: timedelta) -> int:
        """Make new again what was broadcasted this long ago, and has not been received; how many."""
        count = 0
        async for events in self._store.unreceived(broadcasted=True, unchanged_for=unchanged_for):
            await self._store.mark_rebroadcast([event.id for event in events])
            count += len(events)
        return count

    async def run(self) -> None:
        """Broadcast whatever is to be broadcast, until cancelled. Outages are waited out.

        Raises:
            GoogleAPICallError: Firestore refuses, for want of a permission, say.
        """
        waiting = (
            self._store.ref.collection(STORE)
            .where(filter=FieldFilter("received", "==", False))
            .where(filter=FieldFilter("broadcasted", "==", False))
        )
        async with Watch(waiting.limit(1), self._clock, self._rng) as watch:
            pause = _FIRST_ROUND
            while True:
                failed = 0
                try:
                    if self._rebroadcast_after is not None:
                        await self.rebroadcast(self._rebroadcast_after)
                    _, failed = await self.broadcast_all()
                except GoogleAPICallError as error:
                    if not is_transient(error):
                        raise
                    logger.warning("broadcasting goes on after a while: %s", error)
                    failed = 1
                # while some wait, the watch may not tell of others
                pause = min(2 * pause, _LAST_ROUND) if failed else _FIRST_ROUND
                rest = pause if failed else _LAST_ROUND
                await watch.wait(min(self._rebroadcast_after or rest, rest))

    async def _try(self, event: StoredEvent) -> bool:
        async with self._slots:
            backoff = Backoff(self._clock, self._rng, timedelta.max)
            for attempt in range(1, ATTEMPTS + 1):
                try:
                    await self._broadcast(event)
                    return True
                except Exception as error:
                    logger.warning(
                        "event %s of type %r could not be broadcast (attempt %d of %d): %r",
                        event.id, event.event_type, attempt, ATTEMPTS, error, exc_info=error,
                    )  # fmt: skip
                    if attempt < ATTEMPTS:
                        await backoff.wait()
            return False
