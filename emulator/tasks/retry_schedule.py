"""When a task that failed is tried again, and when no more."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

DEFAULT_MAX_ATTEMPTS = 100
DEFAULT_MIN_BACKOFF = timedelta(seconds=0.1)
DEFAULT_MAX_BACKOFF = timedelta(hours=1)
DEFAULT_MAX_DOUBLINGS = 16
"""What Cloud Tasks picks where a queue says nothing, as `gcloud tasks queues describe` shows it."""

_SECOND = timedelta(seconds=1)
_MICROSECOND = timedelta(microseconds=1)
_MOST = timedelta(days=36_500) // _MICROSECOND  # beyond any `max_backoff` that makes sense


class RetrySchedule:
    """The retries of one queue, by its RetryConfig.

    The interval starts at `min_backoff`, doubles `max_doublings` times, then grows by as much as it had come to, up to
    `max_backoff`: 10, 20, 40, 80, 160, 240, 300, 300 ... s for 10 s, 300 s and three doublings.

    Retrying ends once the task was tried `max_attempts` times *and* `max_retry_duration` has passed since its first
    attempt. Where one of them is unlimited (-1, or zero), the other decides alone; where both are, only the retention
    of the task ends it, which is not decided here.

    Durations count in whole seconds, what is over is cut off. A backoff of less than a second counts as it is: Cloud
    Tasks' own default is 0.1 s. A backoff of zero is a retry at once, but only where `max_attempts` bounds them;
    else it is 0.1 s, or a task that fails would be due without end.

    Args:
        config: a RetryConfig as protobuf has it. What it does not say is as Cloud Tasks' defaults are; but a
            `max_retry_duration` that it does not say is unlimited, which is the default too.
    """

    __slots__ = ("_doublings", "_max_attempts", "_max_backoff", "_max_duration", "_min_backoff")

    def __init__(self, config: Any) -> None:
        self._max_attempts: int = config.max_attempts or DEFAULT_MAX_ATTEMPTS
        self._max_duration = _whole_seconds(config.max_retry_duration.ToTimedelta())
        self._max_backoff = _backoff(config, "max_backoff", DEFAULT_MAX_BACKOFF)
        self._min_backoff = min(_backoff(config, "min_backoff", DEFAULT_MIN_BACKOFF), self._max_backoff)
        self._doublings: int = config.max_doublings

    def next(
        self,
        attempts: int,
        first_attempt_at: datetime,
        now: datetime,
        *,
        retry_after: timedelta | None = None,
    ) -> datetime | None:
        """When to try a task again whose latest attempt failed just now; None: not any more.

        Args:
            attempts: how often it was tried, the failure included; at least 1.
            first_attempt_at: when its first attempt began.
            now: when the latest one failed.
            retry_after: what the answer's `Retry-After` asked for; a retry is not earlier than that.
        """
        if self._gives_up(attempts, now - first_attempt_at):
            return None
        wait = self.backoff(attempts)
        if not wait and not 0 < attempts < self._max_attempts:
            wait = DEFAULT_MIN_BACKOFF
        return now + (wait if retry_after is None else max(wait, retry_after))

    def backoff(self, attempts: int) -> timedelta:
        """How long a task waits that failed for the so-manieth time.

        Raises:
            ValueError: it has not failed yet.
        """
        if attempts < 1:
            raise ValueError(f"attempts must be at least 1, not {attempts}")
        doublings = min(attempts - 1, self._doublings)
        steps = attempts - doublings  # 1 until all doublings are done
        growth = min(steps << min(doublings, _MOST.bit_length()), _MOST)
        return min(
            self._max_backoff, timedelta(microseconds=min(_MOST, self._min_backoff // _MICROSECOND * growth))
        )

    def _gives_up(self, attempts: int, age: timedelta) -> bool:
        if self._max_attempts < 0 and not self._max_duration:
            return False
        enough = self._max_attempts < 0 or attempts >= self._max_attempts
        return enough and (not self._max_duration or age >= self._max_duration)


def _backoff(config: Any, field: str, default: timedelta) -> timedelta:
    if not config.HasField(field):
        return default
    found: timedelta = getattr(config, field).ToTimedelta()
    return _whole_seconds(found) or found


def _whole_seconds(duration: timedelta) -> timedelta:
    return duration // _SECOND * _SECOND
