"""Appending: entries become events in the inbox of the log's document, ranked so that they are listed in order."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from datetime import datetime

from google.cloud.firestore_v1.async_transaction import AsyncTransaction

from dsset.adding import MAX_BYTES, MAX_WRITES
from eventbox.arguments import check_transaction
from eventbox.box import EventBox
from eventbox.errors import EmitError
from eventbox.events import NewEvent, Receipt
from eventbox.log import entry_codec
from eventbox.log.entry import EventPersistence, LogEntry, NewLogEntry, check_entry
from eventbox.log.in_process import InProcess
from eventbox.log.sender import Sender
from eventbox.recipient import Recipient
from eventbox.transaction import Transaction

_PART_BYTES = MAX_BYTES - 1024 * 1024
"""Values in one RPC: leaves room for what lies around 500 of them."""


class Appender:
    """Appends to one log."""

    def __init__(
        self, box: EventBox, recipient: Recipient, in_process: InProcess, sender: Sender | None
    ) -> None:
        if sender is not None and not callable(getattr(sender, "send", None)):
            raise TypeError(
                f"sender must have a method send, as a TaskQueue has; a {type(sender).__name__} has none"
            )
        self._box = box
        self._recipient = recipient
        self._in_process = in_process
        self._sender = sender

    async def append(self, entries: Iterable[NewLogEntry], transaction: AsyncTransaction | None) -> None:
        """Append the entries, in a transaction if there is one. See `EventLog.append_many`."""
        checked = [check_entry(entry) for entry in entries]
        check_transaction(transaction, self._box.client)
        stored = [entry for entry in checked if entry.persistence is not EventPersistence.TRANSIENT]
        if len(stored) < len(checked) and not (transaction is None or isinstance(transaction, Transaction)):
            raise TypeError(
                "a transient entry needs a Transaction of eventbox (EventBox.run_in_transaction): google's does not "
                "tell when it has committed"
            )
        now = self._box._clock.now()
        await self._store([self._event(entry, now) for entry in stored], transaction)
        transient = [
            LogEntry(None, entry.kind, entry.module, now, entry.payload)
            for entry in checked
            if entry.persistence is EventPersistence.TRANSIENT
        ]
        if not transient:
            return
        if transaction is None:
            self._in_process.subscribers.publish(transient)
        else:
            transaction.on_commit(lambda: self._in_process.subscribers.publish(transient))

    def _event(self, entry: NewLogEntry, now: datetime) -> NewEvent:
        rank = self._in_process.ranks.next(now)
        return NewEvent(entry_codec.encode(entry, now), id=entry.id, process_after=rank)

    async def _store(self, events: list[NewEvent], transaction: AsyncTransaction | None) -> None:
        # one wake-up, once all are there
        last = events[-1:] if self._sender is not None else []
        others = events[: len(events) - len(last)]
        if transaction is not None:
            if others:
                await self._box.emit_many(others, self._recipient, transaction=transaction)
            for event in last:
                await self._send(event, transaction)
            return
        receipts: list[Receipt] = []
        try:
            # one after the other: a step that comes in between takes up the first of them
            for part in _parts(others):
                receipts += await self._box.emit_many(part, self._recipient)
            for event in last:
                await self._send(event, None)
        except EmitError as error:
            # of those behind nothing was sent
            cause = next(iter(error.errors.values()))
            tried = len(error.receipts) + len(error.errors)
            errors = dict.fromkeys(range(len(receipts) + tried, len(events)), cause)
            errors |= {len(receipts) + position: one for position, one in error.errors.items()}
            raise EmitError(error.recipient, [*receipts, *error.receipts], errors) from error.__cause__

    async def _send(self, event: NewEvent, transaction: AsyncTransaction | None) -> None:
        assert self._sender is not None
        await self._sender.send(
            event.value,
            self._recipient,
            id=event.id,
            process_after=event.process_after,
            transaction=transaction,
        )


def _parts(events: Iterable[NewEvent]) -> Iterator[list[NewEvent]]:
    """The events in order, in parts that fit an RPC each."""
    part: list[NewEvent] = []
    size = 0
    for event in events:
        if part and (len(part) == MAX_WRITES or size + len(event.value) > _PART_BYTES):
            yield part
            part, size = [], 0
        part.append(event)
        size += len(event.value)
    if part:
        yield part
