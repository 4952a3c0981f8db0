"""`GroupWriter`: writes the events of many blocks together, as they come."""

from __future__ import annotations

import asyncio
from collections import defaultdict
from collections.abc import Sequence
from typing import cast

from eventbox import NewEvent, Recipient, Transaction
from eventbox.demo.history_events import KIND, LOG, AddressedEvent
from eventbox.log import EventLog, NewLogEntry
from eventbox.sources import Pointer
from eventbox.tasks import TaskQueue

_SENDERS = 16
_AT_ONCE = 500
"""Events to one recipient that are one commit, at most."""


class GroupWriter:
    """Sends what all blocks that are under way have to say, while nothing else is being sent.

    So events for the same recipient share a commit and a wake-up, and the more of them wait, the more do. A block is
    written once all of its group is; where anything of that fails, all of its blocks are processed again, and events
    that were sent already change nothing.

    Args:
        queue: what sends, and wakes the workers.
        log: where the entries go.
    """

    def __init__(self, queue: TaskQueue, log: EventLog) -> None:
        self._queue = queue
        self._log = log
        self._slots = asyncio.Semaphore(_SENDERS)
        self._waiting: list[tuple[Sequence[NewEvent], asyncio.Future[None]]] = []
        self._sending: asyncio.Task[None] | None = None

    async def write(self, ingestor: str, block: Pointer, events: Sequence[NewEvent]) -> None:
        """Return when all of these are sent. For a `FunctionWriter`, which gives the events their IDs."""
        written: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((events, written))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send_groups())
        await written

    async def _send_groups(self) -> None:
        while self._waiting:
            group, self._waiting = self._waiting, []
            try:
                await self._send([cast(AddressedEvent, event) for events, _ in group for event in events])
            except Exception as error:
                for _, written in group:
                    if not written.done():  # it is, where its block was cancelled
                        written.set_exception(error)
            else:
                for _, written in group:
                    if not written.done():
                        written.set_result(None)
        self._sending = None

    async def _send(self, events: Sequence[AddressedEvent]) -> None:
        to: defaultdict[str, list[AddressedEvent]] = defaultdict(list)
        for event in events:
            to[event.to].append(event)
        entries = [NewLogEntry(KIND, event.value, id=event.id) for event in to.pop(LOG, [])]
        async with asyncio.TaskGroup() as group:
            group.create_task(self._log.append_many(entries))
            for path, own in to.items():
                for start in range(0, len(own), _AT_ONCE):
                    group.create_task(self._send_to(path, own[start : start + _AT_ONCE]))

    async def _send_to(self, path: str, events: Sequence[AddressedEvent]) -> None:
        box = self._queue.box
        to = Recipient(box.client.document(path), path.partition("/")[0])
        *others, last = events

        async def body(transaction: Transaction) -> None:
            await box.emit_many(others, to, transaction=transaction)
            await self._queue.send(last.value, to, id=last.id, transaction=transaction)

        async with self._slots:
            if others:  # one commit, and one wake-up for all of them
                await box.run_in_transaction(body)
            else:
                await self._queue.send(last.value, to, id=last.id)
