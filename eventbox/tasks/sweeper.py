"""`Sweeper`: finishes what a process has committed and not lived to put on the queue."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from google.api_core.exceptions import GoogleAPICallError

from dsset.documents import moment
from dsset.items import check_moment
from dsset.retry import Backoff, retry_transient
from dsset.wire import Wire
from eventbox.tasks.errors import EnqueueError
from eventbox.tasks.reminders import FoundReminder, decode, placeable_at, query_stale
from eventbox.tasks.task_queue import TaskQueue

logger = logging.getLogger("eventbox.tasks")

INTERVAL = timedelta(minutes=1)
"""How often to sweep, by default: as often as reminders become stale."""

_PAGE = 300  # reminders; a page and the writes about it are one RPC each
_PAGE_BYTES = 8 * 1024 * 1024
_SHARDS_AT_ONCE = 8
_TASKS_AT_ONCE = 32
_CREATE_TIMEOUT = timedelta(seconds=10)
_RPC_TIMEOUT = timedelta(seconds=30)

_LAG = timedelta(seconds=1)
"""By how much a clock may lag before a query by it is not good enough."""

_FIRST_DELAY = timedelta(minutes=1)
_MAX_DELAY = timedelta(hours=1)
_MAX_DELAY_TRANSIENT = timedelta(minutes=5)


@dataclass(frozen=True, slots=True)
class SweepReport:
    """What a sweep did.

    `stale` counts the reminders that it found stale, `created` those whose tasks are surely on the queue now (or were
    there before), `failed` those whose tasks Cloud Tasks did not take; they are tried again later. `complete` is False
    where the deadline, or Cloud Tasks or Firestore not answering, left some for the next sweep.
    """

    stale: int
    created: int
    failed: int
    complete: bool = True


class Sweeper:
    """Creates the tasks of reminders that were left behind, and deletes the reminders.

        report = await Sweeper(queue).sweep()       # from Cloud Scheduler, say, each minute; the worker has an endpoint
        await Sweeper(queue).run()                  # or in a process of its own, until it is cancelled

    Only reminders that are stale by the server's own time are touched: whoever has committed one has a minute to finish
    the work. Any number of sweeps may run at once: a task is created under the name that its reminder says, and found
    there already by whoever comes second. A sweep that is ended early has done what it has done; the next one goes on.

    A reminder whose task Cloud Tasks will not take (an unknown queue, say, or a missing right) does not block those
    behind it: it is put off, by a minute at first and an hour at last, and logged as an error each time.

    Args:
        queue: the queue whose reminders these are.
    """

    def __init__(self, queue: TaskQueue) -> None:
        if not isinstance(queue, TaskQueue):
            raise TypeError(f"queue must be a TaskQueue, not {type(queue).__name__}")
        self._queue = queue

    async def sweep(self, *, deadline: datetime | None = None) -> SweepReport:
        """Finish all that is stale; what was done.

        Args:
            deadline: nothing is begun after this moment (aware), of the box's clock.

        Raises:
            GoogleAPICallError: no shard could be read. Of some it is logged, and the report is not complete.

        Cost: where nothing is stale, 1 query and 1 read for each shard. For each stale reminder 1 read, 1 delete and
        the creation of its task; for each that fails, 1 write.
        """
        check_moment(deadline, "deadline")
        with self._queue._telemetry.sweeping():
            report = await _Sweep(self._queue, deadline).run()
        if report.stale:
            logger.info(
                "swept %d stale reminders of %s: %d created, %d failed",
                *(report.stale, self._queue.queue, report.created, report.failed),
            )
        return report

    async def run(self, interval: timedelta = INTERVAL) -> None:
        """Sweep, and again `interval` after each sweep, until cancelled. What fails is logged, and tried again.

        On Cloud Run this needs CPU that is always allocated.
        """
        if not isinstance(interval, timedelta):
            raise TypeError(f"interval must be a timedelta, not {type(interval).__name__}")
        if interval <= timedelta(0):
            raise ValueError(f"interval must be positive, not {interval}")
        while True:
            try:
                await self.sweep()
            except Exception:
                logger.exception("a sweep of %s failed; the next one is in %s", self._queue.queue, interval)
            await self._queue._clock.sleep(interval)


@dataclass(frozen=True, slots=True)
class _Page:
    found: Sequence[FoundReminder]
    read_time: datetime
    complete: bool


@dataclass(frozen=True, slots=True)
class _Created:
    """The task is on the queue, or was."""


class _Sweep:
    """One sweep, with its counts."""

    def __init__(self, queue: TaskQueue, deadline: datetime | None) -> None:
        self._clock = queue._clock
        self._rng = queue._rng
        self._shelf = queue._shelf
        self._server_time = queue._box._server_time
        self._wire = Wire.of(queue._box.client)
        self._placing = queue._placing
        self._telemetry = queue._telemetry
        self._deadline = deadline
        self._shards = asyncio.Semaphore(_SHARDS_AT_ONCE)
        self._tasks = asyncio.Semaphore(_TASKS_AT_ONCE)
        self._stale = self._created = self._failed = 0

    async def run(self) -> SweepReport:
        shards = list(range(self._shelf.shards))
        self._rng.shuffle(shards)  # so that sweeps that end early, or run at once, do not all do the same
        outcomes: list[bool | BaseException] = []
        if self._server_time.lower_bound() is None:  # the first one tells the others the server's time
            outcomes += await asyncio.gather(self._shard(shards.pop()), return_exceptions=True)
        outcomes += await asyncio.gather(*map(self._shard, shards), return_exceptions=True)
        errors = [outcome for outcome in outcomes if isinstance(outcome, BaseException)]
        for error in errors:
            if len(errors) == len(outcomes) or not isinstance(error, GoogleAPICallError):
                raise error
            logger.warning("a shard could not be swept, and is left to the next sweep: %s", error)
        return SweepReport(self._stale, self._created, self._failed, all(x is True for x in outcomes))

    @property
    def _over(self) -> bool:
        return self._deadline is not None and self._clock.now() >= self._deadline

    async def _shard(self, shard: int) -> bool:
        """Finish what is stale in a shard; whether all of it was tried."""
        async with self._shards:
            parent = self._shelf.parent(shard)
            after: FoundReminder | None = None
            while not self._over:
                heard = self._server_time.lower_bound()
                page = await self._page(parent, heard or self._clock.now(), after)
                stale = [one for one in page.found if one.fresh_until <= page.read_time]
                if stale and not await self._finish(stale, page.read_time):
                    return False
                # a clock that lags, where nothing was heard before, may have left out what is stale
                asked_for_all = heard is not None or self._clock.now() + _LAG >= page.read_time
                if len(stale) < len(page.found) or (page.complete and asked_for_all):
                    return True
                if page.found:
                    after = page.found[-1]  # not from the start: queries are slow over what was just deleted
        return False

    async def _page(self, parent: str, by: datetime, after: FoundReminder | None) -> _Page:
        backoff = Backoff(self._clock, self._rng, _RPC_TIMEOUT)
        return await retry_transient(lambda timeout: self._read_page(parent, by, after, timeout), backoff)

    async def _read_page(
        self, parent: str, by: datetime, after: FoundReminder | None, timeout: float
    ) -> _Page:
        found: list[FoundReminder] = []
        size = 0
        read_time: datetime | None = None
        responses = self._wire.run_query(parent, query_stale(by, _PAGE, after), timeout=timeout)
        try:
            async for response in responses:
                read_time = moment(response.read_time)
                if not response.HasField("document"):
                    continue
                found.append(decode(response.document))
                size += response.document.ByteSize()
                if size > _PAGE_BYTES:
                    return _Page(found, read_time, complete=False)
        finally:
            await responses.aclose()  # type: ignore[attr-defined]
        assert read_time is not None, "a query answers with its read time at least"
        return _Page(found, read_time, complete=len(found) < _PAGE)

    async def _finish(self, stale: Sequence[FoundReminder], read_time: datetime) -> bool:
        """Create the tasks of a page, and delete or put off its reminders; whether to go on behind it."""
        outcomes = await asyncio.gather(*(self._create(one, read_time) for one in stale))
        tried = [(one, outcome) for one, outcome in zip(stale, outcomes, strict=True) if outcome is not None]
        writes = []
        created = failed = 0
        for one, outcome in tried:
            self._telemetry.found_stale(one.fresh_until, read_time)
            if isinstance(outcome, _Created):
                created += 1
                writes.append(one.delete())
            elif isinstance(outcome, datetime):
                writes.append(one.put_off(outcome, one.failures))
            else:
                failed += 1
                delay = _delay(one.failures, transient=outcome.transient)
                writes.append(one.put_off(read_time + delay, one.failures + 1))
                level = logging.WARNING if outcome.transient else logging.ERROR
                logger.log(level, "the reminder %s is put off by %s: %s", one.document, delay, outcome)
        self._stale += len(stale)
        self._created += created
        self._failed += failed
        self._telemetry.swept(created=created, failed=failed)
        if writes:
            try:
                await retry_transient(
                    lambda timeout: self._wire.batch_write(writes, timeout=timeout),
                    Backoff(self._clock, self._rng, _RPC_TIMEOUT),
                )
            except (
                GoogleAPICallError
            ) as error:  # the next sweep finds them again, and their tasks there already
                logger.warning("%d reminders could not be deleted or put off: %s", len(writes), error)
                return False
        # where nothing at all could be created, the rest would fare no better: the next sweep tries
        return len(tried) == len(stale) and failed < len(tried)

    async def _create(
        self, found: FoundReminder, read_time: datetime
    ) -> _Created | datetime | EnqueueError | None:
        """A moment: Cloud Tasks takes it from then on. None: there was no time left to try."""
        placeable = placeable_at(found.reminder.scheduled_for)
        if placeable > read_time:
            return placeable
        async with self._tasks:
            if self._over:
                return None
            try:
                await self._placing.create(found.reminder, found.created_at, _CREATE_TIMEOUT)
            except EnqueueError as error:
                return error
            except Exception as error:  # say, of the credentials
                name = found.reminder.name or found.reminder.id
                failure = EnqueueError(self._shelf.queue, name, repr(error), transient=True)
                failure.__cause__ = error
                return failure
        return _Created()


def _delay(failures: int, *, transient: bool) -> timedelta:
    """How long to put off a reminder that has failed so often before."""
    longest = _MAX_DELAY_TRANSIENT if transient else _MAX_DELAY
    return min(_FIRST_DELAY * (1 << min(failures, 10)), longest)
