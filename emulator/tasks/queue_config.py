"""What a queue is told about rates and retries: defaults, bounds, and updates by a mask."""

from __future__ import annotations

import math
from typing import Any

from emulator.tasks import protos
from emulator.tasks.http_target import check_http_target
from emulator.tasks.limits import invalid
from emulator.tasks.rate_limit import DEFAULT_MAX_CONCURRENT_DISPATCHES, DEFAULT_MAX_DISPATCHES_PER_SECOND
from emulator.tasks.retry_schedule import (
    DEFAULT_MAX_ATTEMPTS,
    DEFAULT_MAX_BACKOFF,
    DEFAULT_MAX_DOUBLINGS,
    DEFAULT_MIN_BACKOFF,
)

_MAX_RATE = 500
_MAX_CONCURRENT = 5_000
_DURATIONS = ("max_retry_duration", "min_backoff", "max_backoff")
_CAMEL = {"max_retry_duration": "maxRetryDuration", "min_backoff": "minBackoff", "max_backoff": "maxBackoff"}
_OUTPUT_ONLY = frozenset({"name", "state", "purge_time", "rate_limits.max_burst_size"})
_CONFIGURABLE = (
    "rate_limits",
    "retry_config",
    "http_target",
    "stackdriver_logging_config",
    "app_engine_routing_override",
)


def configured(name: str, given: Any) -> Any:
    """A new queue as given, and with the service's defaults; INVALID_ARGUMENT where a value is out of bounds."""
    queue = protos.Queue(name=name, state=protos.RUNNING)
    _take(queue, given, _CONFIGURABLE)
    _complete(queue, frozenset())
    check_config(queue)
    return queue


def updated(queue: Any, given: Any, mask: Any) -> Any:
    """A queue as an update leaves it; INVALID_ARGUMENT where a value is out of bounds, or the mask names no field.

    Without a mask, all fields are updated: those that are not given get the defaults. Output only fields stay.
    """
    result = protos.Queue()
    result.CopyFrom(queue)
    paths = [path for path in mask.paths if path not in _OUTPUT_ONLY]
    if not mask.paths:
        for field in _CONFIGURABLE:
            result.ClearField(field)
        _take(result, given, _CONFIGURABLE)
    else:
        chosen = protos.FieldMask(paths=paths)
        if not chosen.IsValidForDescriptor(protos.Queue.DESCRIPTOR):
            raise invalid(f"update_mask: a queue has no field {', '.join(map(repr, _unknown(paths)))}.")
        chosen.MergeMessage(given, result, True, True)
    _complete(result, frozenset(paths))
    check_config(result)
    return result


def check_config(queue: Any) -> None:
    """INVALID_ARGUMENT for a rate or a retry that Cloud Tasks does not take."""
    rates, retries = queue.rate_limits, queue.retry_config
    rate = rates.max_dispatches_per_second
    if math.isnan(rate) or rate < 0:
        raise invalid("RateLimits.maxDispatchesPerSecond cannot be negative.")
    if rate > _MAX_RATE:
        raise invalid(f"RateLimits.maxDispatchesPerSecond must be less than or equal to {_MAX_RATE}.")
    if rates.max_concurrent_dispatches < 0:
        raise invalid("RateLimits.maxConcurrentDispatches cannot be negative.")
    if rates.max_concurrent_dispatches > _MAX_CONCURRENT:
        raise invalid(f"RateLimits.maxConcurrentDispatches must be less than or equal to {_MAX_CONCURRENT}.")
    check_retries(retries)
    if queue.HasField("http_target"):
        check_http_target(queue.http_target)


def check_retries(retries: Any) -> None:
    """INVALID_ARGUMENT for a retry configuration that Cloud Tasks does not take."""
    if retries.max_attempts < -1:
        raise invalid("RetryConfig.maxAttempts must be greater or equal to -1.")
    if retries.max_doublings < 0:
        raise invalid("RetryConfig.maxDoublings cannot be negative.")
    for field in _DURATIONS:
        duration = getattr(retries, field)
        if duration.seconds < 0 or duration.nanos < 0:
            raise invalid(f"RetryConfig.{_CAMEL[field]} cannot be negative.")
        if duration.seconds > 315_576_000_000 or duration.nanos > 999_999_999:
            raise invalid(f"RetryConfig.{_CAMEL[field]} is no Duration.")
    if _nanoseconds(retries.min_backoff) > _nanoseconds(retries.max_backoff):
        raise invalid("RetryConfig.minBackoff must be less than or equal to RetryConfig.maxBackoff.")


def complete_retries(retries: Any, explicit: frozenset[str] = frozenset()) -> None:
    """Fill in what is not given; `explicit` are the paths of an update, which may say a zero."""
    if not retries.max_attempts:
        retries.max_attempts = DEFAULT_MAX_ATTEMPTS
    if not retries.max_doublings and "retry_config.max_doublings" not in explicit:
        retries.max_doublings = DEFAULT_MAX_DOUBLINGS
    if not retries.HasField("max_backoff"):
        retries.max_backoff.FromTimedelta(DEFAULT_MAX_BACKOFF)
        if _nanoseconds(retries.min_backoff) > _nanoseconds(retries.max_backoff):
            retries.max_backoff.CopyFrom(retries.min_backoff)
    if not retries.HasField("min_backoff"):
        retries.min_backoff.FromTimedelta(DEFAULT_MIN_BACKOFF)
        if _nanoseconds(retries.min_backoff) > _nanoseconds(retries.max_backoff):
            retries.min_backoff.CopyFrom(retries.max_backoff)


def _take(queue: Any, given: Any, fields: tuple[str, ...]) -> None:
    for field in fields:
        if given.HasField(field):
            getattr(queue, field).CopyFrom(getattr(given, field))


def _complete(queue: Any, explicit: frozenset[str]) -> None:
    rates = queue.rate_limits
    if not rates.max_dispatches_per_second:
        rates.max_dispatches_per_second = DEFAULT_MAX_DISPATCHES_PER_SECOND
    if not rates.max_concurrent_dispatches:
        rates.max_concurrent_dispatches = DEFAULT_MAX_CONCURRENT_DISPATCHES
    rate = rates.max_dispatches_per_second
    rates.max_burst_size = max(1, math.ceil(rate)) if 0 < rate <= _MAX_RATE else 1
    complete_retries(queue.retry_config, explicit)


def _unknown(paths: list[str]) -> list[str]:
    descriptor = protos.Queue.DESCRIPTOR
    return [path for path in paths if not protos.FieldMask(paths=[path]).IsValidForDescriptor(descriptor)]


def _nanoseconds(duration: Any) -> int:
    return int(duration.seconds) * 1_000_000_000 + int(duration.nanos)
