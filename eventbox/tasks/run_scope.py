"""What a worker's run has to let `TaskQueue` know, whose methods the user's code calls without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class RunScope:
    """The wake-up's second that a run belongs to.

    Whoever wakes a recipient in a run does so for a later second than the run's own: under that one's name the wake-up
    would find the task that is running now, and be lost.
    """

    second: int

    @staticmethod
    def current() -> RunScope | None:
        """The scope of the run that is under way; None outside any run."""
        return _current.get()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make it the current one, also for the tasks that are started meanwhile."""
        token = _current.set(self)
        try:
            yield
        finally:
            _current.reset(token)


_current: ContextVar[RunScope | None] = ContextVar("eventbox_run_scope", default=None)
