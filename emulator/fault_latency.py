"""`Latency`: how long an RPC is held up, where that is left to chance."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from random import Random

MAX_LATENCY = timedelta(days=1)
"""No draw is longer: a long tail has an end here."""


@dataclass(frozen=True, slots=True)
class Latency:
    """A distribution of latencies; make one by `uniform`, `exponential` or `lognormal`.

    `parameters` are in seconds, but for `sigma`, which has no unit. Each draw is at most a day.
    """

    distribution: str
    parameters: Mapping[str, float]

    @classmethod
    def uniform(cls, low: timedelta, high: timedelta) -> Latency:
        """Anything from `low` to `high`, each as likely.

        Raises:
            TypeError, ValueError: they are no timedeltas, negative, more than a day, or the wrong way round.
        """
        bounds = {"low": _seconds("low", low), "high": _seconds("high", high)}
        if low > high:
            raise ValueError(f"low must not be more than high: {low!r}, {high!r}")
        return cls("uniform", bounds)

    @classmethod
    def exponential(cls, mean: timedelta) -> Latency:
        """Mostly short, sometimes several times the mean: as of work that comes at random moments.

        Raises:
            TypeError, ValueError: the mean is no timedelta, negative, or more than a day.
        """
        return cls("exponential", {"mean": _seconds("mean", mean)})

    @classmethod
    def lognormal(cls, median: timedelta, sigma: float) -> Latency:
        """Around the median, with a long tail, as networks have it: one draw in six is over median * e^sigma.

        Raises:
            TypeError, ValueError: the median is no timedelta, negative, or more than a day; or sigma is negative
                or no finite number.
        """
        if isinstance(sigma, bool) or not isinstance(sigma, int | float):
            raise TypeError(f"sigma must be a number, not {sigma!r}")
        if not (math.isfinite(sigma) and sigma >= 0):
            raise ValueError(f"sigma must be a finite number that is not negative, not {sigma!r}")
        return cls("lognormal", {"median": _seconds("median", median), "sigma": float(sigma)})

    def draw(self, rng: Random) -> timedelta:
        """The next latency, by these random numbers."""
        by = self.parameters
        match self.distribution:
            case "uniform":
                seconds = rng.uniform(by["low"], by["high"])
            case "exponential":
                seconds = rng.expovariate(1.0) * by["mean"]
            case _:
                # the exponent is cut where e^x would be no double any more
                seconds = by["median"] * math.exp(min(rng.gauss(0.0, by["sigma"]), 700.0))
        return timedelta(seconds=min(seconds, MAX_LATENCY.total_seconds()))


def _seconds(name: str, duration: timedelta) -> float:
    if not isinstance(duration, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {duration!r}")
    if not timedelta(0) <= duration <= MAX_LATENCY:
        raise ValueError(f"{name} must lie between nothing and {MAX_LATENCY}, not {duration!r}")
    return duration.total_seconds()
