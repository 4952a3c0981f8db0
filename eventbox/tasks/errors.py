"""The errors of eventbox.tasks.

EventboxError
    EnqueueError    a task could not be put on its queue, or nobody knows; enqueue it again under the same name
    DropTask        raised by a task's handler: the task can never be done, and is given up

A bad argument is TypeError or ValueError, raised before any RPC is made.
"""

from __future__ import annotations

from eventbox.errors import EventboxError


class EnqueueError(EventboxError):
    """Cloud Tasks did not take a task, or its answers were lost until the time-out.

    `queue` and `name` are the queue's and the task's names, `transient` tells whether trying again may help: then
    whether the task was created is not known, and enqueuing it again under the same name is safe. What Cloud Tasks said
    is the `__cause__`.
    """

    def __init__(self, queue: str, name: str, reason: str, *, transient: bool) -> None:
        super().__init__(queue, name, reason, transient)
        self.queue = queue
        self.name = name
        self.reason = reason
        self.transient = transient

    def __str__(self) -> str:
        advice = (
            "it may have been created all the same: enqueue it again under this name"
            if self.transient
            else "it was not created: check that the queue exists and that this account may create tasks on it "
            "(roles/cloudtasks.enqueuer, and iam.serviceAccounts.actAs on the service account)"
        )
        return f"task {self.name!r} could not be put on {self.queue}: {self.reason.rstrip('.')}; {advice}"

    def __reduce__(self) -> tuple[object, ...]:
        return _enqueue_error, (self.queue, self.name, self.reason, self.transient)


def _enqueue_error(queue: str, name: str, reason: str, transient: bool) -> EnqueueError:
    return EnqueueError(queue, name, reason, transient=transient)


class DropTask(EventboxError):
    """Raise it in a task's handler to give the task up for good: it is logged at ERROR, and not tried again."""
