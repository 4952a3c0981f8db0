"""What is asked of an asynchronous function that a user has written."""

from __future__ import annotations

import inspect
from collections.abc import Awaitable
from types import CoroutineType
from typing import TypeVar

T = TypeVar("T")


def check_awaitable(answer: Awaitable[T], source: str) -> Awaitable[T]:
    """What the function gave when it was called; TypeError where that cannot be awaited. `source` names it."""
    if type(answer) is not CoroutineType and not inspect.isawaitable(answer):
        raise TypeError(f"{source} must be asynchronous (async def), but it returned {answer!r:.100}")
    return answer
