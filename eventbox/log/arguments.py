"""Bad arguments of the log's methods, told before anything is sent."""

from __future__ import annotations

from datetime import timedelta

_MAX_POSITION = 2**63 - 1


def check_position(position: object) -> None:
    """TypeError or ValueError unless it is one."""
    if not 0 <= _int("a position", position) <= _MAX_POSITION:
        raise ValueError(f"a position must be 0 to 2^63 - 1, not {position}")


def check_count(name: str, value: object, most: int | None = None) -> None:
    """TypeError or ValueError unless it is a positive int, of at most `most`."""
    number = _int(name, value)
    if number <= 0:
        raise ValueError(f"{name} must be positive, not {value}")
    if most is not None and number > most:
        raise ValueError(f"{name} must be at most {most:,}, not {number:,}")


def check_id_age(min_id_age: object) -> None:
    """TypeError or ValueError unless it is an int that is not negative."""
    if _int("min_id_age", min_id_age) < 0:
        raise ValueError(f"min_id_age must not be negative: {min_id_age}")


def check_duration(name: str, duration: object) -> None:
    """TypeError or ValueError unless it is a timedelta that is not negative."""
    if not isinstance(duration, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {type(duration).__name__}")
    if duration < timedelta(0):
        raise ValueError(f"{name} must not be negative: {duration}")


def _int(name: str, value: object) -> int:
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    return value
