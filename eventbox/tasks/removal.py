"""Removing reminders whose tasks have been created: in the background, many in one RPC."""

from __future__ import annotations

import asyncio
import logging
from typing import Any

from google.api_core.exceptions import GoogleAPICallError

from dsset.wire import Wire

logger = logging.getLogger("eventbox.tasks")

_MAX_WRITES = 500
_TIMEOUT_S = 20.0


class Removal:
    """Deletes documents, one BatchWrite at a time: those that arrive meanwhile go into the next one.

    A deletion that fails is not repeated: the sweeper finds what is left, and finishes it.
    """

    def __init__(self, client: Any) -> None:
        self._client = client
        self._pending: dict[str, Any] = {}  # by the document: a BatchWrite names each once
        self._running: asyncio.Task[None] | None = None

    def add(self, delete: Any) -> None:
        """Carry out this write soon; of several to one document the last. Call it in the event loop."""
        self._pending[delete.delete] = delete
        if self._running is None or self._running.done():
            self._running = asyncio.get_running_loop().create_task(self._run())

    async def flush(self) -> None:
        """Return once all that was added has been tried."""
        while self._running is not None and not self._running.done():
            await asyncio.wait([self._running])

    async def _run(self) -> None:
        while self._pending:
            batch = [self._pending.pop(name) for name in list(self._pending)[:_MAX_WRITES]]
            try:
                await Wire.of(self._client).batch_write(batch, timeout=_TIMEOUT_S)
            except GoogleAPICallError as error:
                logger.warning(
                    "%d reminders, whose tasks have been created, are left to the sweeper: %s",
                    len(batch),
                    error,
                )
