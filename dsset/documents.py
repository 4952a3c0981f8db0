"""How an item lies in Firestore: plain functions from items to writes and from documents to items.

Each item is a document of its own in the set's collection, and its tombstone stays in that document:

    id          the item's ID, as text
    value       its bytes; not in a tombstone
    due         an integer that only ever rises: 0, ready; a time in microseconds, ready from then on;
                2^62, gone. The only field that needs an index.
    token       of the `add` outside a transaction that made it, so that a resend knows its own work
    metadata    strings that travel with the value
    created_at  the server's time of the `add` that revived a tombstone, or of the first `add` of an item that was put
                back; else the document's create time counts
    popped_by   in a tombstone: the token of the transaction that popped it
    expire_at   in a tombstone: when a TTL policy may remove it

The document's ID is a hash, because IDs that rise (as those of users often do) would make one key range hot.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

from dsset import listed_protos, protos
from dsset.encoded_writes import (
    ABSENT,
    BYTES,
    TEXT,
    EncodedWrite,
    EncodedWrites,
    before_write,
    bytes_entry,
    bytes_prefix,
    field_entries,
    number_entry,
    text_prefix,
    time_entry,
    update_prefix,
    value_prefix,
    version_prefix,
)
from dsset.items import Item, ListedItem, make_listed_item

GONE = 1 << 62
"""`due` of a tombstone: later than any datetime, and a `maximum` transform can never lower it."""

READY = 0

TTL_MARGIN = timedelta(minutes=10)
"""For which TTL leaves a document longer than it is needed: what says when it expires may travel for a while, be sent
again, and come from a clock that lags, while it is needed for so long from when it arrives."""

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_HASH_BYTES = 20  # 160 bits: two of a million million items share one with a chance below 10^-24
_ID_LENGTH = 2 * _HASH_BYTES  # in hex

_ADDED_IN_TRANSACTION = ("id", "value", "metadata")
_REMOVED = ("id", "due", "value", "metadata", "expire_at")

Value = protos.Value
_READY_VALUE = Value(integer_value=READY).SerializeToString()
_GONE_VALUE = Value(integer_value=GONE)
_GONE_ENTRY = number_entry(b"due", GONE)
_READY_ENTRY = number_entry(b"due", READY)
_SERVER_TIME = protos.DocumentTransform.FieldTransform(field_path="created_at", set_to_server_value=1)
_ABSENT = protos.Precondition(exists=False)


def document_id(item_id: str) -> str:
    """The ID of the item's document: hex, spread evenly, and never one that Firestore reserves."""
    return hashlib.blake2b(item_id.encode(), digest_size=_HASH_BYTES).hexdigest()


def microseconds(moment: datetime) -> int:
    """Microseconds since the epoch."""
    return (moment - _EPOCH) // _MICROSECOND


def moment(timestamp: Any) -> datetime:
    """The aware datetime of a Timestamp."""
    return _EPOCH + timedelta(0, timestamp.seconds, timestamp.nanos // 1_000)


def due(item: Item) -> int:
    """What the field `due` holds while the item is in the set."""
    return READY if item.process_after is None else microseconds(item.process_after)


def create(name: str, item: Item, token: bytes) -> EncodedWrite:
    """The write that adds an item, and fails where its document lies already."""
    if item.process_after is None and not item.metadata:
        rest = _ready_entries(token)
    else:
        rest = _token_entry(token) + field_entries({"due": Value(integer_value=due(item)), **_metadata(item)})
    document, item_id, value = name.encode(), item.id.encode(), item.value
    size, before_name, before_id, before_value = _around_item(
        len(document), len(item_id), len(value), len(rest)
    )
    parts = (before_name, document, before_id, item_id, before_value, value, rest, ABSENT)
    return EncodedWrite(document, size, parts)


@lru_cache(maxsize=1_024)
def _around_item(name: int, item_id: int, value: int, rest: int) -> tuple[int, bytes, bytes, bytes]:
    """How long the write is that adds an item, and what comes before its parts, by how long they are."""
    before_id, before_value = text_prefix(b"id", item_id), bytes_prefix(b"value", value)
    entries = len(before_id) + item_id + len(before_value) + value + rest
    before_name = update_prefix(name, entries)
    return len(before_name) + name + entries + len(ABSENT), before_name, before_id, before_value


@lru_cache(maxsize=8)
def _ready_entries(token: bytes) -> bytes:
    """What all that is added together, and is due at once, has in common."""
    return _token_entry(token) + _READY_ENTRY


def _token_entry(token: bytes) -> bytes:
    return bytes_entry(b"token", token) if token else b""


def revive(name: str, item: Item, token: bytes, version: Any) -> Any:
    """The write that adds an item in place of its expired tombstone, if that is still the one looked at."""
    document = protos.Document(name=name, fields=_fields(item, token))
    return protos.Write(
        update=document,
        update_transforms=[_SERVER_TIME],
        current_document=protos.Precondition(update_time=version),
    )


def merge(name: str, item: Item) -> Any:
    """The blind write that adds an item in a transaction.

    `due` is raised, never lowered, so a tombstone stays one; and the token is left alone, so that the `add` that it
    tells of still knows its own work.
    """
    fields = _fields(item, b"")
    raised = protos.DocumentTransform.FieldTransform(
        field_path="due", maximum=Value(integer_value=fields.pop("due").integer_value)
    )
    mask = _ADDED_IN_TRANSACTION if item.metadata else _ADDED_IN_TRANSACTION[:2]
    return protos.Write(
        update=protos.Document(name=name, fields=fields),
        update_mask=protos.DocumentMask(field_paths=mask),
        update_transforms=[raised],
    )


def tombstone_entries(token: bytes, expire_at: datetime) -> bytes:
    """The encoded fields that all tombstones of one pop have in common."""
    seconds, micros = divmod(microseconds(expire_at), 1_000_000)
    entries = _GONE_ENTRY + time_entry(b"expire_at", seconds, micros * 1_000)
    return entries + bytes_entry(b"popped_by", token) if token else entries


def pops(prefix: bytes, items: Iterable[ListedItem], common: bytes) -> EncodedWrites:
    """The writes that leave tombstones, each of which fails where the item is no longer as it was listed.

    A write replaces the document: everything that a tombstone keeps is known from the listing. Names of documents in
    the set begin with `prefix`; `common` is what `tombstone_entries` says.
    """
    names, versions = [], []
    parts: list[bytes] = []
    for item in items:
        name, version, token, item_id = item._name, item._version, item._token, item.id.encode()
        # else it was listed from another set
        if len(name) != len(prefix) + _ID_LENGTH or not name.startswith(prefix):
            name = prefix + document_id(item.id).encode()
        # all but the parts themselves goes by how long they are
        before_name, before_id, before_token, before_version = _around_tombstone(
            len(name), len(common), len(item_id), len(token), len(version)
        )
        parts += (before_name, name, common, before_id, item_id, before_token, token, before_version, version)
        names.append(name)
        versions.append(version)
    return EncodedWrites(names, versions, parts)


@lru_cache(maxsize=1_024)
def _around_tombstone(
    name: int, common: int, item_id: int, token: int, version: int
) -> tuple[bytes, bytes, bytes, bytes]:
    """What comes before the parts of a write that leaves a tombstone, by how long they are."""
    before_id = text_prefix(b"id", item_id)
    before_token = value_prefix(b"token", token) if token else b""
    entries = common + len(before_id) + item_id + len(before_token) + token
    before_name, before_version = update_prefix(name, entries), version_prefix(version)
    size = len(before_name) + name + entries + len(before_version) + version
    return before_write(size) + before_name, before_id, before_token, before_version


def remove(name: str, item_id: str, expire_at: datetime) -> Any:
    """The blind write that leaves a tombstone whatever lies there, and keeps who had popped it before."""
    fields = {
        "id": Value(string_value=item_id),
        "due": _GONE_VALUE,
        "expire_at": timestamp(expire_at),
    }
    return protos.Write(
        update=protos.Document(name=name, fields=fields),
        update_mask=protos.DocumentMask(field_paths=_REMOVED),
    )


def as_listed(document: Any) -> Any:
    """A Document as `decode` and `cursor` take it; the answers to a listing are read as such at once."""
    return listed_protos.Document.FromString(document.SerializeToString())


def decode(document: Any) -> ListedItem:
    """The item in a document of the set that is no tombstone."""
    fields = document.fields  # to read an absent key makes one that is empty, which nobody sees
    due = fields["due"]
    return make_listed_item(
        str(_content(fields["id"], TEXT), "utf-8"),
        _content(fields["value"], BYTES),
        None if due == _READY_VALUE else _process_after(due),
        _strings(fields["metadata"]) if "metadata" in fields else {},
        moment(
            Value.FromString(fields["created_at"]).timestamp_value
            if "created_at" in fields
            else document.create_time
        ),
        document.update_time,
        fields["token"],
        document.name,
    )


def _content(value: bytes, tag: bytes) -> bytes:
    """The text or bytes in an encoded Value; empty, as protobuf would say, where there is none of that kind."""
    if not value.startswith(tag):
        return b""
    size = len(value)  # 1, 2 or 3 bytes of it say how long the content is, behind the 2 of the tag
    return value[3:] if size < 3 + 0x80 else value[4:] if size < 4 + 0x4000 else value[5:]


def _process_after(value: bytes) -> datetime | None:
    due_at = Value.FromString(value).integer_value
    return None if due_at == READY else _EPOCH + timedelta(microseconds=due_at)


def _strings(value: bytes) -> dict[str, str]:
    fields = Value.FromString(value).map_value.fields
    return {key: one.string_value for key, one in fields.items()}


def cursor(document: Any) -> tuple[int, str]:
    """The place of an item's document in the order of a listing."""
    return Value.FromString(document.fields["due"]).integer_value, document.name.decode()


def query_due(collection_id: str, due_by: int, limit: int, after: tuple[int, str] | None = None) -> Any:
    """The query for the first `limit` items whose `due` is at most `due_by`, behind a (due, document name)."""
    query = protos.StructuredQuery()
    query.CopyFrom(_query_in_order(collection_id))
    query.where.field_filter.value.integer_value = due_by
    query.limit.value = limit
    if after is not None:
        values = [Value(integer_value=after[0]), Value(reference_value=after[1])]
        query.start_at.CopyFrom(protos.Cursor(values=values, before=False))
    return query


@lru_cache(maxsize=16)
def _query_in_order(collection_id: str) -> Any:
    """What is the same in all listings of sets of one name; never changed."""
    field = protos.StructuredQuery.FieldReference(field_path="due")
    query = protos.StructuredQuery(
        where=protos.StructuredQuery.Filter(
            field_filter=protos.StructuredQuery.FieldFilter(
                field=field, op=protos.StructuredQuery.FieldFilter.Operator.LESS_THAN_OR_EQUAL
            )
        ),
        order_by=[
            protos.StructuredQuery.Order(field=field, direction=protos.StructuredQuery.Direction.ASCENDING),
            protos.StructuredQuery.Order(
                field=protos.StructuredQuery.FieldReference(field_path="__name__"),
                direction=protos.StructuredQuery.Direction.ASCENDING,
            ),
        ],
    )
    query.from_.add(collection_id=collection_id)
    return query


def restore(name: str, item: ListedItem, version: Any | None) -> Any:
    """The write that puts an item back as it was listed, in place of this version of its tombstone (None: of none)."""
    precondition = _ABSENT if version is None else protos.Precondition(update_time=version)
    return protos.Write(
        update=protos.Document(name=name, fields=fields_of(item)), current_document=precondition
    )


def fields_of(item: ListedItem) -> dict[str, Any]:
    """All that has to be kept of an item that was listed, so that `decode` gives it again from another document."""
    fields = _fields(item, b"") | {"created_at": timestamp(item.created_at)}
    return fields | {"token": Value.FromString(item._token)} if item._token else fields


def chunks(writes: Collection[Any], *, max_writes: int, max_bytes: int) -> list[list[Any]]:
    """The writes in order, cut so that no chunk breaks the limits (a single write may)."""
    result: list[list[Any]] = []
    size = max_bytes
    for write in writes:
        write_bytes = write.ByteSize()
        if size + write_bytes > max_bytes or len(result[-1]) == max_writes:
            result.append([])
            size = 0
        result[-1].append(write)
        size += write_bytes
    return result


def _fields(item: Item, token: bytes) -> dict[str, Any]:
    fields = {
        "id": Value(string_value=item.id),
        "value": Value(bytes_value=item.value),
        "due": Value(integer_value=due(item)),
    }
    if token:
        fields["token"] = Value(bytes_value=token)
    return {**fields, **_metadata(item)}


def _metadata(item: Item) -> dict[str, Any]:
    if not item.metadata:
        return {}
    strings = {key: Value(string_value=value) for key, value in item.metadata.items()}
    return {"metadata": Value(map_value=protos.MapValue(fields=strings))}


def timestamp(moment: datetime) -> Any:
    """The Value of an aware datetime."""
    seconds, micros = divmod(microseconds(moment), 1_000_000)
    return Value(timestamp_value=protos.Timestamp(seconds=seconds, nanos=micros * 1_000))
