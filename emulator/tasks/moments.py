"""Times as the engine reckons with them, in microseconds since the epoch, and as messages have them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from emulator.clock import Clock

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def now_us(clock: Clock) -> int:
    """The time of day."""
    return (clock.now() - _EPOCH) // _MICROSECOND


def to_datetime(time_us: int) -> datetime:
    """The same moment, aware and in UTC."""
    return _EPOCH + timedelta(microseconds=time_us)


def from_datetime(moment: datetime) -> int:
    """The same moment, in microseconds."""
    return (moment - _EPOCH) // _MICROSECOND


def from_timestamp(timestamp: Any) -> int:
    """The moment that a Timestamp stands for, cut to microseconds."""
    seconds, nanos = timestamp.seconds, timestamp.nanos
    return int(seconds) * 1_000_000 + int(nanos) // 1_000


def set_timestamp(timestamp: Any, time_us: int) -> None:
    """Let a Timestamp stand for a moment."""
    timestamp.seconds, micros = divmod(time_us, 1_000_000)
    timestamp.nanos = micros * 1_000
