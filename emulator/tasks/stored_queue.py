"""A queue as the engine keeps it: its tasks, when they are due, and the names that are not free yet."""

from __future__ import annotations

import heapq
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from itertools import count
from typing import Any

from emulator.clock import Clock
from emulator.tasks import names, protos
from emulator.tasks.limits import RETENTION_US
from emulator.tasks.rate_limit import RateLimit
from emulator.tasks.retry_schedule import RetrySchedule
from emulator.tasks.stored_task import StoredTask


class StoredQueue:
    """A queue. Times are in microseconds since the epoch."""

    def __init__(self, message: Any, clock: Clock) -> None:
        self.message = message
        self.name: str = message.name
        self.id = names.short(self.name)
        self.tasks: dict[str, StoredTask] = {}
        self.rate = RateLimit(message.rate_limits, clock.monotonic)
        self.retries = RetrySchedule(message.retry_config)
        self._due: list[tuple[int, int, StoredTask]] = []
        self._entries = count(1)
        self._gone: OrderedDict[str, int] = (
            OrderedDict()
        )  # IDs that are not free before then, the earliest first
        self._oldest_expires_us = 0  # no task expires earlier

    @property
    def paused(self) -> bool:
        return bool(self.message.state == protos.PAUSED)

    @property
    def full(self) -> bool:
        """Whether as many dispatches are under way as there may be."""
        return bool(self.rate.running >= self.message.rate_limits.max_concurrent_dispatches)

    def configure(self, message: Any) -> None:
        """Go by another configuration from now on."""
        self.message = message
        self.rate.configure(message.rate_limits)
        self.retries = RetrySchedule(message.retry_config)

    def retries_of(self, task: StoredTask) -> RetrySchedule:
        """When a task of this queue is tried again."""
        if not task.message.HasField("retry_config"):
            return self.retries
        if task.retries is None:
            task.retries = RetrySchedule(task.message.retry_config)
        own: RetrySchedule = task.retries
        return own

    # Tasks --------------------------------------------------------------------------------------------------

    def put(self, task: StoredTask) -> None:
        """Add a task, and let it become due."""
        self.tasks[task.id] = task
        self.await_turn(task, task.due_us)

    def drop(self, task: StoredTask, name_free_us: int) -> None:
        """The task is done, or deleted; its name may be used again from then on, at once if it was not chosen."""
        self.tasks.pop(task.id, None)
        task.gone = True
        if task.named:
            self._gone.pop(task.id, None)
            self._gone[task.id] = name_free_us

    def await_turn(self, task: StoredTask, due_us: int, *, first: bool = False) -> None:
        """Let a task be dispatched at this time, and at no other that was planned before.

        Of tasks of the same time it is the last, or the first.
        """
        entry = next(self._entries)
        task.entry = -entry if first else entry
        heapq.heappush(self._due, (due_us, task.entry, task))

    def wait_no_more(self, task: StoredTask) -> None:
        """Let a task not be dispatched at the time that was planned."""
        task.entry = 0

    def next_due(self) -> int | None:
        """When the next task is due; None: there is none that waits. Whether the queue is paused plays no part."""
        due = self._due
        while due:
            due_us, entry, task = due[0]
            if task.entry == entry and not task.gone:
                return due_us
            heapq.heappop(due)
        return None

    def take_due(self, now_us: int) -> StoredTask | None:
        """The task that has been due for longest, which waits no more; None: there is none."""
        due_us = self.next_due()
        if due_us is None or due_us > now_us:
            return None
        task = heapq.heappop(self._due)[2]
        task.entry = 0
        return task

    def expire(self, now_us: int) -> Iterator[StoredTask]:
        """The tasks that have lived for as long as tasks may."""
        if now_us < self._oldest_expires_us:
            return
        self._oldest_expires_us = now_us + RETENTION_US
        for task in list(self.tasks.values()):  # in the order of their creation
            if task.expires_us > now_us:
                self._oldest_expires_us = task.expires_us
                break
            yield task

    @property
    def next_expiry_us(self) -> int:
        """No task expires before, and no name is free again."""
        return min(self._oldest_expires_us, next(iter(self._gone.values()), self._oldest_expires_us))

    # Names --------------------------------------------------------------------------------------------------

    @property
    def gone_names(self) -> Iterable[str]:
        """The IDs of tasks that are gone, and are not free yet."""
        return self._gone

    def keep_name(self, task_id: str, free_us: int) -> None:
        """A task of this ID is gone, and the ID may be used again from then on."""
        self._gone[task_id] = free_us

    def recently_gone(self, task_id: str, now_us: int) -> bool:
        """Whether there was a task of this ID, whose name is not free yet."""
        return self._gone.get(task_id, 0) > now_us

    def free_names(self, now_us: int) -> list[str]:
        """Forget the names that are free by now; their IDs."""
        freed = []
        for task_id, free_us in self._gone.items():
            if free_us > now_us:
                break
            freed.append(task_id)
        for task_id in freed:
            del self._gone[task_id]
        return freed
