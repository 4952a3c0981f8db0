"""Cloud Tasks: tasks that run if and only if a transaction commits, and wake-ups for recipients.

    from eventbox.tasks import Task, TaskQueue, tasks_client

`TaskQueue` puts tasks on a queue and wakes recipients; a `Sweeper` finishes what a process has not lived to.
"""

from __future__ import annotations

from eventbox.tasks.client import tasks_client
from eventbox.tasks.errors import EnqueueError
from eventbox.tasks.run_scope import RunScope
from eventbox.tasks.sweeper import Sweeper, SweepReport
from eventbox.tasks.task import Task
from eventbox.tasks.task_queue import TaskQueue
from eventbox.tasks.wakeups import WakeUp

__all__ = [
    "EnqueueError",
    "RunScope",
    "SweepReport",
    "Sweeper",
    "Task",
    "TaskQueue",
    "WakeUp",
    "tasks_client",
]
