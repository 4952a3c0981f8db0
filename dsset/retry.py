"""When an RPC is worth repeating, and how long to wait before."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random
from typing import TypeVar

from google.api_core.exceptions import GoogleAPICallError
from grpc import StatusCode

from dsset.clock import Clock

T = TypeVar("T")

TRANSIENT = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.INTERNAL,
        StatusCode.UNKNOWN,
        StatusCode.ABORTED,
        StatusCode.RESOURCE_EXHAUSTED,
    }
)
"""Codes after which the same request may succeed, though it may already have been carried out."""

INITIAL_DELAY = timedelta(milliseconds=100)
MAX_DELAY = timedelta(seconds=10)
ATTEMPT_TIMEOUT = timedelta(seconds=20)
"""What one attempt may take, so that a request that hangs leaves time for another within a minute."""
_ATTEMPT_TIMEOUT_S = ATTEMPT_TIMEOUT.total_seconds()


def is_transient(error: BaseException) -> bool:
    """Whether repeating the request may help."""
    return isinstance(error, GoogleAPICallError) and error.grpc_status_code in TRANSIENT


class Backoff:
    """Delays that double from 100 ms to 10 s, each cut by a random half at most, until a time-out is used up.

    The jitter keeps those who failed together from coming back together.
    """

    def __init__(self, clock: Clock, rng: Random, timeout: timedelta) -> None:
        self._clock = clock
        self._rng = rng
        self._deadline = clock.monotonic() + timeout.total_seconds()
        self._next = INITIAL_DELAY

    @property
    def remaining(self) -> float:
        """Seconds until the time-out; never negative."""
        return max(0.0, self._deadline - self._clock.monotonic())

    @property
    def attempt_timeout(self) -> float:
        """Seconds that the next attempt may take."""
        return max(0.001, min(self._deadline - self._clock.monotonic(), _ATTEMPT_TIMEOUT_S))

    async def wait(self) -> bool:
        """Wait before the next attempt; False, at once, where the time-out leaves no room for it."""
        delay = self._next * self._rng.uniform(0.5, 1.0)
        if delay.total_seconds() >= self.remaining:
            return False
        self._next = min(self._next * 2, MAX_DELAY)
        await self._clock.sleep(delay)
        return True


async def retry_transient(attempt: Callable[[float], Awaitable[T]], backoff: Backoff) -> T:
    """What `attempt(timeout in seconds)` returns, again after transient errors; the last error when time is up."""
    while True:
        try:
            return await attempt(backoff.attempt_timeout)
        except GoogleAPICallError as error:
            if not is_transient(error) or not await backoff.wait():
                raise
