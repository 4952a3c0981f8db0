"""Ending tasks, so that none is left behind."""

from __future__ import annotations

import asyncio
from typing import Any


async def end(*tasks: asyncio.Future[Any]) -> None:
    """Cancel the tasks and return when all have ended; what they raise meanwhile is dropped.

    Whoever is cancelled in here waits for them all the same, and is cancelled then.
    """
    for task in tasks:
        task.cancel()
    cancelled: asyncio.CancelledError | None = None
    while pending := [task for task in tasks if not task.done()]:
        try:
            await asyncio.wait(pending)
        except asyncio.CancelledError as error:
            cancelled = error
    for task in tasks:
        if not task.cancelled():
            task.exception()  # marks it as seen
    if cancelled is not None:
        raise cancelled
