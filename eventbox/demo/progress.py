"""How far the demo has come."""

from __future__ import annotations

import time
from dataclasses import dataclass


@dataclass(slots=True)
class Progress:
    """Counters: commits that are to be taken in, and were; events that are to come of them, and were processed; entries
    that the log's follower has counted; what workers lost to each other; deaths.

    `processed` is what the workers tell: one that is killed takes along what it has not told yet.
    """

    commits: int = 0
    events: int = 0
    taken_in: int = 0
    processed: int = 0
    logged: int = 0
    contended: int = 0
    dead_workers: int = 0
    dead_ingestors: int = 0
    _began: float | None = None
    _ended: float | None = None

    def begin(self) -> None:
        """The history begins to be taken in, unless it has begun already."""
        if self._began is None:
            self._began = time.monotonic()

    def end(self) -> None:
        """All is done."""
        self._ended = time.monotonic()

    @property
    def seconds(self) -> float:
        """From the beginning to the end, or until now."""
        now = time.monotonic()
        return max((self._ended or now) - (self._began or now), 1e-9)
