"""How fast, and how many at a time, a queue's tasks are dispatched."""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable
from typing import Any

DEFAULT_MAX_DISPATCHES_PER_SECOND = 500.0
DEFAULT_MAX_CONCURRENT_DISPATCHES = 1_000
"""What Cloud Tasks picks where a queue says nothing."""

RECOVERY_PER_SECOND = 1 / 32
"""The part of the queue's rate that comes back each second. Halved once a second, the rate ends at just this part."""

_CUT_EVERY = 1.0
"""Seconds between two halvings: answers to tasks that were under way together are one piece of news."""

_LOOKED_AT = 20
_RECENT = 10.0  # s
_ENOUGH = 10
"""The error rate is that of the latest 20 answers of the last 10 s, once there are 10 of them."""

_OVERLOADED = frozenset({429, 503})

_EPSILON = 1e-9


class RateLimit:
    """One queue's token bucket, its number of dispatches under way, and its slow-down.

    A dispatch takes a token and a place. Tokens come at `max_dispatches_per_second`, up to `max_burst_size` of them;
    there are `max_concurrent_dispatches` places. A queue begins with a full bucket.

    The slow-down: Google documents that a queue slows down on 429, 503 and a high rate of errors, and not by how much.
    Here each 429 and 503, and each failure while more than half of the recent answers were failures (of the latest 20
    within 10 s, if there are 10), halves the rate and the bucket, once a second at most, down to a 32nd of what is
    configured. Each second gives a 32nd of the configured rate back, so the whole rate is there again 31 s after the
    last halving at the latest. Any other answer leaves the rate alone.

    It does no waiting and starts no timers: whoever dispatches asks `acquire`.

    Args:
        limits: a RateLimits as protobuf has it. What it does not say is as Cloud Tasks' defaults are; a bucket that it
            does not say holds a second's worth.
        monotonic: the time in seconds, from any moment on.
    """

    __slots__ = (
        "_answers", "_burst", "_cut_at", "_factor", "_failures", "_filled_at", "_monotonic", "_places", "_rate",
        "_running", "_tokens",
    )  # fmt: skip

    def __init__(self, limits: Any, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._running = 0
        self._factor = 1.0
        self._cut_at = -math.inf
        self._answers: deque[tuple[float, bool]] = deque()
        self._failures = 0
        self._filled_at = monotonic()
        self._tokens = math.inf
        self._take(limits)

    def configure(self, limits: Any) -> None:
        """Go by other limits from now on; what is under way, and the slow-down, stay."""
        self._refill()  # at the rate that there was
        self._take(limits)

    def _take(self, limits: Any) -> None:
        self._rate: float = limits.max_dispatches_per_second or DEFAULT_MAX_DISPATCHES_PER_SECOND
        self._burst: int = limits.max_burst_size or math.ceil(self._rate)
        self._places: int = limits.max_concurrent_dispatches or DEFAULT_MAX_CONCURRENT_DISPATCHES
        self._tokens = min(self._tokens, self._capacity)

    @property
    def running(self) -> int:
        """How many dispatches are under way."""
        return self._running

    @property
    def effective_rate(self) -> float:
        """Dispatches a second as of now, slowed down or not."""
        self._refill()
        return self._rate * self._factor

    def acquire(self) -> float:
        """Begin a dispatch: 0.0, and it is counted; otherwise the seconds after which to ask again.

        `math.inf` where all places are taken: ask again after a `release`, or a `configure`.
        """
        if self._running >= self._places:
            return math.inf
        self._refill()
        if self._tokens < 1 - _EPSILON:
            return (1 - self._tokens) / (self._rate * self._factor)
        self._tokens -= 1
        self._running += 1
        return 0.0

    def force(self) -> None:
        """Begin a dispatch whatever the limits say, as RunTask does; it takes a place, and no token."""
        self._running += 1

    def release(self, status: int | None) -> None:
        """End a dispatch, with the status of its answer; None: there was none.

        Raises:
            RuntimeError: none is under way.
        """
        if not self._running:
            raise RuntimeError("no dispatch is under way that could end")
        self._running -= 1
        failed = status is None or not 200 <= status < 300
        now = self._monotonic()
        self._answers.append((now, failed))
        self._failures += failed
        while len(self._answers) > _LOOKED_AT or self._answers[0][0] <= now - _RECENT:
            self._failures -= self._answers.popleft()[1]
        if failed and (status in _OVERLOADED or self._many_fail) and now >= self._cut_at + _CUT_EVERY:
            self._refill()
            self._cut_at = now
            self._factor /= 2
            self._tokens = min(self._tokens, self._capacity)

    def abandon(self) -> None:
        """End a dispatch that came to nothing on our side, such as one cancelled; it says nothing of the worker.

        Raises:
            RuntimeError: none is under way.
        """
        if not self._running:
            raise RuntimeError("no dispatch is under way that could end")
        self._running -= 1

    @property
    def _many_fail(self) -> bool:
        return len(self._answers) >= _ENOUGH and 2 * self._failures > len(self._answers)

    @property
    def _capacity(self) -> float:
        return max(1.0, self._burst * self._factor)

    def _refill(self) -> None:
        now = self._monotonic()
        passed = now - self._filled_at
        if passed <= 0:
            return
        self._filled_at = now
        if self._factor < 1:  # the rate rises in a straight line to the whole, and stays there
            rising = min(passed, (1 - self._factor) / RECOVERY_PER_SECOND)
            reached = min(1.0, self._factor + rising * RECOVERY_PER_SECOND)
            share = rising * (self._factor + reached) / 2 + (passed - rising)
            self._factor = 1.0 if reached > 1 - _EPSILON else reached
        else:
            share = passed
        self._tokens = min(self._capacity, self._tokens + self._rate * share)
