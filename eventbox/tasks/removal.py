"""Removing reminders whose tasks have been created: in the background, many in one RPC."""

from __future__ import annotations

import asyncio
import logging
from contextvars import Context
from typing import Any

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
        self._added = self._tried = 0
        self._progress: asyncio.Event | None = None  # what those who wait for it hear next
        self._running: asyncio.Task[None] | None = None

    def add(self, delete: Any) -> None:
        """Carry out this write soon; of several to one document the last. Call it in the event loop."""
        if delete.delete not in self._pending:
            self._added += 1
        self._pending[delete.delete] = delete
        if not self._is_running:
            # a context of its own: it belongs to none of those whose reminders it deletes
            self._running = asyncio.get_running_loop().create_task(self._run(), context=Context())

    async def flush(self) -> None:
        """Return once all that was added so far has been tried, whatever is added meanwhile."""
        wanted = self._added
        while self._tried < wanted and self._is_running:
            assert self._running is not None
            if self._progress is None:
                self._progress = asyncio.Event()
            heard = asyncio.ensure_future(self._progress.wait())
            try:
                await asyncio.wait([self._running, heard], return_when=asyncio.FIRST_COMPLETED)
            finally:
                heard.cancel()

    @property
    def _is_running(self) -> bool:
        """Whether deletions are under way in this event loop; one that has ended may have left them in the middle."""
        running = self._running
        return running is not None and not running.done() and running.get_loop() is asyncio.get_running_loop()

    async def _run(self) -> None:
        while self._pending:
            batch = [self._pending.pop(name) for name in list(self._pending)[:_MAX_WRITES]]
            try:
                await Wire.of(self._client).batch_write(batch, timeout=_TIMEOUT_S)
            except Exception as error:  # whatever it is: what comes after these is deleted all the same
                logger.warning(
                    "%d reminders, whose tasks have been created, are left to the sweeper: %s",
                    len(batch),
                    error,
                )
            finally:
                self._tried += len(batch)
                if self._progress is not None:
                    self._progress.set()
                    self._progress = None
