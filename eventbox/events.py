"""Events: as they are emitted, as they are handed to a processor, and the receipt in between."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


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


@dataclass(frozen=True, slots=True)
class Event:
    """An outstanding event, as a processor gets it. `emitted_at` is the server's time."""

    id: str
    value: bytes
    emitted_at: datetime
    process_after: datetime | None = None
    traceparent: str | None = field(default=None, repr=False, compare=False)


class _EventInTheMaking:
    """What becomes an `Event` by being made, in a third of the time, and for the same reason as a `ListedItem` is so.

    See `dsset.items`: it has the same slots, which it may set, and ends as the frozen class.
    """

    __slots__ = ("emitted_at", "id", "process_after", "traceparent", "value")

    def __init__(
        self: Any,
        id: str,
        value: bytes,
        emitted_at: datetime,
        process_after: datetime | None,
        traceparent: str | None,
    ) -> None:
        self.id = id
        self.value = value
        self.emitted_at = emitted_at
        self.process_after = process_after
        self.traceparent = traceparent
        self.__class__ = Event


make_event: Callable[[str, bytes, datetime, datetime | None, str | None], Event] = _EventInTheMaking  # type: ignore[assignment] # what it ends as
"""An `Event` of its fields, in order."""


@dataclass(frozen=True, slots=True)
class Receipt:
    """What an emit returns.

    `duplicate` is True where this call added nothing, because the event is outstanding or was consumed already; None
    in a transaction, where nobody can know before the commit.
    """

    id: str
    duplicate: bool | None
