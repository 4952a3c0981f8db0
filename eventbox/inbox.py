"""A recipient's inbox: the dsset that its events lie in."""

from __future__ import annotations

from datetime import timedelta
from random import Random

from dsset import DSSet, Item
from dsset.clock import Clock
from dsset.items import ListedItem
from dsset.shared_adds import SharedAdds
from eventbox.events import Event, NewEvent
from eventbox.recipient import Recipient

INBOX = "eventbox_inbox"
"""The collection ID of every inbox: indexes and TTL policies are declared for it."""

_TRACEPARENT = "traceparent"


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


def to_item(event: NewEvent, event_id: str, traceparent: str | None) -> Item:
    """What is put into the inbox for an event."""
    metadata = {_TRACEPARENT: traceparent} if traceparent else {}
    return Item(event_id, event.value, event.process_after, metadata)


def to_event(item: ListedItem) -> Event:
    """The event that lies in the inbox."""
    # by position: names take a third of the time, and there are a thousand events a batch
    traceparent = item.metadata.get(_TRACEPARENT) if item.metadata else None
    return Event(item.id, item.value, item.created_at, item.process_after, traceparent)
