"""Trimming: removing the oldest entries of the trimable log, in commits of a few segments each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from google.api_core.exceptions import FailedPrecondition, GoogleAPICallError, NotFound
from google.cloud.firestore_v1.async_document import AsyncDocumentReference

from dsset.retry import Backoff, is_transient
from dsset.wire import Wire
from eventbox.box import EventBox
from eventbox.log import entry_codec, segments
from eventbox.log.cursor import all_positions
from eventbox.log.head import TIMEOUT
from eventbox.log.reading import Page, Reader
from eventbox.log.segments import Segment
from eventbox.log.track import Track

_SEGMENTS_A_COMMIT = 8


@dataclass(frozen=True, slots=True)
class Cut:
    """What one commit removes: all entries before the ID `until`, which are so many."""

    writes: Sequence[Any]
    until: int
    entries: int


async def trim(
    box: EventBox,
    ref: AsyncDocumentReference,
    track: Track,
    *,
    min_id_age: int,
    min_age: timedelta,
    max_entries: int,
    respect_cursors: bool,
) -> int:
    """Remove the oldest entries; how many. See `EventLog.trim`."""
    reader = Reader(box, ref, track)
    until = await reader.next_id() - min_id_age + 1
    if respect_cursors:
        until = min([until, *(await all_positions(box, ref, track)).values()])
    removed = 0
    lost: Cut | None = None  # the answer to its commit was lost
    backoff = Backoff(box._clock, box._rng, TIMEOUT)
    while removed < max_entries and until > 0:
        page = await reader.page(0, _SEGMENTS_A_COMMIT)
        if lost is not None and (not page.entries or page.entries[0][0] >= lost.until):
            removed += lost.entries
        lost = None
        cut = plan(
            page, until=until, before=_long_before(page.read_time, min_age), max_entries=max_entries - removed
        )
        if not cut.writes:
            break
        try:
            await Wire.of(box._client).commit(cut.writes, timeout=backoff.attempt_timeout)
        except (FailedPrecondition, NotFound):  # a segment was filled further, or trimmed by another
            if not await backoff.wait():
                raise
        except GoogleAPICallError as error:
            if not is_transient(error) or not await backoff.wait():
                raise
            lost = cut
        else:
            removed += cut.entries
            backoff = Backoff(box._clock, box._rng, TIMEOUT)
    return removed


def plan(page: Page, *, until: int, before: datetime, max_entries: int) -> Cut:
    """What to remove of the first segments: entries before this ID that were logged at this moment or earlier."""
    writes: list[Any] = []
    end = entries = 0
    for segment in page.segments:
        ids = sorted(segment.entries)
        gone = _removable(segment, ids, until, before, max_entries - entries)
        if gone == len(ids) and segment.end <= until:
            end = segment.end
            writes.append(segments.removal(segment, end))
        elif gone:
            end = ids[gone - 1] + 1
            writes.append(segments.removal(segment, end))
        entries += gone
        if gone < len(ids):
            break
    return Cut(writes, end, entries)


def _long_before(at: datetime, age: timedelta) -> datetime:
    """So long before; the first moment of all where there is none: nothing is so old."""
    try:
        return at - age
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _removable(segment: Segment, ids: Sequence[int], until: int, before: datetime, limit: int) -> int:
    """How many of the segment's first entries may go."""
    for position, entry_id in enumerate(ids):
        if (
            position >= limit
            or entry_id >= until
            or entry_codec.logged_at(segment.entries[entry_id]) > before
        ):
            return position
    return len(ids)
