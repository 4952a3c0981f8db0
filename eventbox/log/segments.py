"""How entries lie in segments, many to a document: plain functions from entries to writes and back.

A segment is a document of the log's collection of segments:

    end         the ID after that of its last entry: what it is found by, and the only field with an index
    entries     the entries by their IDs, as `entry_codec` has them

New entries are merged into the last segment without looking at it. So a segment that has been trimmed away comes back
with the new entries alone, which is all that it should hold. Its own ID is a hash of that of its first entry, for IDs
that rise would make one key range hot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from dsset import protos

FILL_BYTES = 64 * 1024
"""A segment is filled further until it has so many bytes: more would be read again and again by live followers."""

FULL_BYTES = 512 * 1024
"""What is ordered at once fills a segment up to here."""

LARGEST_BYTES = 1_000_000
"""An entry of any size joins a segment that is to be filled further: the document of 1 MiB holds both."""

_OVERHEAD_BYTES = 32
"""The ID of an entry, and what Firestore adds: https://firebase.google.com/docs/firestore/storage-size."""

_HASH_BYTES = 12


@dataclass(frozen=True, slots=True)
class Tail:
    """Where a log ends: the next ID, the ID of the last segment's first entry, and that segment's bytes."""

    next_id: int
    segment: int
    size: int


@dataclass(frozen=True, slots=True)
class Extension:
    """Entries that go into one segment: the ID of the segment's first entry, that of theirs, and they themselves."""

    segment: int
    first: int
    entries: Sequence[bytes]


@dataclass(frozen=True, slots=True)
class Segment:
    """A segment as it was read. `version` is the document's update time."""

    name: str
    end: int
    entries: dict[int, bytes]
    version: Any


def extend(tail: Tail, entries: Sequence[bytes]) -> tuple[Tail, list[Extension]]:
    """Lay out entries behind the tail; the new tail, and what goes where.

    Every segment but the last ends up with `FILL_BYTES` at least.
    """
    if not entries:
        return tail, []
    extensions: list[Extension] = []
    segment, size = tail.segment, tail.size
    into: list[bytes] | None = None
    if tail.size >= FILL_BYTES:
        segment, size = tail.next_id, 0
    for entry_id, entry in enumerate(entries, tail.next_id):
        bytes_more = len(entry) + _OVERHEAD_BYTES
        if size + bytes_more > (LARGEST_BYTES if size < FILL_BYTES else FULL_BYTES):
            segment, size, into = entry_id, 0, None
        if into is None:
            into = []
            extensions.append(Extension(segment, entry_id, into))
        into.append(entry)
        size += bytes_more
    return Tail(tail.next_id + len(entries), segment, size), extensions


def write(collection: str, extension: Extension) -> Any:
    """The write that puts entries into their segment: a blind one."""
    ids = range(extension.first, extension.first + len(extension.entries))
    entries = {
        str(entry_id): protos.Value(bytes_value=entry)
        for entry_id, entry in zip(ids, extension.entries, strict=True)
    }
    document = protos.Document(
        name=f"{collection}/{document_id(extension.segment)}",
        fields={
            "end": protos.Value(integer_value=ids.stop),
            "entries": protos.Value(map_value=protos.MapValue(fields=entries)),
        },
    )
    if extension.first == extension.segment:
        return protos.Write(update=document)
    return protos.Write(
        update=document, update_mask=protos.DocumentMask(field_paths=["end", *map(_path, ids)])
    )


def removal(segment: Segment, until: int) -> Any:
    """The write that takes the entries before an ID out of a segment; it fails where the segment has changed."""
    unchanged = protos.Precondition(update_time=segment.version)
    if until >= segment.end:
        return protos.Write(delete=segment.name, current_document=unchanged)
    return protos.Write(
        update=protos.Document(name=segment.name),
        update_mask=protos.DocumentMask(
            field_paths=[_path(entry_id) for entry_id in sorted(segment.entries) if entry_id < until]
        ),
        current_document=unchanged,
    )


def decode(document: Any) -> Segment:
    """The segment in a document."""
    entries = document.fields["entries"].map_value.fields
    return Segment(
        name=document.name,
        end=document.fields["end"].integer_value,
        entries={int(entry_id): value.bytes_value for entry_id, value in entries.items()},
        version=document.update_time,
    )


def query(collection_id: str, position: int, limit: int) -> Any:
    """The query for the first `limit` segments that may hold an entry at this position or a later one."""
    field = protos.StructuredQuery.FieldReference(field_path="end")
    asked = protos.StructuredQuery(
        where=protos.StructuredQuery.Filter(
            field_filter=protos.StructuredQuery.FieldFilter(
                field=field,
                op=protos.StructuredQuery.FieldFilter.Operator.GREATER_THAN,
                value=protos.Value(integer_value=position),
            )
        ),
        order_by=[
            protos.StructuredQuery.Order(field=field, direction=protos.StructuredQuery.Direction.ASCENDING)
        ],
        limit={"value": limit},
    )
    asked.from_.add(collection_id=collection_id)
    return asked


def document_id(first: int) -> str:
    """The ID of the segment's document: hex, spread evenly."""
    return hashlib.blake2b(str(first).encode(), digest_size=_HASH_BYTES).hexdigest()


def _path(entry_id: int) -> str:
    return f"entries.`{entry_id}`"
