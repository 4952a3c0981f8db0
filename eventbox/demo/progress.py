"""How far the demo has come."""

from __future__ import annotations

import time
from dataclasses import dataclass, field


@dataclass(slots=True)
class Progress:
    """Counters: events that are to come, were emitted, were processed; what workers lost to each other; their deaths.

    `processed` is what the workers tell: one that is killed takes along what it has not told yet.
    """

    total: int = 0
    emitted: int = 0
    processed: int = 0
    contended: int = 0
    restarts: int = 0
    began: float = field(default_factory=time.monotonic)

    @property
    def seconds(self) -> float:
        return max(time.monotonic() - self.began, 1e-9)
