"""`Watch`: waiting until a query has a result, or for a time, whichever comes first."""

from __future__ import annotations

import asyncio
import logging
from contextlib import aclosing
from datetime import timedelta
from random import Random

from google.api_core.exceptions import GoogleAPICallError

from dsset.clock import Clock
from eventbox.listening import Target, listen
from eventbox.sources.ending import end

logger = logging.getLogger(__name__)


class Watch:
    """Listens from its first `wait` on, until it is left; a change in between ends the next `wait` at once.

    Where the listener is refused (no permission, no index) a warning is logged, and time alone ends the waiting.

    Cost: 1 read to begin with, then 1 for each document that comes into the result, and none while nothing happens.
    """

    def __init__(self, target: Target, clock: Clock, rng: Random) -> None:
        self._target = target
        self._clock = clock
        self._rng = rng
        self._changed = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    async def wait(self, timeout: timedelta) -> None:
        """Return at once if the result was, or became, other than empty since the last time; else when that happens,
        or when time is up.
        """
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen())
        changed = asyncio.create_task(self._changed.wait())
        elapsed = asyncio.ensure_future(self._clock.sleep(timeout))
        try:
            await asyncio.wait({changed, elapsed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            await end(changed, elapsed)
        self._changed.clear()

    async def __aenter__(self) -> Watch:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        if self._listening is not None:
            await end(self._listening)

    async def _listen(self) -> None:
        try:
            async with aclosing(listen(self._target, clock=self._clock, rng=self._rng)) as snapshots:
                async for snapshot in snapshots:
                    if snapshot.documents:
                        self._changed.set()
        except GoogleAPICallError as error:
            logger.warning("cannot listen, and look again only after a while: %s", error)
