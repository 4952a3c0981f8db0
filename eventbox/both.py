"""`both`: two things side by side, of which neither is left under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def both(first: Awaitable[A], second: Coroutine[Any, Any, B]) -> tuple[A, B]:
    """Both results; where one fails, the other is cancelled and the error raised as it is.

    The first begins at once, and in the caller's own task and context: a task of its own would take longer to come back
    from. So where the second fails meanwhile, this task is cancelled, as `asyncio.timeout` does it.
    """
    me = asyncio.current_task()
    assert me is not None
    cancelled_before = me.cancelling()
    waits, failed = True, False

    def tell(other: asyncio.Task[B]) -> None:
        nonlocal failed
        if waits and (other.cancelled() or other.exception() is not None):
            failed = True
            me.cancel()

    def is_cancelled() -> bool:
        """Whether somebody else has cancelled this task, even where that was kept from us."""
        return me.cancelling() > cancelled_before

    other = asyncio.create_task(second)
    other.add_done_callback(tell)
    try:
        try:
            one = await first
        finally:
            waits = False
            if failed:
                me.uncancel()
        if is_cancelled():
            raise asyncio.CancelledError
        two = await other
        if is_cancelled():
            raise asyncio.CancelledError
        return one, two
    except BaseException as error:
        if not failed or is_cancelled() or not isinstance(error, Exception | asyncio.CancelledError):
            other.cancel()
            await asyncio.gather(other, return_exceptions=True)
            raise
    failure = other.exception()  # a CancelledError is raised right here
    assert failure is not None
    raise failure
