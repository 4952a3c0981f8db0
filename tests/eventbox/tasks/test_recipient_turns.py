"""One run of a recipient at a time, so many recipients at once, and in the order in which they came."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from datetime import UTC, datetime, timedelta

import pytest

from eventbox.tasks.recipient_turns import NoTurnError, RecipientTurns

NOW = datetime(2030, 1, 1, tzinfo=UTC)
LONG_S = 60.0


async def settle() -> None:
    for _ in range(20):
        await asyncio.sleep(0)


async def test_runs_of_one_recipient_come_one_after_the_other_in_order() -> None:
    turns, order, at_once = RecipientTurns(10), [], 0

    async def run(number: int) -> None:
        nonlocal at_once
        async with turns.turn("a", patience_s=LONG_S):
            at_once += 1
            assert at_once == 1
            await asyncio.sleep(0)
            order.append(number)
            at_once -= 1

    await asyncio.gather(*(run(number) for number in range(20)))

    assert order == list(range(20))
    assert not len(turns)


async def test_recipients_run_side_by_side_up_to_the_bound() -> None:
    turns, at_once, most = RecipientTurns(3), 0, 0

    async def run(name: str) -> None:
        nonlocal at_once, most
        async with turns.turn(name, patience_s=LONG_S):
            at_once += 1
            most = max(most, at_once)
            await settle()
            at_once -= 1

    await asyncio.gather(*(run(f"r{number}") for number in range(10)))

    assert most == 3


async def test_who_waits_for_a_recipient_keeps_no_other_from_its_turn() -> None:
    turns = RecipientTurns(2)
    async with turns.turn("busy", patience_s=LONG_S):
        waiting = [asyncio.ensure_future(enter(turns, "busy")) for _ in range(5)]
        await settle()

        async with turns.turn("free", patience_s=0.001):
            pass
    await asyncio.gather(*waiting)


async def enter(turns: RecipientTurns, name: str) -> bool:
    """Whether the turn's work had been done already; if not, do it."""
    async with turns.turn(name, patience_s=LONG_S) as turn:
        if turn.is_settled(NOW):
            return True
        turn.settle(NOW)
        return False


async def test_those_that_came_during_a_run_share_the_next_one() -> None:
    turns = RecipientTurns(2)
    async with turns.turn("a", patience_s=LONG_S) as first:
        assert not first.is_settled(NOW)
        waiting = [asyncio.ensure_future(enter(turns, "a")) for _ in range(5)]
        await settle()
        first.settle(NOW)

    assert await asyncio.gather(*waiting) == [False, True, True, True, True]


async def test_a_run_that_looked_less_far_ahead_has_not_done_the_work() -> None:
    turns = RecipientTurns(2)

    async def look(until: datetime) -> bool:
        async with turns.turn("a", patience_s=LONG_S) as turn:
            done = turn.is_settled(until)
            turn.settle(until)
            return done

    async with turns.turn("a", patience_s=LONG_S):
        waiting = [asyncio.ensure_future(look(NOW + timedelta(seconds=second))) for second in (0, 1, 0)]
        await settle()

    assert await asyncio.gather(*waiting) == [False, False, True]


async def test_a_run_that_failed_has_not_done_the_work_of_others() -> None:
    turns = RecipientTurns(2)

    async def fail() -> None:
        async with turns.turn("a", patience_s=LONG_S):
            raise KeyError

    async with turns.turn("a", patience_s=LONG_S):
        waiting = [asyncio.ensure_future(fail()), asyncio.ensure_future(enter(turns, "a"))]
        await settle()
    failed, entered = await asyncio.gather(*waiting, return_exceptions=True)

    assert isinstance(failed, KeyError)
    assert entered is False


async def test_patience_has_an_end_and_leaves_nothing_behind() -> None:
    turns = RecipientTurns(1)
    async with turns.turn("a", patience_s=LONG_S):
        for name in ("a", "b"):  # its line, and the bound
            with pytest.raises(NoTurnError):
                async with turns.turn(name, patience_s=0.0):
                    pass
        with pytest.raises(NoTurnError):
            async with turns.any_turn(patience_s=0.0):
                pass

    async with AsyncExitStack() as stack:
        await stack.enter_async_context(turns.turn("a", patience_s=LONG_S))
    assert not len(turns)


async def test_a_time_out_of_the_run_itself_is_not_taken_for_lost_patience() -> None:
    with pytest.raises(TimeoutError):
        async with RecipientTurns(1).turn("a", patience_s=LONG_S):
            raise TimeoutError


async def test_who_is_cancelled_while_waiting_is_passed_over() -> None:
    turns = RecipientTurns(1)
    async with turns.turn("a", patience_s=LONG_S):
        cancelled, patient = (asyncio.ensure_future(enter(turns, "a")) for _ in range(2))
        await settle()
        cancelled.cancel()
        await settle()

    assert await patient is False
    assert cancelled.cancelled()
    assert not len(turns)
