"""Cloud Tasks: tasks that run if and only if a transaction commits, and wake-ups for recipients.

    from eventbox.tasks import Auth, Task, TaskQueue, Worker, tasks_client

`TaskQueue` puts tasks on a queue and wakes recipients; a `Sweeper` finishes what a process has not lived to. A `Worker`
is what Cloud Tasks calls: it authenticates the caller by its `Auth`, drains recipients and does tasks.
"""

from __future__ import annotations

from eventbox.tasks.auth import Auth
from eventbox.tasks.client import tasks_client
from eventbox.tasks.cloud_logging import CloudLoggingFormatter
from eventbox.tasks.errors import DropTask, EnqueueError
from eventbox.tasks.run_scope import RunScope
from eventbox.tasks.sweeper import Sweeper, SweepReport
from eventbox.tasks.task import Task
from eventbox.tasks.task_queue import TaskQueue
from eventbox.tasks.task_request import TaskRequest
from eventbox.tasks.wakeups import WakeUp
from eventbox.tasks.worker import Worker

__all__ = [
    "Auth",
    "CloudLoggingFormatter",
    "DropTask",
    "EnqueueError",
    "RunScope",
    "SweepReport",
    "Sweeper",
    "Task",
    "TaskQueue",
    "TaskRequest",
    "WakeUp",
    "Worker",
    "tasks_client",
]
