"""A recipient's inbox: the dsset that its events lie in."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from dsset import DSSet
from dsset.clock import Clock
from dsset.items import ListedItem
from dsset.shared_adds import SharedAdds
from eventbox.events import Event
from eventbox.recipient import Recipient

INBOX = "eventbox_inbox"
"""The collection ID of every inbox: indexes and TTL policies are declared for it."""

TRACEPARENT = "traceparent"
"""The metadata of an item that holds the W3C trace context of its emit."""


def inbox_of(
    recipient: Recipient,
    *,
    tombstones_delay: timedelta,
    clock: Clock,
    rng: Random,
    shared_adds: SharedAdds | None = None,
) -> DSSet:
    """The set under the recipient's document."""
    return DSSet(
        recipient.ref,
        name=INBOX,
        tombstones_delay=tombstones_delay,
        clock=clock,
        rng=rng,
        shared_adds=shared_adds,
    )


def to_event(item: ListedItem) -> Event:
    """The event that lies in the inbox."""
    # by position: names take a third of the time, and there are a thousand events a batch
    traceparent = item.metadata.get(TRACEPARENT) if item.metadata else None
    return Event(item.id, item.value, item.created_at, item.process_after, traceparent)
