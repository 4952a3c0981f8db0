"""A query's `where`: which documents it lets through, and what of it an index can answer."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

from grpc import StatusCode

from emulator.firestore import protos
from emulator.firestore.conjunctions import (
    ANYTHING,
    Conjunction,
    Cut,
    Disjuncts,
    Held,
    Span,
    all_of,
    either,
)
from emulator.firestore.field_paths import DOCUMENT_ID, Path, get_field, parse_field_path
from emulator.firestore.limits import check_operand
from emulator.firestore.names import check_reference
from emulator.firestore.values import NAN, NULL, name_key, sort_key
from emulator.status import Status

Predicate = Callable[[Any], bool]

NAME: Path = (DOCUMENT_ID,)

_Op = protos.StructuredQuery.FieldFilter.Operator
_UnaryOp = protos.StructuredQuery.UnaryFilter.Operator
_And = protos.StructuredQuery.CompositeFilter.Operator.AND
_Or = protos.StructuredQuery.CompositeFilter.Operator.OR

EQUAL, LESS, LESS_OR_EQUAL, GREATER, GREATER_OR_EQUAL = (
    _Op.EQUAL, _Op.LESS_THAN, _Op.LESS_THAN_OR_EQUAL, _Op.GREATER_THAN, _Op.GREATER_THAN_OR_EQUAL,
)  # fmt: skip
_OF_LISTS = frozenset({_Op.IN, _Op.NOT_IN, _Op.ARRAY_CONTAINS_ANY})
RANGES = frozenset({LESS, LESS_OR_EQUAL, GREATER, GREATER_OR_EQUAL})
_MAX_VALUES, _MAX_EXCLUDED = 30, 10
"""Of IN and ARRAY_CONTAINS_ANY, and of NOT_IN."""

_UNEQUAL = frozenset({NULL, NAN})
"""What no value is equal to, by an operator; the unary filters look for it."""


@dataclass(frozen=True, slots=True)
class Condition:
    """A compiled `where`.

    `matches` decides by itself. A document that it lets through satisfies at least one of the `disjuncts`, which are
    there for the indexes. `inequality_fields` order the results where the query does not.
    """

    matches: Predicate
    disjuncts: Disjuncts = ANYTHING
    inequality_fields: frozenset[Path] = frozenset()


def compile_filter(where: Any, database: str) -> Condition:
    """The condition, for documents of a database; INVALID_ARGUMENT where it is malformed."""
    match where.WhichOneof("filter_type"):
        case None:
            return Condition(lambda document: True)
        case "composite_filter":
            return _composite(where.composite_filter, database)
        case "unary_filter":
            return _unary(where.unary_filter)
        case _:
            return _field(where.field_filter, database)


def field_key(document: Any, path: Path) -> bytes | None:
    """The key of a document's field, or of its name; None where it has no such field."""
    if path == NAME:
        return name_key(document.name)
    value = get_field(document.fields, path)
    return None if value is None else sort_key(value)


def _composite(composite: Any, database: str) -> Condition:
    if composite.op not in (_And, _Or):
        raise _invalid("Unsupported CompositeFilter operator.")
    parts = [compile_filter(part, database) for part in composite.filters]
    if not parts:
        raise _invalid("Composite filter must have at least one sub-filter.")
    if len(parts) == 1:
        return parts[0]
    matchers = [part.matches for part in parts]
    inequalities = frozenset[Path]().union(*(part.inequality_fields for part in parts))
    disjuncts = [part.disjuncts for part in parts]
    if composite.op == _Or:
        return Condition(lambda d: any(matches(d) for matches in matchers), either(disjuncts), inequalities)
    return Condition(lambda d: all(matches(d) for matches in matchers), all_of(disjuncts), inequalities)


def _unary(unary: Any) -> Condition:
    path = parse_field_path(unary.field.field_path)
    if path == NAME:
        raise _invalid("__key__ filter value must be a Key")
    wanted = NAN if unary.op in (_UnaryOp.IS_NAN, _UnaryOp.IS_NOT_NAN) else NULL
    if unary.op in (_UnaryOp.IS_NAN, _UnaryOp.IS_NULL):
        return _has_key(path, {wanted})
    if unary.op not in (_UnaryOp.IS_NOT_NAN, _UnaryOp.IS_NOT_NULL):
        raise _invalid("Unknown UnaryFilter operator.")
    return _not_among(path, {wanted})


def _field(field_filter: Any, database: str) -> Condition:
    path = parse_field_path(field_filter.field.field_path)
    op, value = field_filter.op, field_filter.value
    if value.WhichOneof("value_type") is None:
        raise _invalid("Cannot convert firestore.v1.Value with type unset.")
    check_operand(value)
    keys = set(_disjunction(value, op)) if op in _OF_LISTS else {sort_key(value)}
    if path == NAME:
        _check_references(op, value, database)
    if op in RANGES:
        return _range(path, op, sort_key(value))
    match op:
        case _Op.EQUAL | _Op.IN:
            return _has_key(path, keys - _UNEQUAL)
        case _Op.NOT_EQUAL | _Op.NOT_IN:
            # a null among them matches nothing at all, as `x != null or ...` in SQL
            return _nothing(path) if NULL in keys else _not_among(path, keys)
        case _Op.ARRAY_CONTAINS | _Op.ARRAY_CONTAINS_ANY:
            return _contains(path, keys - _UNEQUAL)
    raise _invalid("Unknown FieldFilter operator.")


def _nothing(path: Path) -> Condition:
    return Condition(lambda d: False, (), frozenset({path}))


def _has_key(path: Path, keys: set[bytes]) -> Condition:
    disjuncts = tuple(Conjunction(equal=(Held(path, key),)) for key in sorted(keys))
    return Condition(lambda d: field_key(d, path) in keys, disjuncts)


def _range(path: Path, op: int, key: bytes) -> Condition:
    if key in _UNEQUAL:
        return _nothing(path)
    tag = key[:1]  # only values of the same type compare

    def matches(document: Any) -> bool:
        found = field_key(document, path)
        if found is None or found[:1] != tag:
            return False
        if op == LESS:
            return found < key
        if op == LESS_OR_EQUAL:
            return found <= key
        if op == GREATER:
            return found > key
        return found >= key

    low = Cut(key, op == GREATER) if op in (GREATER, GREATER_OR_EQUAL) else Cut(tag, False)
    high = Cut(key, op == LESS_OR_EQUAL) if op in (LESS, LESS_OR_EQUAL) else Cut(tag, True)
    return Condition(matches, (Conjunction(spans=(Span(path, low, high),)),), frozenset({path}))


def _not_among(path: Path, keys: set[bytes]) -> Condition:
    excluded = keys | {NULL}

    def matches(document: Any) -> bool:
        found = field_key(document, path)
        return found is not None and found not in excluded

    some = Span(path, Cut(NULL, True), Cut(b"", True))
    return Condition(matches, (Conjunction(spans=(some,), exact=excluded == {NULL}),), frozenset({path}))


def _contains(path: Path, keys: set[bytes]) -> Condition:
    def matches(document: Any) -> bool:
        value = get_field(document.fields, path)
        return value is not None and any(sort_key(element) in keys for element in value.array_value.values)

    disjuncts = tuple(Conjunction(contained=(Held(path, key),)) for key in sorted(keys))
    return Condition(matches, disjuncts)


def _disjunction(value: Any, op: int) -> Iterator[bytes]:
    elements = value.array_value.values
    name = _Op.Name(op)
    if value.WhichOneof("value_type") != "array_value":
        raise _invalid(f"'{name}' requires an ArrayValue.")
    if not elements:
        raise _invalid(f"'{name}' requires an non-empty ArrayValue.")
    limit = _MAX_EXCLUDED if op == _Op.NOT_IN else _MAX_VALUES
    if len(elements) > limit:
        raise _invalid(f"'{name}' supports up to {limit} comparison values.")
    return map(sort_key, elements)


def _check_references(op: int, value: Any, database: str) -> None:
    if op in (_Op.ARRAY_CONTAINS, _Op.ARRAY_CONTAINS_ANY):
        raise _invalid("the name __key__ is reserved")
    values = value.array_value.values if op in _OF_LISTS else [value]
    for one in values:
        if one.WhichOneof("value_type") != "reference_value":
            raise _invalid("__key__ filter value must be a Key")
        check_reference(one.reference_value, database)


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
