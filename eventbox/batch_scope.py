"""What belongs to one batch and has to reach its processor, whose methods are called without it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar, Token
from dataclasses import dataclass, field
from random import Random, SystemRandom
from typing import Any

from dsset.clock import Clock, SystemClock


@dataclass(frozen=True, slots=True)
class BatchScope:
    """The clock and randomness of the box, and what the batch's processors have loaded and saved, by their id().

    One processor may serve several batches at once, so this is kept here and not on it.
    """

    clock: Clock = field(default_factory=SystemClock)
    rng: Random = field(default_factory=SystemRandom)
    loaded: dict[int, Any] = field(default_factory=dict)
    saved: dict[int, Any] = field(default_factory=dict)

    @staticmethod
    def current() -> BatchScope:
        """The scope of the batch that is running; outside any batch, an empty one."""
        return _current.get() or BatchScope()

    @contextmanager
    def entered(self) -> Iterator[None]:
        """Make it the current one, also for the tasks that are started meanwhile."""
        token = self.enter()
        try:
            yield
        finally:
            self.leave(token)

    def enter(self) -> Token[BatchScope | None]:
        """Make it the current one, until `leave` is called with what this gives."""
        return _current.set(self)

    @staticmethod
    def leave(token: Token[BatchScope | None]) -> None:
        """Make the one before current again."""
        _current.reset(token)


_current: ContextVar[BatchScope | None] = ContextVar("eventbox_batch_scope", default=None)
