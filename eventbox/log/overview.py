"""`LogOverview`: how far a log has come, and its followers."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from google.cloud.firestore_v1.base_query import FieldFilter

from dsset import documents
from dsset.retry import Backoff, retry_transient
from eventbox.batch_scope import BatchScope
from eventbox.box import EventBox
from eventbox.inbox import INBOX
from eventbox.log.cursor import all_positions
from eventbox.log.head import TIMEOUT, Head
from eventbox.log.ordering import Ordering
from eventbox.log.reading import Reader
from eventbox.log.track import PERSISTENT, TRIMABLE, Track
from eventbox.recipient import Recipient


@dataclass(frozen=True, slots=True)
class FollowerOverview:
    """A follower: the next position that it will handle, and how many entries it has yet to handle."""

    follower: str
    trimable: bool
    position: int
    behind: int


@dataclass(frozen=True, slots=True)
class LogOverview:
    """How far a log has come.

    Attributes:
        next_id, next_trimable_id: the IDs of the next entries.
        first_id, first_trimable_id: the first positions that can be read; None where there is none.
        logged_at: when the last entry was logged; None before the first.
        unordered: how many entries were appended and wait to be ordered.
        followers: whoever has a cursor, by name.
    """

    next_id: int
    next_trimable_id: int
    first_id: int | None
    first_trimable_id: int | None
    logged_at: datetime | None
    unordered: int
    followers: Sequence[FollowerOverview]


async def overview(box: EventBox, recipient: Recipient) -> LogOverview:
    """See `EventLog.overview`."""
    ref = recipient.ref
    unordered = ref.collection(INBOX).where(filter=FieldFilter("due", "<", documents.GONE)).count()
    with BatchScope(box._clock, box._rng).entered():  # what the processor's retries go by
        (head, _), first, first_trimable, cursors, trimable_cursors, counted = await asyncio.gather(
            Ordering(recipient).load_state(),
            Reader(box, ref, PERSISTENT).first(),
            Reader(box, ref, TRIMABLE).first(),
            all_positions(box, ref, PERSISTENT),
            all_positions(box, ref, TRIMABLE),
            retry_transient(
                # google's own retries sleep in real time, whatever the box's clock
                lambda timeout: unordered.get(retry=None, timeout=timeout),
                Backoff(box._clock, box._rng, TIMEOUT),
            ),
        )
    followers = [
        *_followers(cursors, PERSISTENT, head),
        *_followers(trimable_cursors, TRIMABLE, head),
    ]
    return LogOverview(
        next_id=head.next_id,
        next_trimable_id=head.next_trimable_id,
        first_id=first,
        first_trimable_id=first_trimable,
        logged_at=head.logged_at,
        unordered=int(counted[0][0].value),
        followers=tuple(sorted(followers, key=lambda one: (one.follower, one.trimable))),
    )


def _followers(positions: dict[str, int], track: Track, head: Head) -> list[FollowerOverview]:
    end = getattr(head, track.next_id)
    return [
        FollowerOverview(name, track is TRIMABLE, position, max(0, end - position))
        for name, position in positions.items()
    ]
