"""Reading a log by position, whole segments at a time."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta

from google.cloud.firestore_v1.async_document import AsyncDocumentReference

from dsset.documents import moment
from dsset.retry import Backoff, retry_transient
from dsset.wire import Wire
from eventbox.box import EventBox
from eventbox.log import entry_codec, segments
from eventbox.log.entry import LogEntry
from eventbox.log.errors import TrimmedError
from eventbox.log.head import TIMEOUT, next_ids
from eventbox.log.segments import Segment
from eventbox.log.track import Track

_MAX_SEGMENTS = 8
"""Segments asked for at once: each has up to 1 MB."""


class Reader:
    """Reads one of a log's tracks. Transient errors are retried for as long as `patience` says."""

    def __init__(
        self, box: EventBox, ref: AsyncDocumentReference, track: Track, *, patience: timedelta = TIMEOUT
    ) -> None:
        self._box = box
        self._ref = ref
        self._track = track
        self._patience = patience

    async def read(self, position: int, limit: int, max_bytes: int) -> list[LogEntry]:
        """Up to `limit` entries from a position on, in order. See `EventLog.read`."""
        found: list[LogEntry] = []
        size = 0
        ask = 1
        while True:
            page = await self.page(position + len(found), ask)
            for entry_id, encoded in page.entries:
                if entry_id != position + len(found):
                    if found:
                        return found  # the rest was trimmed between two pages
                    raise self._trimmed(position, entry_id)
                if found and size + len(encoded) > max_bytes:
                    return found
                size += len(encoded)
                found.append(entry_codec.decode(encoded, entry_id))
                if len(found) == limit:
                    return found
            if page.last:
                break
            ask = min(_MAX_SEGMENTS, -((len(found) - limit) // max(1, page.in_last_segment)))
        if not found and (trimmed := await self._first_after(position)) is not None:
            raise self._trimmed(position, trimmed)
        return found

    async def following(self, position: int) -> list[LogEntry]:
        """The entries from a position on that lie in the next few segments; at least one, if there is any.

        Raises:
            TrimmedError: the entry at this position was trimmed.
        """
        page = await self.page(position, _MAX_SEGMENTS // 2)
        if page.entries and page.entries[0][0] != position:
            raise self._trimmed(position, page.entries[0][0])
        if not page.entries and (trimmed := await self._first_after(position)) is not None:
            raise self._trimmed(position, trimmed)
        return [entry_codec.decode(encoded, entry_id) for entry_id, encoded in page.entries]

    async def first(self) -> int | None:
        """The first position that can be read; None where there is none."""
        page = await self.page(0, 1)
        return page.entries[0][0] if page.entries else None

    async def page(self, position: int, limit: int) -> Page:
        """What the first `limit` segments hold from a position on: 1 RPC, 1 read a segment and at least 1."""
        wire = Wire.of(self._box._client)
        asked = segments.query(self._track.segments, position, limit)

        async def attempt(timeout: float) -> Page:
            found: list[Segment] = []
            read_time: datetime | None = None
            async for response in wire.run_query(self._ref._document_path, asked, timeout=timeout):
                read_time = moment(response.read_time)
                if response.HasField("document"):
                    found.append(segments.decode(response.document))
            assert read_time is not None, "a query answers with its read time at least"
            return Page(position, found, read_time, last=len(found) < limit)

        return await retry_transient(attempt, Backoff(self._box._clock, self._box._rng, self._patience))

    async def next_id(self) -> int:
        """The ID of the next entry: 1 read."""
        return (await next_ids(self._box, self._ref, patience=self._patience))[self._track]

    async def _first_after(self, position: int) -> int | None:
        """The first position after one at which nothing was found, if that had an entry once; else None."""
        end = await self.next_id()
        if position >= end:
            return None
        # there are entries up to the end now: what was not found may have been ordered meanwhile
        page = await self.page(position, 1)
        if not page.entries:
            return end
        first = page.entries[0][0]
        return None if first == position else first

    def _trimmed(self, position: int, first: int) -> TrimmedError:
        return TrimmedError(f"{self._ref.path} ({self._track.name})", position, first)


class Page:
    """Segments that were read at one moment, and the entries in them from a position on."""

    def __init__(self, position: int, found: Sequence[Segment], read_time: datetime, *, last: bool) -> None:
        self.segments = found
        self.read_time = read_time
        self.last = last
        """Whether there is no segment behind these."""
        self.in_last_segment = len(found[-1].entries) if found else 0
        self.entries = [
            (entry_id, encoded)
            for segment in found
            for entry_id, encoded in sorted(segment.entries.items())
            if entry_id >= position
        ]
