"""Statistics of pairs: sorted, combined, percentiles by rank."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given, strategies as st

from eventbox.log import PairStatistics


def ms(*values: int) -> list[timedelta]:
    return [timedelta(milliseconds=value) for value in values]


def test_everything_is_sorted() -> None:
    statistics = PairStatistics(ms(3, 1, 2), ms(9, 8), [30, 10, 20])
    assert statistics.latencies == ms(1, 2, 3)
    assert statistics.failure_latencies == ms(8, 9)
    assert statistics.amounts == [10, 20, 30]
    assert (statistics.successes, statistics.failures, statistics.success_rate) == (3, 2, 0.6)


def test_it_is_made_of_pairs() -> None:
    successes = zip(ms(3, 1), [5, 7], strict=True)
    assert PairStatistics.of(iter(successes), iter(ms(4))) == PairStatistics(ms(1, 3), ms(4), [5, 7])


def test_combining_has_both_and_changes_neither() -> None:
    first, second = PairStatistics(ms(1, 5), ms(2), [1]), PairStatistics(ms(3), ms(1), [0, 9])
    assert first.combine(second) == PairStatistics(ms(1, 3, 5), ms(1, 2), [0, 1, 9])
    assert first == PairStatistics(ms(1, 5), ms(2), [1])
    assert first.combine(PairStatistics()) == first


@pytest.mark.parametrize(
    ("p", "expected"), [(0, 1), (1, 1), (50, 50), (50.5, 51), (55, 55), (99, 99), (99.9, 100), (100, 100)]
)
def test_a_percentile_is_the_shortest_that_so_many_do_not_exceed(p: float, expected: int) -> None:
    assert PairStatistics(ms(*range(1, 101))).percentile(p) == timedelta(milliseconds=expected)


def test_without_any_there_is_no_percentile_and_no_rate() -> None:
    empty = PairStatistics()
    assert (empty.percentile(50), empty.failure_percentile(50), empty.success_rate) == (None, None, None)


@pytest.mark.parametrize("p", [-1, 101, float("nan")])
def test_a_percentile_is_within_0_to_100(p: float) -> None:
    with pytest.raises(ValueError, match="0 to 100"):
        PairStatistics(ms(1)).percentile(p)


@given(st.lists(st.integers(0, 1_000), min_size=1), st.floats(0, 100))
def test_at_least_so_many_are_no_longer(values: list[int], p: float) -> None:
    statistics = PairStatistics(ms(*values), ms(*values))
    found = statistics.percentile(p)
    assert found is not None
    assert found == statistics.failure_percentile(p)
    not_longer = sum(latency <= found for latency in statistics.latencies)
    assert not_longer / len(values) * 100 >= p - 1e-6
    shorter = sum(latency < found for latency in statistics.latencies)
    assert shorter / len(values) * 100 <= p + 1e-6
