"""Filtering by kind, and joining pairs by time and predicate."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, strategies as st

from eventbox.log import LogEntry, LogEvent, filter_events_by_kind, join_events

AT = datetime(2030, 1, 1, tzinfo=UTC)
SECOND = timedelta(seconds=1)


class Started(LogEvent):
    kind = "started"
    order: int


class Ended(LogEvent):
    kind = "ended"
    module = "ledger"
    order: int


def started(order: int, second: int) -> LogEntry:
    return LogEntry(0, "started", None, AT + second * SECOND, b'{"order": %d}' % order)


def ended(order: int, second: int) -> LogEntry:
    return LogEntry(0, "ended", ("ledger", 1), AT + second * SECOND, b'{"order": %d}' % order)


def same(left: Started, right: Ended, distance: timedelta) -> tuple[int, timedelta] | None:
    return (left.order, distance) if left.order == right.order else None


def joined(
    left: Sequence[LogEntry], right: Sequence[LogEntry], max_time_distance: timedelta | None = None
) -> list[tuple[int, timedelta]]:
    return list(
        join_events(
            left, right, same, left_type=Started, right_type=Ended, max_time_distance=max_time_distance
        )
    )


def test_entries_are_filtered_by_the_kinds_of_event_and_module() -> None:
    entries = [
        ended(1, 0),
        LogEntry(1, "ended", None, AT, b""),
        LogEntry(2, "ended", ("bank", 1), AT, b""),
        LogEntry(3, "begun", ("ledger", 1), AT, b""),
        LogEntry(4, "ended", ("ledger", 2), AT, b""),
    ]
    assert list(filter_events_by_kind(entries, "ledger", "ended")) == [entries[0], entries[4]]
    assert list(filter_events_by_kind(iter([]), "ledger", "ended")) == []


def test_pairs_that_the_predicate_takes_are_joined() -> None:
    left = [started(1, 0), started(2, 1)]
    right = [ended(2, 4), ended(1, 3)]
    assert joined(left, right) == [(1, 3 * SECOND), (2, 3 * SECOND)]


def test_an_event_that_was_logged_before_is_no_end_of_it_but_one_of_the_same_moment_is() -> None:
    assert joined([started(1, 5)], [ended(1, 4)]) == []
    assert joined([started(1, 5)], [ended(1, 5)]) == [(1, timedelta(0))]


def test_pairs_farther_apart_than_the_time_distance_are_left_out() -> None:
    left, right = [started(1, 0)], [ended(1, 10), ended(1, 11), ended(1, 12)]
    assert joined(left, right, 11 * SECOND) == [(1, 10 * SECOND), (1, 11 * SECOND)]
    assert joined(left, right, timedelta(0)) == []
    assert len(joined(left, right, timedelta.max)) == 3


def test_one_list_may_be_both_sides_and_what_is_of_another_type_is_left_out() -> None:
    entries = [started(1, 0), ended(1, 1), LogEntry(0, "ended", ("ledger", 1), AT, b"not JSON")]
    assert joined(entries, entries) == [(1, SECOND)]


def test_a_result_that_is_false_but_not_none_counts() -> None:
    results = join_events([started(1, 0)], [ended(1, 1)], lambda *_: 0, left_type=Started, right_type=Ended)
    assert list(results) == [0]


def test_a_bad_time_distance_is_refused_before_the_first_result_is_asked_for() -> None:
    with pytest.raises(ValueError, match="negative"):
        join_events([], [], same, left_type=Started, right_type=Ended, max_time_distance=-SECOND)
    with pytest.raises(TypeError, match="timedelta"):
        join_events([], [], same, left_type=Started, right_type=Ended, max_time_distance=1)  # type: ignore[arg-type]


PAIRS = st.lists(st.tuples(st.integers(0, 3), st.integers(0, 20)), max_size=12)


@given(PAIRS, PAIRS, st.none() | st.integers(0, 20))
def test_it_is_the_cross_product_filtered(
    lefts: list[tuple[int, int]], rights: list[tuple[int, int]], distance: int | None
) -> None:
    expected = [
        (left[0], (right[1] - left[1]) * SECOND)
        for left, right in itertools.product(lefts, rights)
        if left[0] == right[0]
        and right[1] >= left[1]
        and (distance is None or right[1] - left[1] <= distance)
    ]
    found = joined(
        [started(*left) for left in lefts],
        [ended(*right) for right in rights],
        None if distance is None else distance * SECOND,
    )
    assert sorted(found) == sorted(expected)
