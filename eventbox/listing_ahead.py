"""`ListingAhead`: what a drain lists before it needs it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import Context, copy_context
from typing import TypeAlias

from dsset import Listing

Cursor: TypeAlias = tuple[int, str] | None

_MAX_BYTES = 4 * 1024 * 1024
"""Of events that are in hand while the next ones are listed: of larger ones two batches are enough in memory."""


class ListingAhead:
    """The listing for the next batch, under way, and behind it the one for the batch after that.

    The latter begins when the former has arrived, though the batch of that may have to wait for a commit: so batches of
    a backlog wait for their commits alone, unless listings take longer than those.

    Either it is taken, or `discard` must be called: a task is under way.

    Args:
        list_behind: lists what lies behind a cursor.
        after: where the first begins.
    """

    def __init__(self, list_behind: Callable[[Cursor], Awaitable[Listing]], after: Cursor) -> None:
        self._list_behind = list_behind
        # of the batch that wants the one behind, which is part of its trace
        self._going_on: Context | None = None
        self._next: ListingAhead | None = None
        self._task = asyncio.create_task(self._list(after))

    def go_on(self) -> None:
        """List for the batch after the next, too, as soon as the next one's listing has arrived."""
        self._going_on = copy_context()
        if self._task.done() and not self._task.cancelled() and self._task.exception() is None:
            self._begin_next(self._task.result())

    async def take(self) -> tuple[Listing, ListingAhead | None]:
        """The listing, and the one for the batch after that, where it is under way. Cancelled, it discards both."""
        if self._going_on is not None:
            self._going_on = copy_context()  # the batch that went on has ended
        try:
            listing = await self._task
        except asyncio.CancelledError:
            await self.discard()
            raise
        behind, self._next = self._next, None  # or the first one taken would keep all others in memory
        return listing, behind

    async def discard(self) -> None:
        """End what nobody wants any more, whatever became of it."""
        tasks = []
        one: ListingAhead | None = self
        while one is not None:  # all of them before any wait, in which we may be cancelled
            one._going_on = None
            one._task.cancel()
            one._task.add_done_callback(_hear)
            tasks.append(one._task)
            one = one._next
        # not the tasks themselves: whoever cancels us in here must not be mistaken for them
        await asyncio.wait(tasks)

    async def _list(self, after: Cursor) -> Listing:
        listing = await self._list_behind(after)
        self._begin_next(listing)
        return listing

    def _begin_next(self, listing: Listing) -> None:
        if self._going_on is None or self._next is not None or listing.complete:
            return
        if sum(len(item.value) for item in listing.items) <= _MAX_BYTES:
            self._next = self._going_on.run(ListingAhead, self._list_behind, listing.cursor)


def _hear(task: asyncio.Task[Listing]) -> None:
    """Ask for its error, which nobody else does: or it would be reported."""
    if not task.cancelled():
        task.exception()
