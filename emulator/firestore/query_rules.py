"""What production refuses of a query that would make sense: its rules, with its words.

They are asked of the query as the client sent it. Each rule is in Firestore's documentation of query limitations or in
the comments of `google/firestore/v1/query.proto`.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

from grpc import StatusCode

from emulator.firestore import names, protos
from emulator.firestore.field_paths import DOCUMENT_ID
from emulator.status import Status

MAX_DISJUNCTIONS = 30
MAX_INEQUALITY_FIELDS = 10
MAX_COMPONENTS = 100
"""Filters, sort orders and the ancestor of one query, counted in disjunctive normal form."""

_Op = protos.StructuredQuery.FieldFilter.Operator
_UnaryOp = protos.StructuredQuery.UnaryFilter.Operator
_Or = protos.StructuredQuery.CompositeFilter.Operator.OR

_NEGATIONS = frozenset({_Op.NOT_EQUAL, _Op.NOT_IN})
_UNARY_NEGATIONS = frozenset({_UnaryOp.IS_NOT_NAN, _UnaryOp.IS_NOT_NULL})
_INEQUALITIES = _NEGATIONS | {
    _Op.LESS_THAN, _Op.LESS_THAN_OR_EQUAL, _Op.GREATER_THAN, _Op.GREATER_THAN_OR_EQUAL,
}  # fmt: skip
_CONTAINS = frozenset({_Op.ARRAY_CONTAINS, _Op.ARRAY_CONTAINS_ANY})
_EXPANDED = frozenset({_Op.IN, _Op.ARRAY_CONTAINS_ANY})


class _Leaf(NamedTuple):
    """A filter of one field."""

    path: str
    op: int
    is_unary: bool

    @property
    def is_negation(self) -> bool:
        return self.op in (_UNARY_NEGATIONS if self.is_unary else _NEGATIONS)

    @property
    def is_inequality(self) -> bool:
        return self.op in (_UNARY_NEGATIONS if self.is_unary else _INEQUALITIES)


@dataclass(frozen=True, slots=True)
class _Size:
    """A filter's disjunctive normal form, counted without making it."""

    disjunctions: int
    filters: int  # in all of them together
    contains: int  # array memberships in the one that has most


def check_rules(parent: str, structured: Any) -> None:
    """A Status, with what production says, for a query that it does not run."""
    leaves = list(_leaves(structured.where))
    _check_source(parent, structured, leaves)
    _check_combinations(structured.where, leaves)
    _check_size(parent, structured, leaves)
    _check_orders(structured, leaves)
    if structured.HasField("find_nearest"):
        _check_nearest(structured)


def _check_source(parent: str, structured: Any, leaves: list[_Leaf]) -> None:
    sources = structured.from_
    if len(sources) > 1:
        raise _invalid("StructuredQuery.from cannot have more than one collection selector.")
    if sources and sources[0].collection_id:
        names.check_collection_id(sources[0].collection_id)
        if sources[0].all_descendants and not names.is_root(parent):
            _check_group_below(structured, leaves)
        return
    for leaf in leaves:
        if leaf.path != DOCUMENT_ID:
            raise _invalid(f"kind is required for filter: {leaf.path}")
    for order in structured.order_by:
        descending = order.direction == protos.StructuredQuery.Direction.DESCENDING
        if order.field.field_path != DOCUMENT_ID or descending:
            raise _invalid("kind is required for all orders except __key__ ascending")


def _check_group_below(structured: Any, leaves: list[_Leaf]) -> None:
    """A collection group below a document: no index has it apart, there are just the names to go through."""
    if any(path != DOCUMENT_ID for path in _ordered(structured)) or any(
        leaf.path != DOCUMENT_ID for leaf in leaves
    ):
        raise _invalid("collection group queries are only allowed at the root parent")
    if any(order.direction == protos.StructuredQuery.Direction.DESCENDING for order in structured.order_by):
        raise Status(
            StatusCode.FAILED_PRECONDITION,
            "The query requires an index. There is none of a collection group below a document: its names are "
            "sorted ascending only.",
        )


def _check_combinations(where: Any, leaves: list[_Leaf]) -> None:
    if sum(leaf.is_negation for leaf in leaves) > 1:
        raise _invalid(
            "Only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter allowed per query."
        )
    operators = {leaf.op for leaf in leaves if not leaf.is_unary}
    if _Op.NOT_IN in operators and (operators & _EXPANDED or _has_or(where)):
        raise _invalid("'NOT_IN' cannot be used in the same query with 'IN', 'ARRAY_CONTAINS_ANY' or 'OR'.")
    inequalities = _inequality_fields(leaves)
    key_is_given = any(
        leaf.path == DOCUMENT_ID and leaf.op in (_Op.EQUAL, _Op.IN) for leaf in leaves if not leaf.is_unary
    )
    if key_is_given and inequalities and DOCUMENT_ID not in inequalities:
        raise _invalid(
            "Equality on key is not allowed if there are other inequality fields and key does not appear in "
            "inequalities."
        )


def _check_size(parent: str, structured: Any, leaves: list[_Leaf]) -> None:
    size = _size(structured.where)
    if size.disjunctions > MAX_DISJUNCTIONS:
        raise _invalid(
            f"Too many disjunctions after normalization. Result had {size.disjunctions} disjunctions which is more "
            f"than the maximum of {MAX_DISJUNCTIONS}"
        )
    if size.contains > 1:
        raise _invalid("A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction.")
    fields = _inequality_fields(leaves)
    if len(fields) > MAX_INEQUALITY_FIELDS:
        raise _invalid(
            f"The query contains {len(fields)} distinct inequality fields: [{', '.join(sorted(fields))}]. A query may "
            f"not have more than {MAX_INEQUALITY_FIELDS} distinct inequality fields."
        )
    ancestors = 0 if names.is_root(parent) else 1
    orders = len(structured.order_by)
    if size.filters + orders + ancestors > MAX_COMPONENTS:
        raise _invalid(
            f"The query may not have more than {MAX_COMPONENTS} filters + sort orders + ancestor total. Currently "
            f"there are {size.filters} filters, {orders} sort orders, and {'one' if ancestors else 'no'} ancestor "
            "filter."
        )


def _check_orders(structured: Any, leaves: list[_Leaf]) -> None:
    ordered = _ordered(structured)
    if DOCUMENT_ID in ordered:
        # names are unique: nothing behind them could order anything
        implied = _inequality_fields(leaves) - set(ordered)
        if ordered[-1] != DOCUMENT_ID or implied:
            raise _invalid("order by clause cannot contain more fields after the key")
    for field in ("start_at", "end_at"):
        # what orders the results without being asked to has no place in a cursor
        if len(getattr(structured, field).values) > len(ordered):
            raise _invalid("Cursor has too many values.")


def _check_nearest(structured: Any) -> None:
    if structured.HasField("limit"):
        raise _invalid("A query limit cannot be used with FindNearest")
    if structured.offset:
        raise _invalid("A query offset cannot be used with FindNearest")
    if structured.HasField("start_at") or structured.HasField("end_at"):
        raise _invalid("A cursor cannot be used with FindNearest")


def _leaves(where: Any) -> Iterator[_Leaf]:
    """The field and unary filters, in order."""
    match where.WhichOneof("filter_type"):
        case "composite_filter":
            for part in where.composite_filter.filters:
                yield from _leaves(part)
        case "field_filter":
            yield _Leaf(where.field_filter.field.field_path, where.field_filter.op, False)
        case "unary_filter":
            yield _Leaf(where.unary_filter.field.field_path, where.unary_filter.op, True)


def _size(where: Any) -> _Size:
    match where.WhichOneof("filter_type"):
        case None:
            return _Size(1, 0, 0)
        case "unary_filter":
            return _Size(1, 1, 0)
        case "field_filter":
            leaf = where.field_filter
            alternatives = len(leaf.value.array_value.values) if leaf.op in _EXPANDED else 1
            return _Size(alternatives, alternatives, int(leaf.op in _CONTAINS))
    parts = [_size(part) for part in where.composite_filter.filters]
    if where.composite_filter.op == _Or:
        return _Size(
            sum(part.disjunctions for part in parts),
            sum(part.filters for part in parts),
            max((part.contains for part in parts), default=0),
        )
    whole = _Size(1, 0, 0)
    for part in parts:
        whole = _Size(
            whole.disjunctions * part.disjunctions,
            whole.filters * part.disjunctions + part.filters * whole.disjunctions,
            whole.contains + part.contains,
        )
    return whole


def _has_or(where: Any) -> bool:
    if where.WhichOneof("filter_type") != "composite_filter":
        return False
    parts = where.composite_filter.filters
    return (where.composite_filter.op == _Or and len(parts) > 1) or any(map(_has_or, parts))


def _ordered(structured: Any) -> list[str]:
    return [order.field.field_path for order in structured.order_by]


def _inequality_fields(leaves: list[_Leaf]) -> set[str]:
    return {leaf.path for leaf in leaves if leaf.is_inequality}


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
