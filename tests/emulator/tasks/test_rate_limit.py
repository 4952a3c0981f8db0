"""How fast a queue dispatches: the bucket, the places, and the slow-down."""

from __future__ import annotations

import math
from typing import Any

import pytest
from google.cloud.tasks_v2 import RateLimits

from emulator.tasks.rate_limit import RECOVERY_PER_SECOND, RateLimit


class Queue:
    """A limit on a clock of its own, and whoever dispatches by it."""

    def __init__(self, rate: float = 10, burst: int = 5, concurrent: int = 1_000) -> None:
        self.now = 100.0
        self.limit = RateLimit(limits(rate, burst, concurrent), lambda: self.now)

    def answered(self, status: int | None) -> None:
        """One dispatch, whatever the rate, with this answer."""
        self.limit.force()
        self.limit.release(status)

    def dispatched_within(self, seconds: float) -> int:
        """How many dispatches begin in this time, if each of them asks again when it was told to."""
        end, count = self.now + seconds, 0
        while True:
            wait = self.limit.acquire()
            if not wait:
                count += 1
                self.limit.abandon()
            elif self.now + wait > end:
                self.now = end
                return count
            else:
                self.now += wait


def limits(rate: float = 10, burst: int = 5, concurrent: int = 1_000) -> Any:
    return RateLimits.pb(
        RateLimits(max_dispatches_per_second=rate, max_burst_size=burst, max_concurrent_dispatches=concurrent)
    )


@pytest.mark.parametrize("rate", [0.5, 1, 7, 500])
@pytest.mark.parametrize("burst", [1, 5, 100])
def test_a_queue_dispatches_its_burst_and_then_its_rate(rate: float, burst: int) -> None:
    queue = Queue(rate, burst)
    assert queue.dispatched_within(0) == burst
    assert queue.dispatched_within(20) == pytest.approx(20 * rate, abs=1)


def test_an_idle_queue_saves_no_more_than_its_burst() -> None:
    queue = Queue(rate=10, burst=5)
    queue.dispatched_within(0)
    queue.now += 3_600
    assert queue.dispatched_within(0) == 5


def test_who_asks_too_early_is_told_when_there_is_a_token() -> None:
    queue = Queue(rate=10, burst=1)
    assert queue.limit.acquire() == 0
    assert queue.limit.acquire() == pytest.approx(0.1)
    queue.now += 0.04
    assert queue.limit.acquire() == pytest.approx(0.06)
    queue.now += 0.06
    assert queue.limit.acquire() == 0


def test_a_queue_has_no_more_than_so_many_dispatches_under_way() -> None:
    queue = Queue(rate=500, burst=100, concurrent=3)
    assert [queue.limit.acquire() for _ in range(4)] == [0, 0, 0, math.inf]
    assert queue.limit.running == 3
    queue.limit.release(200)
    assert [queue.limit.acquire() for _ in range(2)] == [0, math.inf]


def test_a_forced_dispatch_takes_a_place_and_no_token() -> None:
    queue = Queue(burst=1, concurrent=2)
    for _ in range(3):
        queue.limit.force()
    assert queue.limit.running == 3
    assert queue.limit.acquire() == math.inf
    queue.limit.release(200)
    queue.limit.abandon()
    assert queue.limit.acquire() == 0


def test_what_ends_must_have_begun() -> None:
    limit = Queue().limit
    for end in (lambda: limit.release(200), limit.abandon):
        with pytest.raises(RuntimeError, match="no dispatch is under way"):
            end()


@pytest.mark.parametrize("status", [429, 503])
def test_an_answer_of_an_overloaded_worker_halves_the_rate_and_the_burst(status: int) -> None:
    queue = Queue(rate=100, burst=40)
    queue.answered(status)
    assert queue.limit.effective_rate == 50
    assert queue.dispatched_within(0) == 20
    assert queue.dispatched_within(1) == pytest.approx(50, abs=2)


def test_many_answers_at_once_halve_the_rate_once_a_second() -> None:
    queue = Queue(rate=100)
    for _ in range(50):
        queue.answered(429)
    assert queue.limit.effective_rate == 50
    queue.now += 1
    queue.answered(503)
    assert queue.limit.effective_rate == pytest.approx(100 * (1 / 2 + 1 / 32) / 2)


def test_the_rate_falls_to_a_32nd_and_no_further_and_all_of_it_comes_back() -> None:
    queue = Queue(rate=100, burst=1)
    for _ in range(30):
        queue.answered(429)
        queue.now += 1
    assert queue.limit.effective_rate == pytest.approx(100 * 2 * RECOVERY_PER_SECOND)
    queue.answered(429)
    assert queue.limit.effective_rate == pytest.approx(100 * RECOVERY_PER_SECOND)
    rates = []
    for _ in range(31):
        queue.now += 1
        rates.append(queue.limit.effective_rate)
    assert rates == sorted(rates)
    assert rates[14] == pytest.approx(50)
    assert rates[-1] == 100


def test_what_is_dispatched_while_the_rate_recovers_is_what_the_rates_add_up_to() -> None:
    queue = Queue(rate=100, burst=1_000)
    queue.dispatched_within(0)
    queue.answered(429)  # 50 a second; the whole again after 16 s
    queue.now += 20
    assert queue.dispatched_within(0) == 1_000
    queue = Queue(rate=100, burst=10_000)
    queue.dispatched_within(0)
    queue.answered(429)
    queue.now += 20
    assert queue.dispatched_within(0) == 16 * 75 + 4 * 100


@pytest.mark.parametrize("status", [500, 404, None])
def test_other_failures_slow_a_queue_down_once_they_are_more_than_half_of_the_recent_answers(
    status: int | None,
) -> None:
    queue = Queue(rate=100)
    for _ in range(9):
        queue.answered(status)
    assert queue.limit.effective_rate == 100  # too few to tell
    queue.answered(status)
    assert queue.limit.effective_rate == 50


def test_a_queue_of_which_half_fails_is_not_slowed_down() -> None:
    queue = Queue(rate=100)
    for _ in range(40):
        queue.answered(200)
        queue.answered(500)
    assert queue.limit.effective_rate == 100
    queue.answered(500)
    assert queue.limit.effective_rate == 50


def test_failures_of_long_ago_and_those_that_many_successes_followed_do_not_count() -> None:
    queue = Queue(rate=100)
    for _ in range(9):
        queue.answered(500)
    queue.now += 10
    queue.answered(500)
    assert queue.limit.effective_rate == 100
    for _ in range(8):
        queue.answered(500)
    for _ in range(20):
        queue.answered(200)
    queue.answered(500)
    assert queue.limit.effective_rate == 100


def test_the_latest_twenty_answers_tell() -> None:
    queue = Queue(rate=100)
    for _ in range(30):
        queue.answered(500)
    assert queue.limit.effective_rate == 50
    queue.now += 2
    for _ in range(12):
        queue.answered(200)
    queue.answered(500)
    assert queue.limit.effective_rate > 50


def test_a_success_leaves_the_rate_of_a_failing_queue_alone() -> None:
    queue = Queue(rate=100)
    for _ in range(20):
        queue.answered(500)
    queue.now += 2
    before = queue.limit.effective_rate
    queue.answered(200)
    assert queue.limit.effective_rate == before


def test_a_dispatch_that_came_to_nothing_here_says_nothing_of_the_worker() -> None:
    queue = Queue(rate=100)
    for _ in range(50):
        queue.limit.force()
        queue.limit.abandon()
    assert queue.limit.effective_rate == 100


def test_limits_change_under_way_and_keep_what_is_under_way_and_the_slow_down() -> None:
    queue = Queue(rate=100, burst=50, concurrent=10)
    assert queue.limit.acquire() == 0
    queue.answered(429)
    queue.limit.configure(limits(rate=10, burst=4, concurrent=1))
    assert (queue.limit.running, queue.limit.effective_rate) == (1, 5)
    assert queue.limit.acquire() == math.inf
    queue.limit.release(200)
    assert queue.dispatched_within(0) == 2


def test_the_time_before_a_change_counts_at_the_rate_that_there_was() -> None:
    queue = Queue(rate=1, burst=1)
    assert queue.dispatched_within(0.5) == 1
    queue.now += 0.25
    queue.limit.configure(limits(rate=100, burst=100))
    assert queue.dispatched_within(0) == 0
    assert queue.dispatched_within(0.1) == 10


def test_what_the_limits_leave_out_is_as_cloud_tasks_picks_it() -> None:
    limit = RateLimit(RateLimits.pb(RateLimits()), lambda: 0.0)
    assert limit.effective_rate == 500
    assert [limit.acquire() for _ in range(501)] == [0] * 500 + [pytest.approx(1 / 500)]
    limit = RateLimit(RateLimits.pb(RateLimits(max_burst_size=2_000)), lambda: 0.0)
    assert [limit.acquire() for _ in range(1_001)] == [0] * 1_000 + [math.inf]
