"""Ordering: the eventbox processor that moves what was appended into the log, and how it is run without tasks."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Sequence
from contextlib import aclosing, asynccontextmanager
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1.base_query import FieldFilter

from dsset import documents
from dsset.items import MAX_VALUE_BYTES
from dsset.retry import Backoff, is_transient
from eventbox.box import EventBox
from eventbox.document_processor import DocumentProcessor
from eventbox.errors import ContentionError, UnknownOutcomeError
from eventbox.events import Event
from eventbox.inbox import INBOX
from eventbox.listening import listen
from eventbox.log import entry_codec, segments
from eventbox.log.entry import EventPersistence
from eventbox.log.errors import MalformedEntryError
from eventbox.log.head import Head
from eventbox.log.in_process import LONG_PAST
from eventbox.log.segments import Tail
from eventbox.log.track import PERSISTENT, TRIMABLE
from eventbox.processor import Mutation, Transition
from eventbox.recipient import Recipient
from eventbox.transaction import Transaction

_log = logging.getLogger("eventbox.log")

MAX_STEP_ENTRIES = 1_000
MAX_STEP_BYTES = 4 * 1024 * 1024
"""What a step takes up at most: an entry goes into two logs, and a commit holds 10 MiB."""


@dataclass(frozen=True, slots=True)
class _Entry:
    """An event that is an entry."""

    event: Event
    persistence: EventPersistence
    appended_at: datetime


class Ordering(DocumentProcessor[Head]):
    """Moves the entries in a log's inbox into its segments, in the order of their ranks.

    `taken` is how many entries the last batch took up, and `full` whether a bound may have left some behind.
    """

    # told to the core: what a drain would list beyond a step, or behind one, would come before what the step has left
    _in_order = True
    _takes_at_most = (MAX_STEP_ENTRIES, MAX_STEP_BYTES)

    def __init__(self, recipient: Recipient) -> None:
        super().__init__(recipient, Head)
        self.taken = 0
        self.full = False

    async def prepare_mutation(self, events: Sequence[Event], state: Head) -> Mutation[Head]:
        """Lay the entries out behind the head. What is no entry is left in the inbox.

        Raises:
            MalformedEntryError: no event is an entry.
        """
        entries = self._entries(events)
        chosen = _within_bounds(entries)
        self.taken = len(chosen)
        size = sum(len(entry.event.value) for entry in chosen)
        # a listing ends before the first event that has no room, and does not tell
        self.full = (
            len(chosen) < len(entries)
            or len(events) >= MAX_STEP_ENTRIES
            or size > MAX_STEP_BYTES - MAX_VALUE_BYTES
        )
        if not chosen:
            return Mutation()
        head, writes = self._append(state, chosen)

        async def write_segments(transaction: Transaction) -> None:
            for write in writes:
                transaction._staging.add(write)

        return Mutation(
            [Transition(head, events=[entry.event for entry in chosen], side_effect=write_segments)]
        )

    def _entries(self, events: Sequence[Event]) -> list[_Entry]:
        """The entries among the events, in the order of their ranks."""
        entries: list[_Entry] = []
        malformed: list[MalformedEntryError] = []
        for event in sorted(events, key=_rank):
            try:
                entries.append(_Entry(event, *entry_codec.persistence_and_time(event.value)))
            except MalformedEntryError as error:
                malformed.append(
                    MalformedEntryError(f"event {event.id!r} in the inbox of {self.recipient}: {error}")
                )
        if malformed and not entries:
            raise malformed[0]
        for one in malformed:
            _log.error("ordered without what is no entry: %s", one)
        return entries

    def _append(self, head: Head, entries: Sequence[_Entry]) -> tuple[Head, list[Any]]:
        """The head after these entries, and the writes to segments."""
        logged_at = head.logged_at
        everything: list[bytes] = []
        persistent: list[bytes] = []
        for entry in entries:
            at = min(entry.appended_at, entry.event.emitted_at)
            # never earlier than the entry before it, so that trimming by age leaves no holes
            logged_at = at if logged_at is None else max(logged_at, at)
            value = entry_codec.with_time(entry.event.value, logged_at)
            everything.append(value)
            if entry.persistence is EventPersistence.PERSISTENT:
                persistent.append(value)
        tail, extensions = segments.extend(Tail(head.next_id, head.segment, head.segment_bytes), persistent)
        trimable_tail, trimable_extensions = segments.extend(
            Tail(head.next_trimable_id, head.trimable_segment, head.trimable_segment_bytes), everything
        )
        writes = [
            segments.write(f"{self._name}/{track.segments}", extension)
            for track, extended in ((PERSISTENT, extensions), (TRIMABLE, trimable_extensions))
            for extension in extended
        ]
        after = Head(
            next_id=tail.next_id,
            next_trimable_id=trimable_tail.next_id,
            logged_at=logged_at,
            segment=tail.segment,
            segment_bytes=tail.size,
            trimable_segment=trimable_tail.segment,
            trimable_segment_bytes=trimable_tail.size,
        )
        return after, writes


async def order(box: EventBox, recipient: Recipient) -> Ordering:
    """Run one ordering step; the processor that did it."""
    ordering = Ordering(recipient)
    await box.process_batch(recipient, ordering, max_events=MAX_STEP_ENTRIES, max_bytes=MAX_STEP_BYTES)
    return ordering


async def run_ordering(box: EventBox, recipient: Recipient, interval: timedelta) -> None:
    """Order whenever there is something to order, until cancelled. See `EventLog.run_ordering`."""
    clock = box._clock
    async with _arrivals(box, recipient) as arrivals:
        backoff = Backoff(clock, box._rng, timedelta.max)
        while True:
            await arrivals.wait()
            begun, told = clock.monotonic(), arrivals.told
            try:
                ordering = await order(box, recipient)
            except ContentionError as error:
                _log.debug("another process orders %s, too: %s", recipient, error)
            except (GoogleAPICallError, UnknownOutcomeError) as error:
                if isinstance(error, GoogleAPICallError) and not is_transient(error):
                    raise
                _log.warning("an ordering step of %s failed, and is tried again: %s", recipient, error)
            except MalformedEntryError as error:
                _log.error("%s", error)
                await _set_aside(box, recipient)
            else:
                backoff = Backoff(clock, box._rng, timedelta.max)
                if ordering.full and ordering.taken:
                    continue
                if not ordering.taken:
                    arrivals.found_nothing(told)
                await clock.sleep(interval - timedelta(seconds=clock.monotonic() - begun))
                continue
            await backoff.wait()


async def _set_aside(box: EventBox, recipient: Recipient) -> None:
    """Count another attempt at what is no entry, and set it aside if that was the last."""
    try:
        await box.drain(recipient, Ordering(recipient), max_events=MAX_STEP_ENTRIES)
    except MalformedEntryError:
        pass  # it was counted
    except (GoogleAPICallError, UnknownOutcomeError) as error:
        _log.warning("an ordering step of %s failed, and is tried again: %s", recipient, error)


class _Arrivals:
    """Tells whether something waits to be ordered, by a listener: it costs nothing while nothing happens."""

    def __init__(self, box: EventBox, recipient: Recipient) -> None:
        # the tombstones lie behind, and nothing of a log is due later than now
        outstanding = (
            recipient.ref.collection(INBOX)
            .where(filter=FieldFilter("due", "<", documents.GONE))
            .order_by("due")
            .limit(1)
        )
        self._snapshots = listen(outstanding, clock=box._clock, rng=box._rng)
        self._changed = asyncio.Event()
        self._waiting = False
        self.told = 0
        """How many times the listener has told how it is."""
        self.listening: asyncio.Task[None] = asyncio.create_task(self._listen())
        self.listening.add_done_callback(lambda _: self._changed.set())

    async def wait(self) -> None:
        """Return once something waits to be ordered; raise what ended the listener."""
        while not self._waiting:
            if self.listening.done():
                self.listening.result()
            self._changed.clear()
            await self._changed.wait()

    def found_nothing(self, told: int) -> None:
        """Nothing waits, as was seen after the listener had told so many times; it may be behind, or out of service."""
        if self.told == told:
            self._waiting = False

    async def _listen(self) -> None:
        async with aclosing(self._snapshots) as snapshots:
            async for snapshot in snapshots:
                self.told += 1
                self._waiting = bool(snapshot.documents)
                self._changed.set()


@asynccontextmanager
async def _arrivals(box: EventBox, recipient: Recipient) -> AsyncIterator[_Arrivals]:
    arrivals = _Arrivals(box, recipient)
    try:
        yield arrivals
    finally:
        arrivals.listening.cancel()
        await asyncio.gather(arrivals.listening, return_exceptions=True)


def _within_bounds(entries: Sequence[_Entry]) -> Sequence[_Entry]:
    """As many of the first as one step takes."""
    size = 0
    for position, entry in enumerate(entries[:MAX_STEP_ENTRIES]):
        size += len(entry.event.value)
        if position and size > MAX_STEP_BYTES:
            return entries[:position]
    return entries[:MAX_STEP_ENTRIES]


def _rank(event: Event) -> tuple[datetime, str]:
    return (event.process_after or event.emitted_at - LONG_PAST, event.id)
