"""Listings that are under way before they are needed: in which order, how many, and that none is left behind."""

from __future__ import annotations

import asyncio
import gc
import weakref
from datetime import UTC, datetime
from typing import Any

import pytest

from dsset.items import ListedItem, Listing
from eventbox.listing_ahead import Cursor, ListingAhead

NOW = datetime(2030, 1, 1, tzinfo=UTC)


class Inbox:
    """Listings of which each arrives when a test says so; `asked` are the cursors of all that were begun."""

    def __init__(self, *, size: int = 1, last: int = 99) -> None:
        self.asked: list[Cursor] = []
        self.arrivals: list[asyncio.Future[None]] = []
        self._size = size
        self._last = last

    async def list_behind(self, after: Cursor) -> Listing:
        number = len(self.asked)
        self.asked.append(after)
        arrival: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.arrivals.append(arrival)
        await arrival
        item = ListedItem(str(number), b"x" * self._size)
        return Listing((item,), NOW, complete=number == self._last, cursor=(0, str(number)))

    async def arrive(self, number: int, error: Exception | None = None) -> None:
        if error is None:
            self.arrivals[number].set_result(None)
        else:
            self.arrivals[number].set_exception(error)
        await turns()


async def turns() -> None:
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_is_listed_ahead_until_it_is_told_to_go_on() -> None:
    inbox = Inbox()
    ahead = ListingAhead(inbox.list_behind, (0, "begin"))
    await turns()
    await inbox.arrive(0)
    assert inbox.asked == [(0, "begin")]
    listing, behind = await ahead.take()
    assert (listing.items[0].id, behind) == ("0", None)


@pytest.mark.parametrize("first", ["go on", "arrive"])
async def test_the_second_begins_behind_the_first_once_that_has_arrived(first: str) -> None:
    inbox = Inbox()
    ahead = ListingAhead(inbox.list_behind, (0, "begin"))
    await turns()
    for step in (first, "arrive" if first == "go on" else "go on"):
        assert len(inbox.asked) == 1
        if step == "go on":
            ahead.go_on()
        else:
            await inbox.arrive(0)
    await turns()
    assert inbox.asked == [(0, "begin"), (0, "0")]
    await inbox.arrive(1)
    assert len(inbox.asked) == 2  # two are the most
    ahead.go_on()
    await turns()
    assert len(inbox.asked) == 2
    _, behind = await ahead.take()
    assert behind is not None
    behind.go_on()
    await turns()
    assert inbox.asked[2:] == [(0, "1")]
    await behind.discard()


@pytest.mark.parametrize("inbox", [Inbox(last=0), Inbox(size=5 * 1024 * 1024)], ids=["complete", "large"])
async def test_none_begins_behind_a_listing_that_is_complete_or_large(inbox: Inbox) -> None:
    ahead = ListingAhead(inbox.list_behind, None)
    ahead.go_on()
    await turns()
    await inbox.arrive(0)
    assert (await ahead.take())[1] is None
    assert len(inbox.asked) == 1


@pytest.mark.parametrize("arrived", [0, 1, 2])
async def test_what_is_discarded_leaves_no_task(arrived: int) -> None:
    inbox = Inbox()
    ahead = ListingAhead(inbox.list_behind, None)
    ahead.go_on()
    await turns()
    for number in range(arrived):
        await inbox.arrive(number)
    await ahead.discard()
    assert len(asyncio.all_tasks()) == 1


async def test_the_second_is_discarded_though_it_has_failed() -> None:
    inbox = Inbox()
    ahead = ListingAhead(inbox.list_behind, None)
    ahead.go_on()
    await turns()
    await inbox.arrive(0)
    await inbox.arrive(1, RuntimeError("no answer"))
    await ahead.discard()  # or its error would be reported as one that nobody has asked for
    assert len(asyncio.all_tasks()) == 1


async def test_a_first_one_that_fails_tells_whoever_takes_it() -> None:
    inbox = Inbox()
    ahead = ListingAhead(inbox.list_behind, None)
    ahead.go_on()
    await turns()
    await inbox.arrive(0, RuntimeError("no answer"))
    ahead.go_on()
    with pytest.raises(RuntimeError, match="no answer"):
        await ahead.take()
    assert len(inbox.asked) == 1


async def test_whoever_is_cancelled_while_it_takes_one_leaves_no_task() -> None:
    inbox = Inbox()
    ahead = ListingAhead(inbox.list_behind, None)
    ahead.go_on()
    # in the very turn in which the first has arrived, and the second begun
    ahead._task.add_done_callback(lambda _: taking.cancel())
    taking = asyncio.create_task(ahead.take())
    await turns()
    await inbox.arrive(0)
    with pytest.raises(asyncio.CancelledError):
        await taking
    assert ahead._next is not None
    assert len(asyncio.all_tasks()) == 1


async def test_a_cancellation_while_one_is_given_up_is_not_swallowed() -> None:
    ending, ended = asyncio.Event(), asyncio.Event()

    async def list_slowly(after: Cursor) -> Any:
        try:
            await asyncio.Event().wait()
        finally:
            ending.set()
            await ended.wait()

    ahead = ListingAhead(list_slowly, None)
    await asyncio.sleep(0)
    discarding = asyncio.create_task(ahead.discard())
    await ending.wait()
    discarding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await discarding
    ended.set()
    await turns()


async def test_whoever_is_cancelled_while_it_gives_up_two_ends_both() -> None:
    inbox = Inbox()
    ahead = ListingAhead(inbox.list_behind, None)
    ahead.go_on()
    await turns()
    await inbox.arrive(0)
    discarding = asyncio.create_task(ahead.discard())
    await asyncio.sleep(0)
    discarding.cancel()
    with pytest.raises(asyncio.CancelledError):
        await discarding
    await turns()
    assert len(asyncio.all_tasks()) == 1


async def test_what_was_taken_keeps_nothing_that_came_behind_it_in_memory() -> None:
    inbox = Inbox()
    ahead = ListingAhead(inbox.list_behind, None)
    ahead.go_on()
    await turns()
    await inbox.arrive(0)
    _, behind = await ahead.take()
    assert behind is not None
    await behind.discard()
    second = weakref.ref(behind)
    del behind
    gc.collect()
    assert second() is None
