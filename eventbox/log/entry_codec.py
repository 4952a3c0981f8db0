"""How an entry lies in the log's inbox and in its segments: a short header, then the payload. No I/O.

Both are the same bytes but for the time: ordering puts the entry's place in time into those that it moves.
"""

from __future__ import annotations

import struct
from datetime import UTC, datetime, timedelta

from eventbox.log.entry import EventPersistence, LogEntry, NewLogEntry
from eventbox.log.errors import MalformedEntryError

_VERSION = 1
_HEADER = struct.Struct(">BBqHHq")
"""Version, persistence, microseconds since the epoch, bytes of the kind, bytes of the module's kind, module ID."""

_TIME = struct.Struct(">q")
_TIME_AT = 2

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def encode(entry: NewLogEntry, at: datetime) -> bytes:
    """What is put into the log's inbox for an entry that is appended at this moment."""
    kind = entry.kind.encode()
    module_kind, module_id = (b"", 0) if entry.module is None else (entry.module[0].encode(), entry.module[1])
    header = _HEADER.pack(
        _VERSION, entry.persistence.value, microseconds(at), len(kind), len(module_kind), module_id
    )
    return b"".join((header, kind, module_kind, entry.payload))


def decode(encoded: bytes, entry_id: int | None) -> LogEntry:
    """The entry.

    Raises:
        MalformedEntryError: these bytes are none.
    """
    _, at, kind_size, module_size, module_id = _unpack(encoded)
    kind, module_kind = _kinds(encoded, kind_size, module_size)
    return LogEntry(
        id=entry_id,
        kind=kind,
        module=(module_kind, module_id) if module_size else None,
        logged_at=moment(at),
        payload=encoded[_HEADER.size + kind_size + module_size :],
    )


def persistence_and_time(encoded: bytes) -> tuple[EventPersistence, datetime]:
    """How long an entry is to be kept, and when it was appended. What this takes, `decode` can read for ever.

    Raises:
        MalformedEntryError: these bytes are no entry.
    """
    persistence, at, kind_size, module_size, _ = _unpack(encoded)
    _kinds(encoded, kind_size, module_size)
    if persistence == EventPersistence.TRANSIENT.value:
        raise MalformedEntryError("a transient entry is never stored")
    if not kind_size or _HEADER.size + kind_size + module_size > len(encoded):
        raise MalformedEntryError("an entry ends before its payload begins")
    try:
        return EventPersistence(persistence), moment(at)
    except (ValueError, OverflowError) as error:
        raise MalformedEntryError(f"the header of an entry makes no sense: {error}") from None


def logged_at(encoded: bytes) -> datetime:
    """When the entry was logged."""
    return moment(_TIME.unpack_from(encoded, _TIME_AT)[0])


def with_time(encoded: bytes, at: datetime) -> bytes:
    """The entry, logged at another moment."""
    return b"".join((encoded[:_TIME_AT], _TIME.pack(microseconds(at)), encoded[_TIME_AT + _TIME.size :]))


def microseconds(at: datetime) -> int:
    """Microseconds since the epoch."""
    return (at - _EPOCH) // _MICROSECOND


def moment(at: int) -> datetime:
    """The moment so many microseconds after the epoch."""
    return _EPOCH + timedelta(microseconds=at)


def _kinds(encoded: bytes, kind_size: int, module_size: int) -> tuple[str, str]:
    """The entry's kind, and that of its module."""
    kind_end = _HEADER.size + kind_size
    try:
        return encoded[_HEADER.size : kind_end].decode(), encoded[kind_end : kind_end + module_size].decode()
    except UnicodeDecodeError as error:
        raise MalformedEntryError(f"the kind of an entry is no UTF-8: {error}") from None


def _unpack(encoded: bytes) -> tuple[int, int, int, int, int]:
    if len(encoded) < _HEADER.size or encoded[0] != _VERSION:
        raise MalformedEntryError(f"this is no entry of a log: {encoded[:32]!r}")
    _, persistence, at, kind_size, module_size, module_id = _HEADER.unpack_from(encoded)
    return persistence, at, kind_size, module_size, module_id
