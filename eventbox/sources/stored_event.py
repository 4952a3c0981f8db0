"""`StoredEvent`, and how it lies in Firestore: plain functions from events to writes and from documents to events.

Each event is a document of its own, under its ID, a hash of what it says:

    event_type    its type; stays when the event is deleted, and so tells that it was known
    data          its bytes
    held          true; what `get_events` asks for
    received      whether it has arrived. The two marks are fields of their own, so that each is written blindly, in
    broadcasted   any order and as often as one likes, and the one never takes back the other.
    expire_at     in a deleted one that is to be forgotten: when a TTL policy may remove it

A deleted event keeps `event_type` alone, which no query asks for. A mark in a transaction, about an event that was
never stored, leaves a document without `event_type`: nothing shows it, and a later `store` takes its place.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from dsset import protos

STORE = "eventbox_store"
"""The collection of every event store; `held`, `received` and `broadcasted` are indexed."""

MAX_DATA_BYTES = 900_000
MAX_TYPE_BYTES = 256

_ID = re.compile(r"[0-9a-f]{64}")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_DELETED = ("data", "held", "received", "broadcasted", "expire_at")

_TRUE = protos.Value(boolean_value=True)
_FALSE = protos.Value(boolean_value=False)


@dataclass(frozen=True, slots=True)
class StoredEvent:
    """An event that is held. It is new until it is broadcasted, and done with once it is received."""

    id: str
    event_type: str
    data: bytes
    broadcasted: bool = False
    received: bool = False


def stored_event_id(data: bytes, event_type: str) -> str:
    """The ID of an event: a hash of its type and its bytes, 64 hexadecimal digits."""
    kind = event_type.encode()
    return hashlib.blake2b(len(kind).to_bytes(4, "big") + kind + data, digest_size=32).hexdigest()


def is_id(text: str) -> bool:
    """Whether any event could have this ID."""
    return _ID.fullmatch(text) is not None


def fields(data: bytes, event_type: str) -> dict[str, Any]:
    """The fields of a new event."""
    return {
        "event_type": protos.Value(string_value=event_type),
        "data": protos.Value(bytes_value=data),
        "held": _TRUE,
        "received": _FALSE,
        "broadcasted": _FALSE,
    }


def mark(name: str, field: str, value: bool) -> Any:
    """The write that sets a mark, whatever else is there."""
    return protos.Write(
        update=protos.Document(name=name, fields={field: _TRUE if value else _FALSE}),
        update_mask=protos.DocumentMask(field_paths=[field]),
    )


def deletion(name: str, expire_at: datetime | None) -> Any:
    """The write after which the event is known, but no longer held."""
    kept = {}
    if expire_at is not None:
        moment = protos.Timestamp()
        moment.FromDatetime(expire_at)
        kept["expire_at"] = protos.Value(timestamp_value=moment)
    return protos.Write(
        update=protos.Document(name=name, fields=kept),
        update_mask=protos.DocumentMask(field_paths=_DELETED),
    )


def is_known(fields: Mapping[str, Any], age: timedelta, remember: timedelta | None) -> bool:
    """Whether an event with these fields, last written `age` ago, need not be stored (again)."""
    if "event_type" not in fields:
        return False
    return "held" in fields or remember is None or age < remember


def decode(document: Any) -> StoredEvent | None:
    """The event in a document; None where none is held."""
    fields = document.fields
    if "held" not in fields:
        return None
    return StoredEvent(
        id=document.name.rpartition("/")[2],
        event_type=fields["event_type"].string_value,
        data=fields["data"].bytes_value,
        broadcasted=fields["broadcasted"].boolean_value,
        received=fields["received"].boolean_value,
    )


def query(conditions: Mapping[str, bool], limit: int, after: str | None) -> Any:
    """The query for the documents with these fields, by their names, behind the document `after`."""
    result = protos.StructuredQuery(limit={"value": limit})
    result.from_.add(collection_id=STORE)
    result.order_by.add(direction=1).field.field_path = "__name__"
    composite = result.where.composite_filter
    composite.op = 1  # AND
    for field, value in conditions.items():
        one = composite.filters.add().field_filter
        one.field.field_path = field
        one.op = protos.StructuredQuery.FieldFilter.Operator.EQUAL
        one.value.boolean_value = value
    if after is not None:
        result.start_at.CopyFrom(protos.Cursor(values=[protos.Value(reference_value=after)], before=False))
    return result
