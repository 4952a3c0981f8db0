"""`Head`: where a log ends. It is the state of the log's document, and each ordering step moves it on."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from google.cloud.firestore_v1.async_document import AsyncDocumentReference

from dsset.retry import Backoff, retry_transient
from dsset.wire import Wire
from eventbox.box import EventBox
from eventbox.log.track import PERSISTENT, TRIMABLE, Track

TIMEOUT = timedelta(minutes=1)


@dataclass(frozen=True)
class Head:
    """The fields of a log's document.

    Attributes:
        next_id, next_trimable_id: the IDs of the next entries.
        logged_at: when the last entry was logged; None before the first.
        segment, trimable_segment: the ID of the first entry of the last segment.
        segment_bytes, trimable_segment_bytes: how much lies in it.
    """

    next_id: int = 0
    next_trimable_id: int = 0
    logged_at: datetime | None = None
    segment: int = 0
    segment_bytes: int = 0
    trimable_segment: int = 0
    trimable_segment_bytes: int = 0


async def next_ids(
    box: EventBox, ref: AsyncDocumentReference, *, patience: timedelta = TIMEOUT
) -> dict[Track, int]:
    """The IDs of the next entries of both logs, 0 where there is none yet: 1 RPC, 1 read."""
    name: str = ref._document_path
    wire = Wire.of(box._client)
    tracks = (PERSISTENT, TRIMABLE)
    responses = await retry_transient(
        lambda timeout: wire.batch_get([name], mask=[track.next_id for track in tracks], timeout=timeout),
        Backoff(box._clock, box._rng, patience),
    )
    if responses[name].WhichOneof("result") == "missing":
        return dict.fromkeys(tracks, 0)
    fields = responses[name].found.fields
    return {track: fields[track.next_id].integer_value if track.next_id in fields else 0 for track in tracks}
