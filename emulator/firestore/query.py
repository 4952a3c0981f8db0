"""A structured query, compiled: what it covers, what it matches, and in which order."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import Any

from grpc import StatusCode

from emulator.firestore import protos
from emulator.firestore.field_paths import Path, get_field, parse_field_path, render_field_path, set_field
from emulator.firestore.limits import check_operand
from emulator.firestore.names import check_reference, database_of, is_root
from emulator.firestore.nearest import Nearest, compile_nearest
from emulator.firestore.query_filters import NAME, Condition, compile_filter, field_key
from emulator.firestore.query_rules import check_rules
from emulator.firestore.values import invert, name_key, sort_key
from emulator.firestore.versions import Version
from emulator.status import Status

_DESCENDING = protos.StructuredQuery.Direction.DESCENDING


@dataclass(frozen=True, slots=True)
class Order:
    """A field to order by."""

    path: Path
    descending: bool

    def key(self, document: Any) -> bytes | None:
        """The document's place in this order; None where it has no such field, and so no place."""
        found = field_key(document, self.path)
        return found if found is None or not self.descending else invert(found)


@dataclass(frozen=True, slots=True)
class Bound:
    """A cursor: the keys of the first orders, and whether it lies before or behind what has them."""

    keys: tuple[bytes, ...]
    before: bool


@dataclass(frozen=True, slots=True)
class Query:
    """A compiled query. `orders` ends with the name, so that it is total.

    `nearest` ranks what the rest of the query finds.
    """

    parent: str
    collection_id: str
    all_descendants: bool
    condition: Condition
    orders: tuple[Order, ...]
    start: Bound | None
    end: Bound | None
    offset: int
    limit: int | None
    projection: tuple[Path, ...] | None
    nearest: Nearest | None = None

    def covers(self, name: str) -> bool:
        """Whether a document of this name lies in the collection, or the collections, that it asks."""
        if not name.startswith(f"{self.parent}/"):
            return False
        segments = name[len(self.parent) :].split("/")
        if self.collection_id and segments[-2] != self.collection_id:
            return False
        return self.all_descendants or len(segments) == 3

    def matches(self, document: Any) -> bool:
        """Whether its filters let the document through and it has all the ordered fields; bounds are left out."""
        return all(order.key(document) is not None for order in self.orders) and self.condition.matches(
            document
        )

    def includes(self, document: Any) -> bool:
        """Whether the document is in its result, offset and limit left out."""
        if not self.matches(document):
            return False
        keys = tuple(order.key(document) for order in self.orders)
        if self.start is not None:
            place = keys[: len(self.start.keys)]
            if place < self.start.keys or (place == self.start.keys and not self.start.before):
                return False
        if self.end is not None:
            place = keys[: len(self.end.keys)]
            if place > self.end.keys or (place == self.end.keys and self.end.before):
                return False
        return True

    def up_to(self, count: int | None) -> Query:
        """The query for so many of its documents at most; None: for all of them."""
        if count is None or self.nearest is not None or (self.limit is not None and self.limit <= count):
            return self
        return replace(self, limit=count)

    def project(self, version: Version) -> bytes:
        """The encoded document, or what is selected of it."""
        assert version.data is not None
        return version.data if self.projection is None else masked(version, self.projection)

    def cursor_behind(self, version: Version) -> Any:
        """A cursor right behind a document, as `start_at` takes it."""
        cursor = protos.Cursor(before=False)
        for order in self.orders:
            if order.path == NAME:
                cursor.values.add(reference_value=version.name)
            else:
                cursor.values.add().CopyFrom(get_field(version.message.fields, order.path))
        version.forget()
        return cursor


def masked(version: Version, paths: tuple[Path, ...]) -> bytes:
    """The encoded document with these fields only."""
    fields = version.message.fields
    copy = protos.Document(
        name=version.name, create_time=version.create_time, update_time=version.update_time
    )
    for path in paths:
        value = get_field(fields, path)
        if value is not None:
            set_field(copy.fields, path, value)
    version.forget()
    data: bytes = copy.SerializeToString()
    return data


def compile_query(parent: str, structured: Any, *, having: Iterable[Path] = (), ruled: bool = True) -> Query:
    """The query; INVALID_ARGUMENT where it is malformed, or where production does not run it.

    Args:
        having: further fields that the documents need to have, and are ordered by before their names.
        ruled: whether it has to keep production's rules; what it means does not depend on them.
    """
    sources = structured.from_
    collection_id = sources[0].collection_id if sources else ""
    all_descendants = sources[0].all_descendants if sources else True
    condition = compile_filter(structured.where, database_of(parent))
    if ruled:
        check_rules(parent, structured)
    by_name = all_descendants and not (collection_id and is_root(parent))  # the only way to go through those
    orders = _orders(structured.order_by, condition, having, by_name)
    limit = structured.limit.value if structured.HasField("limit") else None
    if limit is not None and limit < 0:
        raise _invalid("limit is negative")
    if structured.offset < 0:
        raise _invalid("offset is negative")
    return Query(
        parent=parent,
        collection_id=collection_id,
        all_descendants=all_descendants,
        condition=condition,
        orders=orders,
        start=_bound(parent, structured, "start_at", orders),
        end=_bound(parent, structured, "end_at", orders),
        offset=structured.offset,
        limit=limit,
        projection=_projection(structured),
        nearest=compile_nearest(structured.find_nearest) if structured.HasField("find_nearest") else None,
    )


def _orders(given: Any, condition: Condition, having: Iterable[Path], by_name: bool) -> tuple[Order, ...]:
    orders = [
        Order(parse_field_path(order.field.field_path), order.direction == _DESCENDING) for order in given
    ]
    paths: set[Path] = set()
    for order in orders:
        if order.path in paths:
            raise _invalid(f"order by clause cannot contain duplicate fields {render_field_path(order.path)}")
        paths.add(order.path)
    # what is compared by inequality orders the results too, then the name, in the direction of the last one given
    descending = orders[-1].descending if orders else False
    implicit = sorted(condition.inequality_fields - paths - {NAME})
    further = sorted(set(having) - paths - condition.inequality_fields)
    if further and (by_name or NAME in paths):
        raise _invalid(
            f"This query requires an index with fields [{', '.join(map(render_field_path, further))}] after "
            "__name__ and Firestore does not currently support such an index. Please try the query again with "
            "additional ordering on those fields."
        )
    orders.extend(Order(path, descending) for path in implicit + further)
    if NAME not in paths:
        orders.append(Order(NAME, descending))
    return tuple(orders)


def _bound(parent: str, structured: Any, field: str, orders: tuple[Order, ...]) -> Bound | None:
    if not structured.HasField(field):
        return None
    cursor = getattr(structured, field)
    if len(cursor.values) > len(orders):
        raise _invalid("Cursor has too many values.")
    keys = []
    for order, value in zip(orders, cursor.values, strict=False):
        check_operand(value)
        if order.path == NAME:
            _check_position(value, database_of(parent))
        key = name_key(value.reference_value) if order.path == NAME else sort_key(value)
        keys.append(invert(key) if order.descending else key)
    return Bound(tuple(keys), cursor.before)


def _check_position(value: Any, database: str) -> None:
    if value.WhichOneof("value_type") != "reference_value":
        raise _invalid("Cursor __key__ value is not a document reference.")
    name = value.reference_value
    if not name.startswith(f"{database}/documents/"):
        raise _invalid("The cursor key is in a different database than the query")
    check_reference(name, database)


def _projection(structured: Any) -> tuple[Path, ...] | None:
    if not structured.select.fields:  # a projection on nothing returns everything
        return None
    paths = (parse_field_path(field.field_path) for field in structured.select.fields)
    return tuple(path for path in paths if path != NAME)


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
