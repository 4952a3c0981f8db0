"""Finding entries by kind, and joining those that belong together."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from operator import itemgetter
from typing import TypeVar

from eventbox.log.entry import LogEntry
from eventbox.log.log_event import LogEvent

L = TypeVar("L", bound=LogEvent)
R = TypeVar("R", bound=LogEvent)
E = TypeVar("E", bound=LogEvent)
Res = TypeVar("Res")


def filter_events_by_kind(entries: Iterable[LogEntry], module_kind: str, kind: str) -> Iterator[LogEntry]:
    """Those of the entries that are of this kind, from a module of this kind, in order."""
    return (
        entry
        for entry in entries
        if entry.kind == kind and entry.module is not None and entry.module[0] == module_kind
    )


def join_events(
    left: Iterable[LogEntry],
    right: Iterable[LogEntry],
    predicate: Callable[[L, R, timedelta], Res | None],
    *,
    left_type: type[L],
    right_type: type[R],
    max_time_distance: timedelta | None = None,
) -> Iterator[Res]:
    """What the predicate makes of each pair of a left event and a right one that was not logged before it.

        join_events(entries, entries, lambda start, end, took: took if start.order == end.order else None,
                    left_type=PaymentStarted, right_type=PaymentReceived)

    Args:
        left, right: entries in any order; those that are no events of the type are left out. One list may be both.
        predicate: is given both events and the time from the left to the right one; pairs for which it returns None
            are left out.
        left_type, right_type: what their events are.
        max_time_distance: pairs farther apart are left out.

    The results come by the left event, then by the right one, in the order of time. Each entry is decoded once. Each
    pair within the time distance is tried, so give one where there are many.

    Raises:
        TypeError, ValueError: `max_time_distance` is no timedelta, or negative.
    """
    if max_time_distance is not None:
        if not isinstance(max_time_distance, timedelta):
            raise TypeError(
                f"max_time_distance must be a timedelta or None, not {type(max_time_distance).__name__}"
            )
        if max_time_distance < timedelta(0):
            raise ValueError(f"max_time_distance must not be negative: {max_time_distance}")
    return _join(_typed(left, left_type), _typed(right, right_type), predicate, max_time_distance)


def _join(
    left: list[tuple[datetime, L]],
    right: list[tuple[datetime, R]],
    predicate: Callable[[L, R, timedelta], Res | None],
    max_time_distance: timedelta | None,
) -> Iterator[Res]:
    times = [at for at, _ in right]
    for left_at, left_event in left:
        begin = bisect_left(times, left_at)
        end = len(times)
        if max_time_distance is not None and times and max_time_distance < times[-1] - left_at:
            end = bisect_right(times, left_at + max_time_distance)
        for right_at, right_event in right[begin:end]:
            result = predicate(left_event, right_event, right_at - left_at)
            if result is not None:
                yield result


def _typed(entries: Iterable[LogEntry], event_type: type[E]) -> list[tuple[datetime, E]]:
    typed = ((entry.logged_at, entry.to_event(event_type)) for entry in entries)
    return sorted(((at, event) for at, event in typed if event is not None), key=itemgetter(0))
