"""Short words for entries of firestore.indexes.json, for queries, and for what an error asks for."""

from __future__ import annotations

import base64
import json
import re
from typing import Any

from google.cloud.firestore_admin_v1.types import Index

from emulator.firestore import protos
from emulator.firestore.index_definitions import IndexDefinitions
from emulator.firestore.index_file import parse_index_file
from emulator.firestore.missing_index import require_indexes
from emulator.firestore.query import compile_query
from emulator.status import Status

PARENT = "projects/demo/databases/(default)/documents"
DOWN = "DESCENDING"


def index(fields: str, scope: str = "COLLECTION", group: str = "c") -> Any:
    """An entry of `indexes`: index("a, b desc, tags array, v 3")."""
    entries = []
    for part in fields.split(", "):
        path, _, mode = part.partition(" ")
        match mode:
            case "array":
                config: Any = {"arrayConfig": "CONTAINS"}
            case "" | "desc":
                config = {"order": DOWN if mode else "ASCENDING"}
            case dimension:
                config = {"vectorConfig": {"dimension": int(dimension), "flat": {}}}
        entries.append({"fieldPath": path, **config})
    return {"collectionGroup": group, "queryScope": scope, "fields": entries}


def override(field: str, *modes: str, group: str = "c") -> Any:
    """An entry of `fieldOverrides`: override("a", "asc", "desc group", "array")."""
    configs: Any = {
        "asc": {"order": "ASCENDING"},
        "desc": {"order": DOWN},
        "array": {"arrayConfig": "CONTAINS"},
    }
    indexes = [
        {**configs[mode.split()[0]], "queryScope": "COLLECTION_GROUP" if "group" in mode else "COLLECTION"}
        for mode in modes
    ]
    return {"collectionGroup": group, "fieldPath": field, "indexes": indexes}


def as_file(entries: list[Any]) -> str:
    """The file's text; of two overrides of one field, the later one stands."""
    overrides = {(one["collectionGroup"], one["fieldPath"]): one for one in entries if "fieldPath" in one}
    indexes = [one for one in entries if "fieldPath" not in one]
    return json.dumps({"indexes": indexes, "fieldOverrides": [*overrides.values()]})


def structured(condition: Any, orders: str = "", *, collection: str = "c", group: bool = False) -> Any:
    """A query's proto: structured(("OR", [("a", "EQUAL", 1), ...]), "b desc"); a list is an AND."""
    query = protos.StructuredQuery()
    query.from_.add(collection_id=collection, all_descendants=group)
    if condition:
        query.where.CopyFrom(_filter(("AND", condition) if isinstance(condition, list) else condition))
    for part in filter(None, orders.split(", ")):
        path, _, direction = part.partition(" ")
        order = query.order_by.add(direction=2 if direction else 1)
        order.field.field_path = path
    return query


def _filter(condition: Any) -> Any:
    result = protos.StructuredQuery.Filter()
    if condition[0] in ("AND", "OR"):
        result.composite_filter.op = 1 if condition[0] == "AND" else 2
        result.composite_filter.filters.extend(map(_filter, condition[1]))
    elif condition[1].startswith("IS_"):
        path, op = condition
        result.unary_filter.field.field_path = path
        result.unary_filter.op = getattr(protos.StructuredQuery.UnaryFilter.Operator, op)
    else:
        path, op, number = condition
        result.field_filter.field.field_path = path
        result.field_filter.op = getattr(protos.StructuredQuery.FieldFilter.Operator, op)
        value = result.field_filter.value
        if op in ("IN", "NOT_IN", "ARRAY_CONTAINS_ANY"):
            value = value.array_value.values.add()
        value.integer_value = number
    return result


def sums(*fields: str) -> Any:
    """Aggregations: the sum of each field, and a count."""
    query = protos.StructuredAggregationQuery()
    for field in fields:
        query.aggregations.add().sum.field.field_path = field
    query.aggregations.add().count.SetInParent()
    return query.aggregations


def message_of(query: Any, entries: list[Any], parent: str = PARENT, aggregations: Any = ()) -> str:
    """The message of the error that a query with these definitions gets; empty where it is served."""
    file = parse_index_file(as_file(entries))
    definitions = IndexDefinitions(file.ttl_fields, file.indexes, file.overrides)
    try:
        require_indexes(definitions, compile_query(parent, query, ruled=False), query, aggregations)
    except Status as status:
        return status.message
    return ""


def asked(message: str) -> str:
    """What the message's link asks for, as google's own class reads it.

    "a, b desc, __name__ desc" is a composite index ("group: a, ..." one of a collection group), "COLLECTION_ASC a" is a
    field's own.
    """
    link = re.search(r"\?create_(composite|exemption)=([\w-]+)(\s|$)", message)
    assert link is not None, message
    decoded = Index.deserialize(base64.urlsafe_b64decode(link[2] + "=" * (-len(link[2]) % 4)))
    contains = Index.IndexField.ArrayConfig.CONTAINS
    modes = {Index.IndexField.Order.ASCENDING: "", Index.IndexField.Order.DESCENDING: " desc"}
    fields = [
        one.field_path + (" array" if one.array_config == contains else modes[one.order])
        for one in decoded.fields
    ]
    is_group = decoded.query_scope == Index.QueryScope.COLLECTION_GROUP
    base = "projects/demo/databases/(default)/collectionGroups/c"
    if link[1] == "composite":
        assert decoded.name == f"{base}/indexes/_"
        return ("group: " if is_group else "") + ", ".join(fields)
    ((kind, field),) = re.findall(
        r"^The query requires a (\w+) index for collection c and field (\S+)\. You can", message
    )
    assert decoded.name == f"{base}/fields/{field}"
    mode = {"": "ASC", " desc": "DESC", " array": "CONTAINS"}[fields[0].removeprefix(field)]
    assert kind == ("COLLECTION_GROUP_" if is_group else "COLLECTION_") + mode
    return f"{kind} {field}"


def to_add(message: str) -> list[Any]:
    """The entries that the message says to put into the file."""
    found: list[Any] = []
    for line in message.splitlines():
        match = re.match(
            r"Or (?:add to `indexes`|put into `fieldOverrides`) of firestore.indexes.json: ", line
        )
        if match is not None:
            found += json.loads(f"[{line[match.end() :]}]")
    return found
