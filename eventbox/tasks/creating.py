"""Creating tasks: again after transient errors, and once for each name."""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from datetime import timedelta
from random import Random
from typing import Any

from google.api_core.exceptions import AlreadyExists, GoogleAPICallError
from google.cloud.tasks_v2 import CloudTasksAsyncClient

from dsset.clock import Clock
from dsset.retry import Backoff, is_transient, retry_transient
from eventbox.tasks.errors import EnqueueError
from eventbox.tasks.task_protos import create_request
from eventbox.tasks.telemetry import TasksTelemetry


class Creator:
    """Creates the tasks of one queue.

    A task that is there already under its name is as good as created: so a request may be repeated after any failure.
    """

    def __init__(
        self,
        client: CloudTasksAsyncClient,
        queue: str,
        *,
        clock: Clock,
        rng: Random,
        telemetry: TasksTelemetry,
        remember: int,
    ) -> None:
        self._client = client
        self._queue = queue
        self._clock = clock
        self._rng = rng
        self._telemetry = telemetry
        self._remember = remember
        self._made_sure_of: OrderedDict[str, None] = OrderedDict()
        self._under_way: dict[str, asyncio.Future[None]] = {}

    async def create(self, name: str, task: Any, *, kind: str, timeout: timedelta) -> None:
        """Make sure that there is, or was, a task of this name.

        Raises:
            EnqueueError: Cloud Tasks refused it, or could not be reached until the time-out.
        """
        backoff = Backoff(self._clock, self._rng, timeout)
        request = create_request(self._queue, name, task)
        with self._telemetry.creating(kind):
            try:
                await retry_transient(
                    lambda seconds: self._client.create_task(request, retry=None, timeout=seconds), backoff
                )
            except AlreadyExists:
                self._telemetry.created(kind, "existed")
            except GoogleAPICallError as error:
                transient = is_transient(error)
                self._telemetry.failed(kind, transient=transient)
                raise EnqueueError(self._queue, name, str(error), transient=transient) from error
            else:
                self._telemetry.created(kind, "created")

    async def create_once(self, name: str, task: Any, *, kind: str, timeout: timedelta) -> None:
        """The same, but where this process has already made sure of the name, or is about to, nothing is sent.

        Only for names that say all there is to say of a task, as those of wake-ups do.
        """
        backoff = Backoff(self._clock, self._rng, timeout)
        while name not in self._made_sure_of:
            under_way = self._under_way.get(name)
            if under_way is None:
                remaining = timedelta(seconds=backoff.remaining)
                await self._create_first(name, task, kind, remaining)
                return
            # another's failure is not ours: then it is our turn to try, in the time that we have left
            if not await self._done_in(under_way, backoff.remaining):
                self._telemetry.failed(kind, transient=True)
                reason = "another call that creates it has not succeeded in this one's time"
                raise EnqueueError(self._queue, name, reason, transient=True)
        self._made_sure_of.move_to_end(name)

    async def _done_in(self, under_way: asyncio.Future[None], seconds: float) -> bool:
        """Wait for another's creation to end, well or not; False where no time was left for that."""
        if seconds <= 0:
            return False
        timer = asyncio.ensure_future(self._clock.sleep(timedelta(seconds=seconds)))
        try:
            await asyncio.wait([under_way, timer], return_when=asyncio.FIRST_COMPLETED)
        finally:
            timer.cancel()
        return under_way.done()

    async def _create_first(self, name: str, task: Any, kind: str, timeout: timedelta) -> None:
        done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._under_way[name] = done
        try:
            await self.create(name, task, kind=kind, timeout=timeout)
            self._made_sure_of[name] = None
            if len(self._made_sure_of) > self._remember:
                self._made_sure_of.popitem(last=False)
        finally:
            del self._under_way[name]
            done.set_result(None)
