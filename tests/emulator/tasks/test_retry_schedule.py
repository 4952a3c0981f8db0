"""Retries, as Cloud Tasks' documentation has them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.tasks_v2 import RetryConfig

from emulator.tasks.retry_schedule import RetrySchedule

START = datetime(2030, 1, 1, tzinfo=UTC)


def seconds(number: float) -> timedelta:
    return timedelta(seconds=number)


def schedule(**config: Any) -> RetrySchedule:
    """A schedule of this configuration, whose durations are in seconds."""
    for field in ("max_retry_duration", "min_backoff", "max_backoff"):
        if field in config:
            config[field] = seconds(config[field])
    return RetrySchedule(RetryConfig.pb(RetryConfig(**config)))


@pytest.mark.parametrize(
    ("minimum", "maximum", "doublings", "expected"),
    [
        # the examples of RetryConfig and of queue.yaml
        (10, 300, 3, [10, 20, 40, 80, 160, 240, 300, 300, 300]),
        (10, 200, 0, [10, 20, 30, 40, 50, 60, 70]),
        (0.1, 3600, 16, [0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4]),
        (10, 300, 1, [10, 20, 40, 60, 80, 100]),
        (10, 25, 5, [10, 20, 25, 25]),
        (30, 10, 5, [10, 10, 10]),  # a minimum over the maximum is the maximum
        (5, 5, 0, [5, 5, 5]),
        (0, 300, 3, [0, 0, 0, 0, 0, 0]),
    ],
)
def test_the_interval_doubles_then_grows_by_what_it_had_come_to_then_stays(
    minimum: float, maximum: float, doublings: int, expected: list[float]
) -> None:
    retries = schedule(min_backoff=minimum, max_backoff=maximum, max_doublings=doublings, max_attempts=-1)
    found = [retries.backoff(attempts) for attempts in range(1, len(expected) + 1)]
    assert found == [seconds(one) for one in expected]


@pytest.mark.parametrize("doublings", [0, 16, 10**9])
def test_a_task_that_failed_a_billion_times_waits_no_longer_than_the_maximum(doublings: int) -> None:
    retries = schedule(min_backoff=0.1, max_backoff=3600, max_doublings=doublings)
    assert retries.backoff(10**9) == seconds(3600)
    assert schedule(min_backoff=0, max_doublings=doublings).backoff(10**9) == timedelta(0)


def test_the_largest_durations_that_there_are_overflow_nothing() -> None:
    largest = timedelta.max.total_seconds() // 2
    retries = schedule(min_backoff=largest, max_backoff=largest, max_doublings=16)
    assert retries.backoff(100) > timedelta(days=31)


@pytest.mark.parametrize(
    ("config", "attempts", "age", "goes_on"),
    [
        # attempts alone
        ({"max_attempts": 3}, 2, 10**6, True),
        ({"max_attempts": 3}, 3, 0, False),
        ({"max_attempts": 1}, 1, 0, False),
        # both: only when both are reached
        ({"max_attempts": 3, "max_retry_duration": 60}, 3, 59, True),
        ({"max_attempts": 3, "max_retry_duration": 60}, 2, 61, True),
        ({"max_attempts": 3, "max_retry_duration": 60}, 3, 60, False),
        ({"max_attempts": 3, "max_retry_duration": 60}, 9, 60, False),
        # the duration alone
        ({"max_attempts": -1, "max_retry_duration": 60}, 10**6, 59, True),
        ({"max_attempts": -1, "max_retry_duration": 60}, 1, 60, False),
        # neither
        ({"max_attempts": -1, "max_retry_duration": 0}, 10**6, 10**6, True),
        ({"max_attempts": -1}, 10**6, 10**6, True),
        # whole seconds: less than one is none, which is unlimited
        ({"max_attempts": -1, "max_retry_duration": 60.9}, 1, 60, False),
        ({"max_attempts": 2, "max_retry_duration": 0.9}, 2, 0, False),
        # what Cloud Tasks picks
        ({}, 99, 10**6, True),
        ({}, 100, 0, False),
    ],
)
def test_retrying_ends_when_attempts_and_duration_are_both_used_up(
    config: dict[str, Any], attempts: int, age: float, goes_on: bool
) -> None:
    found = schedule(**config).next(attempts, START, START + seconds(age))
    assert (found is not None) == goes_on


def test_backoffs_are_cut_to_whole_seconds_unless_they_are_below_one() -> None:
    assert schedule(min_backoff=1.9, max_backoff=9.9).backoff(1) == seconds(1)
    assert schedule(min_backoff=20, max_backoff=9.9).backoff(1) == seconds(9)
    assert schedule(min_backoff=0.25, max_backoff=9.9).backoff(1) == seconds(0.25)


def test_what_the_configuration_leaves_out_is_as_cloud_tasks_picks_it() -> None:
    retries = schedule(max_doublings=16)
    assert retries.backoff(1) == seconds(0.1)
    assert retries.backoff(100) == seconds(3600)


def test_the_next_attempt_is_a_backoff_after_the_failure_and_not_before_what_the_answer_asked_for() -> None:
    retries = schedule(min_backoff=10, max_backoff=300, max_doublings=3)
    failed = START + seconds(7)
    assert retries.next(2, START, failed) == failed + seconds(20)
    assert retries.next(2, START, failed, retry_after=seconds(5)) == failed + seconds(20)
    assert retries.next(2, START, failed, retry_after=seconds(500)) == failed + seconds(500)
    assert schedule(max_attempts=1).next(1, START, failed, retry_after=seconds(5)) is None


@pytest.mark.parametrize("attempts", [0, -1])
def test_a_task_that_never_failed_has_no_backoff(attempts: int) -> None:
    with pytest.raises(ValueError, match="at least 1"):
        schedule().backoff(attempts)


@pytest.mark.parametrize(
    ("config", "attempts", "wait"),
    [
        ({"max_attempts": 5}, 1, 0),
        ({"max_attempts": 5}, 4, 0),
        ({"max_attempts": 5, "max_retry_duration": 60}, 4, 0),
        ({"max_attempts": 5, "max_retry_duration": 60}, 5, 0.1),
        ({"max_attempts": -1}, 1, 0.1),
        ({"max_attempts": -1, "max_retry_duration": 60}, 1, 0.1),
    ],
)
def test_a_backoff_of_zero_is_a_retry_at_once_only_where_their_number_is_bounded(
    config: dict[str, Any], attempts: int, wait: float
) -> None:
    found = schedule(min_backoff=0, max_backoff=0, **config).next(attempts, START, START)
    assert found == START + seconds(wait)
