"""Events: as they are emitted, as they are handed to a processor, and the receipt in between."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime

from dsset.items import slot_setters


@dataclass(frozen=True, slots=True)
class NewEvent:
    """An event to emit.

    Args:
        value: at most 1,000,000 bytes; may be empty. What it means is between you and your processor.
        id: 1 to 256 bytes of UTF-8; a random one by default. Emitting an ID again within the box's
            `tombstones_delay` changes nothing, so take one that tells the event itself: a webhook's delivery ID.
        process_after: not handed to a processor before this moment (aware).

    Checked when it is emitted, not when it is made.
    """

    value: bytes
    id: str | None = field(default=None, kw_only=True)
    process_after: datetime | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True, init=False)
class Event:
    """An outstanding event, as a processor gets it. `emitted_at` is the server's time."""

    id: str
    value: bytes
    emitted_at: datetime
    process_after: datetime | None = None
    traceparent: str | None = field(default=None, repr=False, compare=False)

    def __init__(
        self,
        id: str,
        value: bytes,
        emitted_at: datetime,
        process_after: datetime | None = None,
        traceparent: str | None = None,
    ) -> None:
        # what dataclass makes for a frozen class takes twice as long, and there are a thousand of them a batch
        _set_id(self, id)
        _set_value(self, value)
        _set_emitted_at(self, emitted_at)
        _set_process_after(self, process_after)
        _set_traceparent(self, traceparent)


_set_id, _set_value, _set_emitted_at, _set_process_after, _set_traceparent = slot_setters(Event)


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an emit returns.

    `duplicate` is True where this call added nothing, because the event is outstanding or was consumed already; None
    in a transaction, where nobody can know before the commit.
    """

    id: str
    duplicate: bool | None
