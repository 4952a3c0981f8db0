"""ListDocuments: a collection page by page, also with the documents that exist only as parents."""

from __future__ import annotations

import base64
from collections.abc import Callable
from typing import Any

from google.protobuf.message import DecodeError
from grpc import StatusCode

from emulator.firestore import protos
from emulator.firestore.field_paths import DOCUMENT_ID, parse_field_path
from emulator.firestore.query import Query, masked
from emulator.firestore.query_filters import NAME
from emulator.firestore.reading import Consistency, Reader
from emulator.firestore.responses import Encoded, document_list
from emulator.firestore.values import name_key
from emulator.firestore.versions import Version
from emulator.status import Status

_DEFAULT_PAGE = 100
_MAX_PAGE = 300


async def list_documents(
    request: Any, compile: Callable[[str, Any], Query], reader: Reader, consistency: Consistency
) -> tuple[Encoded, int]:
    """The response, and how many documents it cost to read; `compile` makes a query of a parent and its proto."""
    if request.page_size < 0:
        raise _invalid("page_size is negative.")
    size = min(request.page_size or _DEFAULT_PAGE, _MAX_PAGE)
    if request.show_missing and (request.order_by or not request.collection_id):
        raise _invalid("show_missing cannot be used with order_by, nor without a collection ID.")
    structured = protos.StructuredQuery()
    structured.from_.add(collection_id=request.collection_id)
    structured.limit.value = size + 1
    _order(structured, request.order_by)
    _order_by_name(structured)
    last = _position(request.page_token)
    if last is not None:
        structured.start_at.CopyFrom(last)
    query = compile(request.parent, structured)
    run, _ = await reader.query(query, consistency)
    page: list[tuple[str, Version | None]] = [(version.name, version) for version in run]
    if request.show_missing:
        behind = name_key(last.values[-1].reference_value) if last is not None else b""
        missing = reader.missing(f"{request.parent}/{request.collection_id}", consistency)
        page.extend((name, None) for name in missing if name_key(name) > behind)
        page.sort(key=lambda entry: name_key(entry[0]))
    more = len(page) > size
    page = page[:size]
    token = _token(query, page[-1][1] or _missing(page[-1][0])) if more else ""
    paths = None
    if request.HasField("mask"):
        parsed = map(parse_field_path, request.mask.field_paths)
        paths = tuple(path for path in parsed if path != NAME)
    documents = [_encoded(version or _missing(name), paths) for name, version in page]
    return document_list(documents, token), max(1, len(page))


def _encoded(version: Version, paths: Any) -> bytes:
    assert version.data is not None
    # a document that exists only as a parent has nothing to mask, and no times
    return version.data if paths is None or not version.time_us else masked(version, paths)


def _missing(name: str) -> Version:
    return Version(name, protos.Document(name=name).SerializeToString(), 0, 0)


def _order(structured: Any, order_by: str) -> None:
    for part in filter(None, (part.strip() for part in order_by.split(","))):
        field, _, direction = part.partition(" ")
        order = structured.order_by.add()
        order.field.field_path = field
        if direction.strip().lower() not in ("", "asc", "desc"):
            raise _invalid(f"Malformed order_by: {order_by!r}.")
        descending = direction.strip().lower() == "desc"
        order.direction = getattr(
            protos.StructuredQuery.Direction, "DESCENDING" if descending else "ASCENDING"
        )


def _order_by_name(structured: Any) -> None:
    """Say what is so anyway, for a cursor to have a value of it."""
    orders = structured.order_by
    if not any(order.field.field_path == DOCUMENT_ID for order in orders):
        direction = orders[-1].direction if orders else protos.StructuredQuery.Direction.ASCENDING
        orders.add(direction=direction).field.field_path = DOCUMENT_ID


def _token(query: Query, last: Version) -> str:
    """A cursor behind a document: what it has in each of the query's orders."""
    cursor = query.cursor_behind(last)
    return base64.urlsafe_b64encode(cursor.SerializeToString()).decode()


def _position(token: str) -> Any | None:
    if not token:
        return None
    try:
        cursor = protos.Cursor.FromString(base64.b64decode(token.encode(), altchars=b"-_", validate=True))
    except (ValueError, DecodeError) as error:
        raise _invalid("Invalid page token.") from error
    if not cursor.values or cursor.values[-1].WhichOneof("value_type") != "reference_value":
        raise _invalid("Invalid page token.")
    return cursor


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
