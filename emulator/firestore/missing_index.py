"""The error of a query whose index is missing: production's words, and what to put into `firestore.indexes.json`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from typing import Any

from grpc import StatusCode

from emulator.firestore.field_paths import Path, render_field_path
from emulator.firestore.index_definitions import IndexDefinitions
from emulator.firestore.index_requirements import requirements
from emulator.firestore.indexes import Index, IndexField, Mode, Scope
from emulator.firestore.names import database_of
from emulator.firestore.query import Query
from emulator.status import Status

_MULTIPLE_RANGES = (
    " .\nThe query contains range and inequality filters on multiple fields, please refer to the documentation for "
    "index selection best practices: https://cloud.google.com/firestore/docs/query-data/multiple-range-fields."
)
_KINDS = {Mode.ASCENDING: "ASC", Mode.DESCENDING: "DESC", Mode.CONTAINS: "CONTAINS"}
# numbers of google.firestore.admin.v1.Index, which takes long to import
_SCOPES = {Scope.COLLECTION: 1, Scope.COLLECTION_GROUP: 2}
_MODES = {Mode.ASCENDING: (2, 1), Mode.DESCENDING: (2, 2), Mode.CONTAINS: (3, 1)}


def require_indexes(
    definitions: IndexDefinitions, query: Query, structured: Any, aggregations: Iterable[Any] = ()
) -> None:
    """Return where the query has the indexes that production would ask for.

    Args:
        query, structured: the same query, compiled and as it came.
        aggregations: those over its result.

    Raises:
        Status: FAILED_PRECONDITION. The message begins as production's, about the first index that is missing, and goes
            on with all entries to put into `firestore.indexes.json`: with them, the query is served.
    """
    missing: list[Index] = []
    wanted = definitions
    for requirement in requirements(query, structured, aggregations):
        for index in requirement.missing(wanted):
            missing.append(index)
            wanted = wanted.with_index(index)
    if missing:
        several = len(query.condition.inequality_fields) > 1
        message = _message(database_of(query.parent), missing[0], several=several)
        raise Status(StatusCode.FAILED_PRECONDITION, f"{message}\n{_to_add(missing, wanted)}")


def _message(database: str, index: Index, *, several: bool) -> str:
    project = database.split("/")[1]
    if any(field.mode is Mode.VECTOR for field in index.fields):
        return _vector_message(database, project, index)
    console = f"https://console.firebase.google.com/v1/r/project/{project}/firestore/indexes"
    group = f"{database}/collectionGroups/{index.collection_group}"
    if index.single is not None:
        path = render_field_path(index.single.path)
        link = _encoded(f"{group}/fields/{path}", index.scope, [index.single])
        return (
            f"The query requires a {index.scope.value}_{_KINDS[index.single.mode]} index for collection "
            f"{index.collection_group} and field {path}. You can create it here: {console}?create_exemption={link}"
        )
    link = _encoded(f"{group}/indexes/_", index.scope, index.entries)
    message = f"The query requires an index. You can create it here: {console}?create_composite={link}"
    return message + _MULTIPLE_RANGES if several else message


def _vector_message(database: str, project: str, index: Index) -> str:
    database_id = database.rpartition("/")[2]
    configs = " ".join(f"--field-config={_config(field)}" for field in index.fields)
    return (
        "Missing vector index configuration. Please create the required index with the following gcloud command: "
        f"gcloud firestore indexes composite create --project={project} "
        + (f"--database={database_id} " if database_id != "(default)" else "")
        + f"--collection-group={index.collection_group} --query-scope={index.scope.value} {configs}"
    )


def _config(field: IndexField) -> str:
    match field.mode:
        case Mode.CONTAINS:
            config = "array-config=CONTAINS"
        case Mode.VECTOR:
            config = f'vector-config=\'{{"dimension":"{field.dimension}","flat": "{{}}"}}\''
        case _:
            config = f"order={field.mode.value}"
    return f"{config},field-path={render_field_path(field.path)}"


def _to_add(missing: list[Index], wanted: IndexDefinitions) -> str:
    """The entries as JSON, and where they belong."""
    parts = []
    composites = [index.json() for index in missing if index.single is None]
    if composites:
        parts.append("Or add to `indexes` of firestore.indexes.json: " + _entries(composites))
    singles = dict.fromkeys((index.collection_group, index.single.path) for index in missing if index.single)
    if singles:
        overrides = [_override(wanted, group, path) for group, path in singles]
        parts.append("Or put into `fieldOverrides` of firestore.indexes.json: " + _entries(overrides))
    return "\n".join(parts)


def _override(wanted: IndexDefinitions, group: str, path: Path) -> dict[str, Any]:
    """The whole entry, as it stands in for all that the field had."""
    field = render_field_path(path)
    ttl = {"ttl": True} if wanted.ttl_fields.get(group) == field else {}
    indexes = [index.json() for index in wanted.of_field(group, path)]
    return {"collectionGroup": group, "fieldPath": field, **ttl, "indexes": indexes}


def _entries(entries: list[dict[str, Any]]) -> str:
    return ", ".join(json.dumps(entry, ensure_ascii=False) for entry in entries)


def _encoded(name: str, scope: Scope, fields: Iterable[IndexField]) -> str:
    """A google.firestore.admin.v1.Index as the console's links carry it: base64url, without padding."""
    message = _bytes(1, name.encode()) + bytes([2 << 3, _SCOPES[scope]])
    for field in fields:
        number, value = _MODES[field.mode]
        encoded = _bytes(1, render_field_path(field.path).encode()) + bytes([number << 3, value])
        message += _bytes(3, encoded)
    return base64.urlsafe_b64encode(message).decode().rstrip("=")


def _bytes(number: int, value: bytes) -> bytes:
    """A field of protobuf's wire format with a length before it."""
    length, size = len(value), bytearray()
    while length > 0x7F:
        size.append(length & 0x7F | 0x80)
        length >>= 7
    return bytes([number << 3 | 2, *size, length]) + value
