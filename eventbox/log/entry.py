"""Entries of a log: as they are appended, and as they are read."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from enum import Enum
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from dsset.items import check_id

if TYPE_CHECKING:
    from eventbox.log.log_event import LogEvent

E = TypeVar("E", bound="LogEvent")

MAX_PAYLOAD_BYTES = 900_000
"""An entry and what it comes with fit one document of 1 MiB, beside a segment that is to be filled further."""

MAX_KIND_BYTES = 256
MAX_MODULE_ID = 2**63 - 1

Module: TypeAlias = tuple[str, int]
"""What kind of module an entry is from, and which of that kind."""


class EventPersistence(Enum):
    """How long an entry is kept."""

    TRANSIENT = 0
    """Never stored: it reaches who listens in this process, at the moment it is appended."""

    TRIMABLE = 1
    """In the trimable log only, from which `trim` removes it."""

    PERSISTENT = 2
    """In both logs: for good in the one, until it is trimmed in the other."""


@dataclass(frozen=True, slots=True)
class LogEntry:
    """An entry of a log.

    Attributes:
        id: its position in the log that it was read from; None for a transient one.
        kind: what happened.
        module: what kind of module it is from, and which of these.
        logged_at: when it was appended, by the appender's clock, but not later than the server's and never earlier
            than the entry before it.
        payload: what came with it.
    """

    id: int | None
    kind: str
    module: Module | None
    logged_at: datetime
    payload: bytes

    def to_event(self, type: type[E]) -> E | None:
        """The payload as an event of this type; None where kind or module are others, or the payload does not fit.

        Raises:
            TypeError: it is no `LogEvent`, or one without a kind.
        """
        from_entry = getattr(type, "from_entry", None)
        if from_entry is None:
            raise TypeError(f"type must be a class derived from LogEvent, not {type!r:.100}")
        event: E | None = from_entry(self)
        return event


@dataclass(frozen=True, slots=True)
class NewLogEntry:
    """An entry to append.

    Args:
        kind: what happened: 1 to 256 bytes of UTF-8.
        payload: at most 900,000 bytes; may be empty.
        module: what kind of module it is from (1 to 256 bytes of UTF-8), and which of these (0 to 2^63 - 1).
        persistence: how long it is kept.
        id: appends once what is appended again: 1 to 256 bytes of UTF-8; a random one by default. None for a
            transient entry.

    Checked when it is appended, not when it is made.
    """

    kind: str
    payload: bytes
    module: Module | None = field(default=None, kw_only=True)
    persistence: EventPersistence = field(default=EventPersistence.PERSISTENT, kw_only=True)
    id: str | None = field(default=None, kw_only=True)


def check_entry(entry: object) -> NewLogEntry:
    """The entry; TypeError or ValueError that says what is wrong with it."""
    if not isinstance(entry, NewLogEntry):
        raise TypeError(f"expected a NewLogEntry, not {type(entry).__name__}")
    check_name(entry.kind, "kind")
    if not isinstance(entry.payload, bytes):
        raise TypeError(
            f"the payload of a {entry.kind!r} entry must be bytes, not {type(entry.payload).__name__}"
        )
    if len(entry.payload) > MAX_PAYLOAD_BYTES:
        raise ValueError(
            f"the payload of a {entry.kind!r} entry has {len(entry.payload):,} bytes; at most {MAX_PAYLOAD_BYTES:,} fit"
        )
    _check_module(entry.module)
    if not isinstance(entry.persistence, EventPersistence):
        raise TypeError(f"persistence must be an EventPersistence, not {type(entry.persistence).__name__}")
    if entry.id is not None:
        check_id(entry.id)
        if entry.persistence is EventPersistence.TRANSIENT:
            raise ValueError(
                "a transient entry takes no id: nothing is stored that could tell it from another"
            )
    return entry


def check_name(name: object, what: str) -> str:
    """The name of a kind; TypeError or ValueError that says what is wrong with it."""
    if not isinstance(name, str):
        raise TypeError(f"{what} must be a str, not {type(name).__name__}")
    try:
        size = len(name.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"{what} must be text that UTF-8 can encode: {error}: {name!r:.100}") from error
    if not 1 <= size <= MAX_KIND_BYTES:
        raise ValueError(f"{what} must have 1 to {MAX_KIND_BYTES} bytes of UTF-8, not {size}: {name!r:.100}")
    return name


def _check_module(module: object) -> None:
    if module is None:
        return
    if not isinstance(module, tuple) or len(module) != 2:
        raise TypeError(f"module must be a tuple (kind, id) or None, not {module!r:.100}")
    kind, module_id = module
    check_name(kind, "the kind of the module")
    if not isinstance(module_id, int) or isinstance(module_id, bool):
        raise TypeError(f"the id of the module must be an int, not {type(module_id).__name__}")
    if not 0 <= module_id <= MAX_MODULE_ID:
        raise ValueError(f"the id of the module must be 0 to 2^63 - 1, not {module_id}")
