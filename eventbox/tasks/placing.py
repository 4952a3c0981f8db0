"""What follows a commit: creating the tasks that its reminders are about, and removing the reminders."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from dsset.documents import moment
from dsset.protos import Precondition, Write
from dsset.retry import Backoff, retry_transient
from dsset.wire import Wire
from eventbox.box import EventBox
from eventbox.tasks.creating import Creator
from eventbox.tasks.errors import EnqueueError
from eventbox.tasks.reminders import Reminder, Shelf, placeable_at
from eventbox.tasks.removal import Removal
from eventbox.tasks.task_protos import Target, timestamp
from eventbox.tasks.wakeups import WakeUp

logger = logging.getLogger("eventbox.tasks")

AFTER_COMMIT = timedelta(seconds=10)
"""How long the creation of a commit's tasks is tried; the sweeper does what is left."""

_PARALLEL = 32


class Placing:
    """Puts on the queue what has been committed, while the process that did so lives."""

    def __init__(
        self, box: EventBox, shelf: Shelf, target: Target, creator: Creator, *, dispatch_deadline: timedelta
    ) -> None:
        self._client = box.client
        self._clock = box._clock
        self._rng = box._rng
        self._shelf = shelf
        self._target = target
        self._creator = creator
        self._dispatch_deadline = dispatch_deadline
        self._removal = Removal(box.client)

    async def wake(self, wake_up: WakeUp, timeout: timedelta) -> None:
        """Make sure of a wake-up.

        Raises:
            EnqueueError: Cloud Tasks did not take it, or nobody knows.
        """
        task = self._target.wake_up(wake_up, self._dispatch_deadline)
        await self._creator.create_once(wake_up.name, task, kind="wake_up", timeout=timeout)

    async def flush(self) -> None:
        """Return once the reminders of all that was created so far are deleted, or left to the sweeper."""
        await self._removal.flush()

    async def place(
        self, reminders: Sequence[Reminder], commit_time: datetime | None, *, now: datetime
    ) -> None:
        """Create what the reminders of one commit are about, as far as Cloud Tasks takes it by now.

        What fails is logged and left to the sweeper. A commit time that is not known is asked for: 1 read a wake-up.
        """
        backoff = Backoff(self._clock, self._rng, AFTER_COMMIT)
        due = [one for one in reminders if placeable_at(one.scheduled_for) <= now]
        times = {one.id: commit_time for one in due}
        if commit_time is None:
            times = await self._commit_times([one for one in due if one.is_wake_up]) | {
                one.id: None for one in due if not one.is_wake_up
            }
        slots = asyncio.Semaphore(_PARALLEL)

        async def place(reminder: Reminder) -> None:
            async with slots:
                await self._place_one(reminder, times[reminder.id], timedelta(seconds=backoff.remaining))

        left = [one for one in due if one.id in times]
        if len(left) == 1:
            await place(left[0])
        else:
            await asyncio.gather(*map(place, left))
        await asyncio.sleep(0)  # the deletions are sent before our caller answers and its CPU is taken away

    async def create(self, reminder: Reminder, commit_time: datetime | None, timeout: timedelta) -> None:
        """Make sure of the task that a reminder is about; a wake-up needs the time of its commit.

        Raises:
            EnqueueError: Cloud Tasks did not take it, or nobody knows.
        """
        if reminder.is_wake_up:
            assert commit_time is not None, "a wake-up has its second from its commit"
            await self.wake(reminder.wake_up(commit_time), timeout)
        else:
            await self._creator.create(reminder.name, reminder.task, kind="task", timeout=timeout)

    async def _place_one(
        self, reminder: Reminder, commit_time: datetime | None, remaining: timedelta
    ) -> None:
        if not remaining:
            logger.warning(
                "a task of a commit is left to the sweeper: the others took all of %s; its reminder is %s",
                *(AFTER_COMMIT, self._shelf.name(reminder.id)),
            )
            return
        try:
            await self.create(reminder, commit_time, remaining)
        except EnqueueError as error:
            level = logging.WARNING if error.transient else logging.ERROR
            logger.log(level, "a task of a commit is left to the sweeper: %s", error)
            return
        except Exception:  # say, of the credentials: the commit stands all the same
            logger.exception("a task of a commit is left to the sweeper")
            return
        self._removal.add(self._deletion(reminder, commit_time))

    def _deletion(self, reminder: Reminder, commit_time: datetime | None) -> Any:
        delete = Write(delete=self._shelf.name(reminder.id))
        if commit_time is not None and reminder.id != reminder.name and not reminder.is_wake_up:
            # another transaction may have left one for a task of the same name since
            delete.current_document.CopyFrom(Precondition(update_time=timestamp(commit_time)))
        return delete

    async def _commit_times(self, reminders: Sequence[Reminder]) -> dict[str, datetime | None]:
        """When these reminders were committed, by their documents; those that are gone have been swept."""
        names = {self._shelf.name(one.id): one.id for one in reminders}
        if not names:
            return {}
        wire = Wire.of(self._client)
        try:
            responses = await retry_transient(
                lambda seconds: wire.batch_get(list(names), mask=("fresh_until",), timeout=seconds),
                Backoff(self._clock, self._rng, AFTER_COMMIT),
            )
        except Exception as error:  # whatever it is: the commit stands
            logger.warning("%d wake-ups of a commit are left to the sweeper: %s", len(names), error)
            return {}
        return {
            names[name]: moment(response.found.create_time)
            for name, response in responses.items()
            if response.WhichOneof("result") == "found"
        }
