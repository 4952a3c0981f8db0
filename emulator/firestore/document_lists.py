"""ListDocuments: a collection page by page, also with the documents that exist only as parents."""

from __future__ import annotations

import base64
from typing import Any

from grpc import StatusCode

from emulator.firestore import protos
from emulator.firestore.field_paths import parse_field_path
from emulator.firestore.query import compile_query, masked
from emulator.firestore.reading import Consistency, Reader
from emulator.firestore.status import Status
from emulator.firestore.store import Store
from emulator.firestore.values import name_key

_DEFAULT_PAGE = 100
_MAX_PAGE = 300


async def list_documents(
    request: Any, reader: Reader, consistency: Consistency, store: Store
) -> tuple[Any, int]:
    """The response, and how many documents it cost to read."""
    size = min(request.page_size, _MAX_PAGE) if request.page_size > 0 else _DEFAULT_PAGE
    if request.show_missing and request.order_by:
        raise Status(StatusCode.INVALID_ARGUMENT, "show_missing cannot be used with order_by.")
    structured = protos.StructuredQuery()
    structured.from_.add(collection_id=request.collection_id)
    _order(structured, request.order_by)
    found = list((await reader.query(compile_query(request.parent, structured), consistency))[0])
    if request.show_missing and request.collection_id:
        missing = store.missing_below(f"{request.parent}/{request.collection_id}")
        found.extend(protos.Document(name=name) for name in missing)
        found.sort(key=lambda document: name_key(document.name))
    begin = _after(request.page_token, found)
    page = found[begin : begin + size]
    if request.HasField("mask"):
        paths = tuple(
            path for path in map(parse_field_path, request.mask.field_paths) if path != ("__name__",)
        )
        page = [masked(document, paths) for document in page]
    more = begin + size < len(found)
    token = base64.urlsafe_b64encode(page[-1].name.encode()).decode() if more else ""
    return protos.ListDocumentsResponse(documents=page, next_page_token=token), max(1, len(page))


def _order(structured: Any, order_by: str) -> None:
    for part in filter(None, (part.strip() for part in order_by.split(","))):
        field, _, direction = part.partition(" ")
        order = structured.order_by.add()
        order.field.field_path = field
        if direction.strip().lower() not in ("", "asc", "desc"):
            raise Status(StatusCode.INVALID_ARGUMENT, f"Malformed order_by: {order_by!r}.")
        descending = direction.strip().lower() == "desc"
        order.direction = getattr(
            protos.StructuredQuery.Direction, "DESCENDING" if descending else "ASCENDING"
        )


def _after(token: str, found: list[Any]) -> int:
    if not token:
        return 0
    try:
        name = base64.urlsafe_b64decode(token.encode()).decode()
    except ValueError as error:
        raise Status(StatusCode.INVALID_ARGUMENT, "Invalid page token.") from error
    for position, document in enumerate(found):
        if document.name == name:
            return position + 1
    key = name_key(name)  # it has been deleted since: go on behind where it was
    return next((i for i, document in enumerate(found) if name_key(document.name) > key), len(found))
