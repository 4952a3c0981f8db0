"""`both`: two things side by side, of which neither is left under way."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Coroutine
from typing import Any, TypeVar

A = TypeVar("A")
B = TypeVar("B")


async def both(first: Coroutine[Any, Any, A], second: Awaitable[B]) -> tuple[A, B]:
    """Both results; where one fails, the other is cancelled and the error raised as it is."""
    tasks = asyncio.create_task(first), asyncio.ensure_future(second)
    try:
        return await asyncio.gather(*tasks)
    except BaseException:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        raise
