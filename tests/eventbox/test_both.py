"""Two things side by side: results, failures and cancellation."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

import pytest

from eventbox.both import both


class Side:
    """A coroutine that waits to be told how to end; `ended` is how it did."""

    def __init__(self) -> None:
        self.begun = asyncio.Event()
        self.told: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self.ended = ""

    async def run(self) -> str:
        self.begun.set()
        try:
            result = await self.told
        except BaseException as error:
            self.ended = type(error).__name__
            raise
        self.ended = "done"
        return result


class Leaving(BaseException):
    """As a KeyboardInterrupt, but asyncio lets it pass as any other."""


@pytest.fixture
async def sides() -> tuple[Side, Side]:
    return Side(), Side()


async def started(sides: tuple[Side, Side]) -> asyncio.Task[tuple[str, str]]:
    running = asyncio.create_task(both(sides[0].run(), sides[1].run()))
    for side in sides:
        await side.begun.wait()
    return running


@pytest.mark.parametrize("first", [0, 1])
async def test_both_results_come_whichever_is_faster(sides: tuple[Side, Side], first: int) -> None:
    running = await started(sides)
    sides[first].told.set_result(f"of {first}")
    await asyncio.sleep(0)
    assert not running.done()
    sides[1 - first].told.set_result(f"of {1 - first}")
    assert await running == ("of 0", "of 1")


@pytest.mark.parametrize("failing", [0, 1])
async def test_where_one_fails_the_other_is_cancelled_and_the_error_raised_as_it_is(
    sides: tuple[Side, Side], failing: int
) -> None:
    running = await started(sides)
    error, cause = ValueError("no"), KeyError("why")
    error.__cause__ = cause
    sides[failing].told.set_exception(error)
    with pytest.raises(ValueError, match="no") as caught:
        await running
    assert caught.value is error
    assert (error.__cause__, error.__context__) == (cause, None)
    assert sides[1 - failing].ended == "CancelledError"


@pytest.mark.parametrize("done", [0, 1])
async def test_a_failure_after_the_other_is_done_is_raised(sides: tuple[Side, Side], done: int) -> None:
    running = await started(sides)
    sides[done].told.set_result("")
    await asyncio.sleep(0)
    sides[1 - done].told.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await running


async def test_where_both_fail_at_once_one_error_is_raised_and_none_is_left_unheard(
    sides: tuple[Side, Side],
) -> None:
    running = await started(sides)
    for side in sides:
        side.told.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await running


@pytest.mark.parametrize("done", [None, 0, 1])
async def test_who_is_cancelled_leaves_neither_under_way(sides: tuple[Side, Side], done: int | None) -> None:
    running = await started(sides)
    if done is not None:
        sides[done].told.set_result("")
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert [side.ended for side in sides] == [
        "done" if number == done else "CancelledError" for number in range(2)
    ]


async def test_a_cancellation_that_comes_with_a_failure_is_not_lost(sides: tuple[Side, Side]) -> None:
    running = await started(sides)
    sides[1].told.set_exception(ValueError("no"))
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert running.cancelled()


async def test_a_failure_is_told_also_by_a_task_that_has_survived_a_cancellation(
    sides: tuple[Side, Side],
) -> None:
    async def survivor(after: Callable[[], Awaitable[Any]]) -> Any:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            return await after()

    task = asyncio.create_task(survivor(lambda: both(sides[0].run(), sides[1].run())))
    await asyncio.sleep(0)
    task.cancel()
    for side in sides:
        await side.begun.wait()
    sides[1].told.set_exception(ValueError("no"))
    with pytest.raises(ValueError, match="no"):
        await task
    assert sides[0].ended == "CancelledError"


async def test_the_first_may_be_anything_that_can_be_awaited(sides: tuple[Side, Side]) -> None:
    sides[1].told.set_result("second")
    first = asyncio.get_running_loop().create_future()
    first.set_result("first")
    assert await both(first, sides[1].run()) == ("first", "second")


async def test_where_the_second_is_cancelled_the_first_is_cancelled_too(sides: tuple[Side, Side]) -> None:
    cancelled = asyncio.get_running_loop().create_future()

    async def second() -> None:
        await cancelled

    running = asyncio.create_task(both(sides[0].run(), second()))
    await sides[0].begun.wait()
    cancelled.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sides[0].ended == "CancelledError"


async def test_a_first_that_goes_on_in_spite_of_a_cancellation_hides_no_failure_and_leaves_none_behind(
    sides: tuple[Side, Side],
) -> None:
    async def stubborn() -> str:
        try:
            return await sides[0].run()
        except asyncio.CancelledError:
            return "all the same"

    async def caller() -> int:
        with pytest.raises(ValueError, match="no"):
            await both(stubborn(), sides[1].run())
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0)  # no cancellation is left to be delivered
        return task.cancelling()

    running = asyncio.create_task(caller())
    await sides[1].begun.wait()
    sides[1].told.set_exception(ValueError("no"))
    assert await running == 0


@pytest.mark.parametrize("stubborn", [0, 1])
async def test_a_cancellation_that_one_keeps_to_itself_is_not_lost(
    sides: tuple[Side, Side], stubborn: int
) -> None:
    async def run(number: int) -> str:
        try:
            return await sides[number].run()
        except asyncio.CancelledError:
            if number != stubborn:
                raise
            return "all the same"

    running = asyncio.create_task(both(run(0), run(1)))
    await sides[1].begun.wait()
    if stubborn == 1:
        sides[0].told.set_result("")
        await asyncio.sleep(0)
    running.cancel()
    with pytest.raises(asyncio.CancelledError):
        await running
    assert sides[1].ended == "CancelledError"


@pytest.mark.parametrize("done", [None, 0])
async def test_who_is_closed_leaves_nothing_under_way(sides: tuple[Side, Side], done: int | None) -> None:
    running = both(sides[0].run(), sides[1].run())
    running.send(None)
    await sides[1].begun.wait()
    if done is not None:
        sides[done].told.set_result("")
        await asyncio.sleep(0)
        running.send(None)
    with suppress(RuntimeError):  # it waits for the second to end
        running.close()
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert sides[1].ended == "CancelledError"


async def test_an_exit_is_not_hidden_by_a_failure(sides: tuple[Side, Side]) -> None:
    async def leaving() -> str:
        try:
            return await sides[0].run()
        except asyncio.CancelledError:
            raise Leaving from None

    async def caller() -> str:
        try:
            await both(leaving(), sides[1].run())
        except Leaving:
            return "left"
        return "stayed"

    running = asyncio.create_task(caller())
    await sides[1].begun.wait()
    sides[1].told.set_exception(ValueError("no"))
    assert await running == "left"


async def test_a_failure_is_no_cancellation_to_whoever_called(sides: tuple[Side, Side]) -> None:
    async def caller() -> int:
        with pytest.raises(ValueError, match="no"):
            async with asyncio.timeout(60):
                await both(sides[0].run(), sides[1].run())
        task = asyncio.current_task()
        assert task is not None
        await asyncio.sleep(0)
        return task.cancelling()

    running = asyncio.create_task(caller())
    await sides[1].begun.wait()
    sides[1].told.set_exception(ValueError("no"))
    assert await running == 0


async def test_a_time_out_around_both_ends_both(sides: tuple[Side, Side]) -> None:
    async def caller() -> None:
        async with asyncio.timeout(0):
            await both(sides[0].run(), sides[1].run())

    with pytest.raises(TimeoutError):
        await caller()
    assert {side.ended for side in sides} <= {"CancelledError", ""}
