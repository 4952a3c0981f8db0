"""All queues, their tasks and the names that are not free yet, sans I/O: what is done with them, and written down."""

from __future__ import annotations

import logging
import threading
from collections import OrderedDict, deque
from collections.abc import Callable, Iterator
from datetime import timedelta
from random import Random
from typing import Any

from grpc import StatusCode

from emulator.clock import Clock
from emulator.status import Status
from emulator.tasks import limits, names, protos
from emulator.tasks.dispatch import Attempt
from emulator.tasks.journaling import Change, Journal
from emulator.tasks.moments import from_datetime, now_us, set_timestamp, to_datetime
from emulator.tasks.queue_config import check_retries, complete_retries, configured, updated
from emulator.tasks.stored_queue import StoredQueue
from emulator.tasks.stored_task import StoredTask

_log = logging.getLogger(__name__)

_NO_QUEUE = (
    "Queue does not exist. If you just created the queue, wait at least a minute for the queue to initialize."
)
_NO_ENTITY = "Requested entity was not found."
_GONE_TASK = (
    "The task no longer exists, though a task with this name existed recently. The task either successfully completed "
    "or was deleted."
)
_GONE_QUEUE = "The queue cannot be created because a queue with this name existed too recently."

_MICROSECOND = timedelta(microseconds=1)


class Engine:
    """The state of one emulator. Every call is made under `lock`.

    Args:
        clock: what times go by.
        dedup_window: how long the name of a task that is done or deleted may not be used again.
        journal: where changes are written down, and what is read at the start; None: nowhere.
        seed: what the names of tasks are made from that whoever creates them does not name.
    """

    def __init__(
        self, clock: Clock, dedup_window: timedelta, journal: Journal | None = None, seed: int = 0
    ) -> None:
        self.lock = threading.RLock()
        self.queues: dict[str, StoredQueue] = {}
        self.forced: deque[tuple[StoredQueue, StoredTask]] = (
            deque()
        )  # what RunTask wants dispatched, in order
        self.on_change: Callable[[], None] = _nothing  # called where more may be dispatched than before
        self._clock = clock
        self._window_us = dedup_window // _MICROSECOND
        self._journal = journal
        self._rng = Random(seed)
        self._gone_queues: OrderedDict[str, int] = OrderedDict()
        self._quiet_until_us = 0  # nothing ends by itself earlier
        if journal is not None:
            self._load(journal)

    def now_us(self) -> int:
        """The time of day."""
        return now_us(self._clock)

    # Queues -------------------------------------------------------------------------------------------------

    def queue(self, name: str) -> StoredQueue:
        """The queue of this name; NOT_FOUND where there is none."""
        queue = self.queues.get(name)
        if queue is None:
            names.check_queue(name)
            raise Status(StatusCode.NOT_FOUND, _NO_QUEUE)
        return queue

    def create_queue(self, name: str, given: Any) -> StoredQueue:
        """A new queue; ALREADY_EXISTS, or FAILED_PRECONDITION where one of this name was deleted in the last 7 days."""
        names.check_queue(name)
        if name in self.queues:
            raise Status(StatusCode.ALREADY_EXISTS, "Queue already exists")
        message = configured(name, given)
        if self._gone_queues.get(name, 0) > self.now_us():
            raise Status(StatusCode.FAILED_PRECONDITION, _GONE_QUEUE)
        self._write(Change("queue", name, message.SerializeToString()), Change("gone_queue", name, None))
        self._gone_queues.pop(name, None)
        queue = self.queues[name] = StoredQueue(message, self._clock)
        return queue

    def update_queue(self, name: str, given: Any, mask: Any) -> StoredQueue:
        """The queue with other settings; a new one where there is none of this name."""
        names.check_queue(name)
        queue = self.queues.get(name)
        if queue is None:
            empty = protos.Queue(name=name, state=protos.RUNNING)
            return self.create_queue(name, updated(empty, given, mask))
        self._configure(queue, updated(queue.message, given, mask))
        return queue

    def set_paused(self, name: str, paused: bool) -> StoredQueue:
        """The queue, which dispatches no more, or dispatches again."""
        queue = self.queue(name)
        message = _copy(queue.message)
        message.state = protos.PAUSED if paused else protos.RUNNING
        self._configure(queue, message)
        return queue

    def purge_queue(self, name: str) -> StoredQueue:
        """The queue without the tasks that it had. What is under way goes on, and is not tried again."""
        queue = self.queue(name)
        message = _copy(queue.message)
        set_timestamp(message.purge_time, self.now_us())
        self._drop(queue, list(queue.tasks.values()), Change("queue", name, message.SerializeToString()))
        queue.message = message
        return queue

    def delete_queue(self, name: str) -> None:
        """Let there be no such queue, and none of this name for 7 days."""
        names.check_queue(name)
        if name not in self.queues:
            raise Status(StatusCode.NOT_FOUND, _NO_ENTITY)
        queue = self.queues[name]
        free_us = self.now_us() + limits.QUEUE_NAME_US
        changes = [Change("queue", name, None), Change("gone_queue", name, _pack(free_us))]
        changes += [Change("task", f"{name}/tasks/{task_id}", None) for task_id in queue.tasks]
        changes += [Change("gone_task", f"{name}/tasks/{task_id}", None) for task_id in queue.gone_names]
        self._write(*changes)
        del self.queues[name]
        for task in queue.tasks.values():
            task.gone = True
        self._gone_queues[name] = free_us
        self._quiet_until_us = min(self._quiet_until_us, free_us)

    def _configure(self, queue: StoredQueue, message: Any) -> None:
        self._write(Change("queue", queue.name, message.SerializeToString()))
        queue.configure(message)
        self.on_change()

    # Tasks --------------------------------------------------------------------------------------------------

    def task(self, name: str) -> tuple[StoredQueue, StoredTask]:
        """The task of this name, and its queue; NOT_FOUND where there is none."""
        queue_name, task_id = names.split_task(name)
        queue = self.queue(queue_name)
        task = queue.tasks.get(task_id)
        if task is None:
            gone = queue.recently_gone(task_id, self.now_us())
            raise Status(StatusCode.NOT_FOUND, _GONE_TASK if gone else _NO_ENTITY)
        return queue, task

    def create_task(self, parent: str, given: Any) -> StoredTask:
        """A new task, with all that is filled in; `given` stays as it is.

        Raises:
            Status: it breaks a limit, its name is in use or was lately, or there is no such queue.
        """
        queue = self.queue(parent)
        url = limits.check_target(given)
        now = self.now_us()
        task_id = self._check_name(queue, given.name, now) if given.name else self._new_id(queue)
        message = protos.Task()
        message.CopyFrom(given)
        due_us = limits.check_schedule(given, now)
        limits.check_deadline(message)
        if message.HasField("retry_config"):
            complete_retries(message.retry_config)
            check_retries(message.retry_config)
        _fill_in(message, f"{parent}/tasks/{task_id}", url, now)
        limits.check_size(message)
        request = message.http_request
        body = request.body
        request.ClearField("body")
        message.view = protos.BASIC
        task = StoredTask(task_id, message, body, named=bool(given.name))
        task.reschedule(due_us)
        if self._journal is not None:
            self._write(Change("task", message.name, task.encode()))
        queue.put(task)
        self.on_change()
        return task

    def delete_task(self, name: str) -> None:
        """Let there be no such task. A dispatch that is under way goes on, and is not tried again."""
        queue, task = self.task(name)
        self._drop(queue, [task])

    def run_task(self, name: str) -> StoredTask:
        """The task, which is dispatched as soon as can be, whatever its queue's state and rate are."""
        queue, task = self.task(name)
        task.forced_us = self.now_us()
        self.forced.append((queue, task))
        self.on_change()
        return task

    # Attempts -----------------------------------------------------------------------------------------------

    def begin_attempt(self, task: StoredTask) -> None:
        """A task is dispatched now."""
        task.begin_attempt(self.now_us())

    def give_back(self, queue: StoredQueue, task: StoredTask) -> None:
        """A dispatch came to nothing on our side: the task is due again."""
        if not task.gone and not task.entry:
            queue.await_turn(task, task.due_us)
            self.on_change()

    def end_attempt(self, queue: StoredQueue, task: StoredTask, attempt: Attempt) -> None:
        """A dispatch has ended: the task is done, or due again later, or given up."""
        if task.gone:
            return
        if attempt.succeeded:
            self._drop(queue, [task])
            return
        now = self.now_us()
        task.end_attempt(attempt, now)
        message = task.message
        again = queue.retries_of(task).next(
            message.dispatch_count,
            to_datetime(_first_attempt_us(message)),
            to_datetime(now),
            retry_after=attempt.retry_after,
        )
        if again is None:
            self._drop(queue, [task])
            return
        due_us = from_datetime(again)
        if task.forced_us is not None:  # reckoned from the call of RunTask
            due_us = max(now, due_us - (now - task.forced_us))
            task.forced_us = None
        task.reschedule(due_us)
        queue.await_turn(task, due_us)
        if self._journal is not None:
            self._write(Change("task", message.name, task.encode()))

    def tick(self) -> None:
        """Do what the clock has made due, but for dispatching: end tasks that are too old, and free names.

        Where it cannot be written down, it is done all the same, and done again by whoever reads the journal next.
        """
        now = self.now_us()
        if now < self._quiet_until_us:
            return
        freed: list[Change] = []
        free_us = now + self._window_us
        for queue in self.queues.values():
            expired = list(queue.expire(now))
            freed += _dropped(expired, free_us)
            for task in expired:
                queue.drop(task, free_us)
            freed += [
                Change("gone_task", f"{queue.name}/tasks/{task_id}", None)
                for task_id in queue.free_names(now)
            ]
        while self._gone_queues and next(iter(self._gone_queues.values())) <= now:
            name, _ = self._gone_queues.popitem(last=False)
            freed.append(Change("gone_queue", name, None))
        if freed:
            try:
                self._write(*freed)
            except Status:
                _log.exception("what has expired stays in the data folder for now")
        self._quiet_until_us = min(
            (queue.next_expiry_us for queue in self.queues.values()), default=now + limits.RETENTION_US
        )
        if self._gone_queues:
            self._quiet_until_us = min(self._quiet_until_us, next(iter(self._gone_queues.values())))

    def clear(self) -> None:
        """Delete everything, and forget all names."""
        if self._journal is not None:
            self._journal.clear()
        for queue in self.queues.values():
            for task in queue.tasks.values():
                task.gone = True
        self.queues.clear()
        self._gone_queues.clear()
        self.forced.clear()

    def close(self) -> None:
        """Let go of the data folder."""
        if self._journal is not None:
            self._journal.close()

    # Names, and the journal ---------------------------------------------------------------------------------

    def _check_name(self, queue: StoredQueue, name: str, now: int) -> str:
        queue_name, task_id = names.split_task(name)
        if queue_name != queue.name:
            raise limits.invalid(
                f"The queue name from request ('{queue.name}') must be the same as the queue name in the named task "
                f"('{queue_name}')."
            )
        if task_id in queue.tasks or queue.recently_gone(task_id, now):
            raise Status(StatusCode.ALREADY_EXISTS, "Requested entity already exists")
        return task_id

    def _new_id(self, queue: StoredQueue) -> str:
        while True:
            task_id = f"{self._rng.getrandbits(64):020}"
            if task_id not in queue.tasks:
                return task_id

    def _drop(self, queue: StoredQueue, tasks: list[StoredTask], *changes: Change) -> None:
        free_us = self.now_us() + self._window_us
        if self._journal is not None:
            self._journal.write([*changes, *_dropped(tasks, free_us)])
        for task in tasks:
            queue.drop(task, free_us)
        self._quiet_until_us = min(self._quiet_until_us, free_us)

    def _write(self, *changes: Change) -> None:
        if self._journal is not None:
            self._journal.write(changes)

    def _load(self, journal: Journal) -> None:
        kept = list(journal.read())
        for table, name, data in kept:
            if table == "queue":
                self.queues[name] = StoredQueue(protos.Queue.FromString(data), self._clock)
        for table, name, data in kept:
            if table == "task" and data is not None:
                queue_name, _, task_id = name.rpartition("/tasks/")
                self.queues[queue_name].put(StoredTask.decode(task_id, data))
        gone = sorted((_unpack(data), table, name) for table, name, data in kept if table.startswith("gone"))
        for free_us, table, name in gone:
            if table == "gone_queue":
                self._gone_queues[name] = free_us
            else:
                queue_name, _, task_id = name.rpartition("/tasks/")
                self.queues[queue_name].keep_name(task_id, free_us)


def _fill_in(message: Any, name: str, url: str, now: int) -> None:
    """Set what the service sets; what only it may set, and was given, is lost."""
    for field in ("dispatch_count", "response_count", "first_attempt", "last_attempt", "view"):
        message.ClearField(field)
    message.name = name
    message.create_time.seconds, message.create_time.nanos = now // 1_000_000, 0
    request = message.http_request
    request.url = url
    if not request.http_method:
        request.http_method = protos.HttpMethod.POST
    for header in [key for key in request.headers if key.lower() == "user-agent"]:
        del request.headers[header]
    request.headers["User-Agent"] = "Google-Cloud-Tasks"
    set_timestamp(message.schedule_time, now)


def _dropped(tasks: list[StoredTask], free_us: int) -> Iterator[Change]:
    for task in tasks:
        yield Change("task", task.message.name, None)
        if task.named:
            yield Change("gone_task", task.message.name, _pack(free_us))


def _first_attempt_us(message: Any) -> int:
    first = message.first_attempt.dispatch_time
    return int(first.seconds) * 1_000_000 + int(first.nanos) // 1_000


def _copy(message: Any) -> Any:
    copy = protos.Queue()
    copy.CopyFrom(message)
    return copy


def _pack(time_us: int) -> bytes:
    return time_us.to_bytes(8, "big", signed=True)


def _unpack(data: bytes | None) -> int:
    return int.from_bytes(data or b"", "big", signed=True)


def _nothing() -> None:
    """Nobody waits for anything to be dispatched."""
