"""A recipient's inbox: the dsset that its events lie in."""

from __future__ import annotations

from collections.abc import Awaitable
from datetime import timedelta
from random import Random

from dsset import DSSet
from dsset.clock import Clock
from dsset.items import Item, ListedItem
from dsset.shared_adds import SharedAdds
from eventbox.events import Event, make_event
from eventbox.recipient import Recipient

INBOX = "eventbox_inbox"
"""The collection ID of every inbox: indexes and TTL policies are declared for it."""

TRACEPARENT = "traceparent"
"""The metadata of an item that holds the W3C trace context of its emit."""


class Inboxes:
    """The inboxes of one client's recipients: the set under each one's document."""

    def __init__(
        self, *, tombstones_delay: timedelta, clock: Clock, rng: Random, shared_adds: SharedAdds | None = None
    ) -> None:
        self._tombstones_delay = tombstones_delay
        self._clock = clock
        self._rng = rng
        self._shared_adds = shared_adds
        self._any: DSSet | None = None

    def of(self, recipient: Recipient) -> DSSet:
        """The recipient's."""
        return self._first(recipient).under(recipient.ref)

    def add_one(self, item: Item, to: Recipient, *, timeout: timedelta) -> Awaitable[bool]:
        """As `DSSet.add_one` of the recipient's."""
        return self._first(to).add_one(item, parent=to.ref, timeout=timeout)

    def _first(self, recipient: Recipient) -> DSSet:
        """The first one's that was asked for: all are alike but for where they lie."""
        if self._any is None:
            self._any = DSSet(
                recipient.ref,
                name=INBOX,
                tombstones_delay=self._tombstones_delay,
                clock=self._clock,
                rng=self._rng,
                shared_adds=self._shared_adds,
            )
        return self._any


def to_event(item: ListedItem) -> Event:
    """The event that lies in the inbox."""
    traceparent = item.metadata.get(TRACEPARENT) if item.metadata else None
    return make_event(item.id, item.value, item.created_at, item.process_after, traceparent)
