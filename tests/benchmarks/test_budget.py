"""A benchmark that is to be quick ends in time, on a busy machine too."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

from benchmarks.contest import Budget, medians


async def test_after_its_time_one_turn_counts_and_no_more() -> None:
    done = 0

    async def work() -> None:
        nonlocal done
        done += 1

    async def prepare(turn: int) -> Callable[[], Awaitable[None]]:
        return work

    await medians({"one": prepare}, 100, until=time.monotonic() - 1)
    assert done == 2  # the first warms up


def test_a_setting_may_take_an_even_share_of_what_is_left() -> None:
    budget = Budget(1_000.0, 2)
    first, second = budget.next(), budget.next()
    assert first is not None
    assert second is not None
    assert 490 < second - first < 510  # the first took no time, so the second has all the rest


def test_without_a_bound_there_is_none() -> None:
    assert Budget(None, 3).next() is None
