"""`Writer`s: where an ingestor's events go. Each event's ID tells its block, so that a block that is ingested twice
emits once."""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Awaitable, Callable, Iterable, Sequence
from dataclasses import replace
from typing import Protocol, TypeAlias, runtime_checkable

from eventbox.box import EventBox
from eventbox.events import NewEvent
from eventbox.log import NewLogEntry
from eventbox.recipient import Recipient
from eventbox.sources.committer import Pointer, check_name, check_pointer

WriteFn: TypeAlias = Callable[[str, Pointer, Sequence[NewEvent]], Awaitable[None]]
"""Is given the ingestor's name, the block, and its events, each with its ID."""


@runtime_checkable
class Writer(Protocol):
    """Writes the events of a block; writing them again changes nothing."""

    async def write(self, ingestor: str, block: Pointer, events: Sequence[NewEvent]) -> None:
        """Return once all of them are written; in the order of the block, so that `index` stays the same."""
        ...


class Log(Protocol):
    """What `LogWriter` asks of an `eventbox.log.EventLog`."""

    async def append_many(self, entries: Iterable[NewLogEntry]) -> None: ...


class BoxWriter:
    """Emits the events to recipients, through their inboxes.

        writer = BoxWriter(box, lambda event: Recipient(accounts.document(account_of(event)), "account"))

    Args:
        box: what emits.
        to: whom all events are for, or a function that tells for each.

    An event is emitted once for as long as the box remembers its ID: the box's `tombstones_delay` must exceed the time
    for which ingestion may stand still between a block's events and its commit.

    Cost: 1 write an event, 1 RPC for each recipient and 500 events; 1 read for each that is written again.
    """

    def __init__(self, box: EventBox, to: Recipient | Callable[[NewEvent], Recipient]) -> None:
        if not isinstance(box, EventBox):
            raise TypeError(f"box must be an EventBox, not {type(box).__name__}")
        if not isinstance(to, Recipient) and not callable(to):
            raise TypeError(f"to must be a Recipient or a function that gives one, not {type(to).__name__}")
        self._box = box
        self._to = to

    async def write(self, ingestor: str, block: Pointer, events: Sequence[NewEvent]) -> None:
        """Emit them; EmitError where that fails."""
        by_path: defaultdict[str, list[NewEvent]] = defaultdict(list)
        recipients: dict[str, Recipient] = {}
        for event in with_ids(ingestor, block, events):
            to = self._to if isinstance(self._to, Recipient) else self._to(event)
            if not isinstance(to, Recipient):
                raise TypeError(f"`to` must give a Recipient, not {type(to).__name__}")
            recipients.setdefault(to.path, to)
            by_path[to.path].append(event)
        for path, own in by_path.items():
            await self._box.emit_many(own, recipients[path])


class LogWriter:
    """Appends the events to a log.

    Blocks are processed side by side: those of one block are in order, while the log has the blocks in the order in
    which they were written. For a log in the feed's order, let `run` process one at a time (`concurrency=1`).

    Args:
        log: an `eventbox.log.EventLog`.
        kind: the entries' kind, or a function that tells for each event.

    Cost: 1 RPC for each block of 500 events, 1 write an event, besides what ordering costs.
    """

    def __init__(self, log: Log, *, kind: str | Callable[[NewEvent], str]) -> None:
        if not callable(getattr(log, "append_many", None)):
            raise TypeError(f"log must be an EventLog, not {type(log).__name__}")
        if not isinstance(kind, str) and not callable(kind):
            raise TypeError(f"kind must be a str or a function that gives one, not {type(kind).__name__}")
        self._log = log
        self._kind = kind

    async def write(self, ingestor: str, block: Pointer, events: Sequence[NewEvent]) -> None:
        """Append them; an event with `process_after` is a ValueError: a log cannot wait."""
        checked = with_ids(ingestor, block, events)
        if any(event.process_after is not None for event in checked):
            raise ValueError("an event of a log cannot have process_after")
        kind = self._kind
        await self._log.append_many(
            [
                NewLogEntry(kind if isinstance(kind, str) else kind(event), event.value, id=event.id)
                for event in checked
            ]
        )


class FunctionWriter:
    """Hands the events to a function, which must be harmless to repeat: the events' IDs tell what was done."""

    def __init__(self, fn: WriteFn) -> None:
        if not callable(fn):
            raise TypeError(f"fn must be an asynchronous function, not {type(fn).__name__}")
        self._fn = fn

    async def write(self, ingestor: str, block: Pointer, events: Sequence[NewEvent]) -> None:
        """Call it."""
        await self._fn(ingestor, block, with_ids(ingestor, block, events))


def with_ids(ingestor: str, block: Pointer, events: Sequence[NewEvent]) -> list[NewEvent]:
    """The events, each with the ID of its place in the block, unless it has one of its own.

    Raises:
        TypeError, ValueError: an argument is not what it should be.
    """
    check_name(ingestor)
    check_pointer("block", block)
    result = []
    for index, event in enumerate(events):
        if not isinstance(event, NewEvent):
            raise TypeError(f"event {index} must be a NewEvent, not {type(event).__name__}")
        if event.id is None:
            event = replace(event, id=block_event_id(ingestor, block, index))
        result.append(event)
    return result


def block_event_id(ingestor: str, block: Pointer, index: int) -> str:
    """The ID of a block's event: a hash of all three, 40 characters."""
    digest = hashlib.blake2b(digest_size=20)
    for part in (ingestor.encode(), block, index.to_bytes(8, "big")):
        digest.update(len(part).to_bytes(8, "big") + part)
    return digest.hexdigest()
