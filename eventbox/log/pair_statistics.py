"""`PairStatistics`: how long what was begun took, how often it failed, and what it amounted to."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta


@dataclass(frozen=True)
class PairStatistics:
    """Latencies of successes and failures, and amounts, each sorted.

        PairStatistics.of(successes=join_events(...), failures=join_events(...))

    Args:
        latencies: how long each success took.
        failure_latencies: how long each failure took.
        amounts: what each success amounted to, in whatever unit.
    """

    latencies: list[timedelta] = field(default_factory=list)
    failure_latencies: list[timedelta] = field(default_factory=list)
    amounts: list[int] = field(default_factory=list)

    def __post_init__(self) -> None:
        for name in ("latencies", "failure_latencies", "amounts"):
            object.__setattr__(self, name, sorted(getattr(self, name)))

    @classmethod
    def of(
        cls, successes: Iterable[tuple[timedelta, int]], failures: Iterable[timedelta] = ()
    ) -> PairStatistics:
        """The statistics of successes, each with its latency and amount, and of the latencies of failures."""
        pairs = list(successes)
        return cls([latency for latency, _ in pairs], list(failures), [amount for _, amount in pairs])

    @property
    def successes(self) -> int:
        """How many succeeded."""
        return len(self.latencies)

    @property
    def failures(self) -> int:
        """How many failed."""
        return len(self.failure_latencies)

    @property
    def success_rate(self) -> float | None:
        """The share of successes; None where there is nothing."""
        total = self.successes + self.failures
        return self.successes / total if total else None

    def combine(self, other: PairStatistics) -> PairStatistics:
        """The statistics of both together; neither is changed."""
        return PairStatistics(
            self.latencies + other.latencies,
            self.failure_latencies + other.failure_latencies,
            self.amounts + other.amounts,
        )

    def percentile(self, p: float) -> timedelta | None:
        """The shortest latency of a success that at least `p` percent of them do not exceed; None without any.

        Raises:
            ValueError: `p` is not within 0 to 100.
        """
        return _percentile(self.latencies, p)

    def failure_percentile(self, p: float) -> timedelta | None:
        """The same of failures."""
        return _percentile(self.failure_latencies, p)


def _percentile(latencies: list[timedelta], p: float) -> timedelta | None:
    if not 0 <= p <= 100:
        raise ValueError(f"a percentile is within 0 to 100, not {p}")
    if not latencies:
        return None
    # the rank is rounded first: 55 percent of 100 are 55, though 100 * 0.55 is a little more
    rank = math.ceil(round(len(latencies) * p / 100, 9))
    return latencies[max(rank, 1) - 1]
