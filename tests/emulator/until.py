"""Waiting for what the event loop brings about."""

from __future__ import annotations

import asyncio
from collections.abc import Callable


async def until(condition: Callable[[], object]) -> None:
    """Let the loop go on until something has happened; the test's timeout is the limit."""
    while not condition():  # noqa: ASYNC110 - what happens is nobody's to tell
        await asyncio.sleep(0)
