"""What a query asks of the indexes, and whether those that there are can serve it.

A query is a choice of conjunctions, and each needs indexes by itself. An index serves a conjunction if its fields are
some of those compared by equality, in any sequence and direction, and then exactly what the results are ordered by.
Several such indexes are merged where they cover all equalities together. Nothing is read backwards: a descending order
needs a descending index, that of the names too (https://github.com/firebase/flutterfire/issues/4398).

The rules are those of the Standard edition:
https://firebase.google.com/docs/firestore/query-data/index-overview (single-field and composite indexes, the name's
direction, collection groups, `in` and `array-contains` as equalities, index merging, aggregated fields),
https://firebase.google.com/docs/firestore/query-data/multiple-range-fields (inequalities on several fields) and
https://firebase.google.com/docs/firestore/vector-search (vector indexes).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

from emulator.firestore import protos
from emulator.firestore.conjunctions import MAX_DISJUNCTS
from emulator.firestore.field_paths import Path, parse_field_path
from emulator.firestore.index_definitions import IndexDefinitions
from emulator.firestore.indexes import Index, IndexField, Mode, Scope
from emulator.firestore.query import Order, Query
from emulator.firestore.query_filters import NAME

_Op = protos.StructuredQuery.FieldFilter.Operator
_UnaryOp = protos.StructuredQuery.UnaryFilter.Operator
_Or = protos.StructuredQuery.CompositeFilter.Operator.OR
_EQUALITIES = frozenset({_Op.EQUAL, _Op.IN})
_CONTAINMENTS = frozenset({_Op.ARRAY_CONTAINS, _Op.ARRAY_CONTAINS_ANY})


class Compared(NamedTuple):
    """A field that is compared by equality, or as an array that has to contain something."""

    path: Path
    contains: bool


Conjuncts = frozenset[Compared]


@dataclass(frozen=True, slots=True)
class Requirement:
    """What one conjunction of a query needs.

    `orders` are those of the results, and `name` is the last of them: None where there is but one name, or where it
    has an earlier place among the `orders`.
    `unordered` are fields that the index has to have, in any sequence: inequalities that no order mentions, ascending,
    and aggregated fields, in any direction. With a `vector`, the index ends with that field in place of all orders.
    """

    collection_group: str
    scope: Scope
    compared: Conjuncts
    orders: tuple[Order, ...]
    unordered: frozenset[Path]
    aggregated: frozenset[Path]
    name: Order | None
    vector: IndexField | None = None

    def missing(self, definitions: IndexDefinitions) -> list[Index]:
        """The indexes to add; none where the query is served."""
        if self._needs_none():
            return []
        candidates = [*definitions.candidates(self.collection_group, self.scope, self._paths())]
        if self.vector is not None:
            served = any(self._cover_vector(index) == self.compared for index in candidates)
        else:  # what is merged has to have the names in the same direction
            served = any(self._is_covered(candidates, descending) for descending in self._name_directions())
        return [] if served else self._suggestions()

    def _needs_none(self) -> bool:
        """Whether the documents' names are enough: they are always sorted, ascending."""
        if self.compared or self.orders or self.unordered or self.aggregated or self.vector:
            return False
        return self.name is None or not self.name.descending

    def _paths(self) -> Iterator[Path]:
        ordered = (order.path for order in self.orders)
        paths = {path for path, _ in self.compared} | {*ordered} | self.unordered | self.aggregated
        if self.vector is not None:
            paths.add(self.vector.path)
        return iter(sorted(paths))

    def _name_directions(self) -> tuple[bool, ...]:
        """Whether the names may come descending, or ascending.

        For an equality alone, the documentation takes an ascending index or a descending one, and what is added up has
        no order. A descending order is always one that was asked for.
        """
        if self.name is None or self.aggregated or not (self.name.descending or self.orders):
            return (False, True)
        return (self.name.descending,)

    def _is_covered(self, candidates: list[Index], descending: bool) -> bool:
        covers = [cover for index in candidates if (cover := self._cover(index, descending)) is not None]
        return bool(covers) and Conjuncts().union(*covers) == self.compared

    def _cover(self, index: Index, descending: bool) -> Conjuncts | None:
        """Which of the compared fields the index covers; None where it is of no use."""
        entries = list(index.entries)
        name = entries.pop() if entries[-1].path == NAME else None
        if self.name is not None and (name is None or (name.mode is Mode.DESCENDING) != descending):
            return None
        free = self.unordered | self.aggregated
        begin = len(entries) - len(free) - len(self.orders)
        end = begin + len(self.orders)
        if begin < 0 or entries[begin:end] != [*map(_ordered, self.orders)]:
            return None
        modes = {one.path: one.mode for one in entries[end:] if one.mode.is_order}
        if modes.keys() != free or any(modes[path] is Mode.DESCENDING for path in self.unordered):
            return None
        return self._covered(entries[:begin])

    def _cover_vector(self, index: Index) -> Conjuncts | None:
        if index.fields[-1] != self.vector:
            return None
        before = [field for field in index.fields[:-1] if field.path != NAME]
        if not self.unordered <= {one.path for one in before if one.mode.is_order}:
            return None
        return self._covered([one for one in before if one.path not in self.unordered])

    def _covered(self, fields: list[IndexField]) -> Conjuncts | None:
        covered = frozenset(Compared(one.path, one.mode is Mode.CONTAINS) for one in fields)
        return covered if covered <= self.compared else None

    def _suggestions(self) -> list[Index]:
        """The index that has everything; more of them where several arrays are asked, as an index has one at most."""
        tail = [*map(_ordered, self.orders)]
        tail += [IndexField(path, Mode.ASCENDING) for path in sorted(self.unordered | self.aggregated)]
        mode = Mode.ASCENDING
        if len(self.compared) == 1 and not tail and self.name is not None:
            mode = _ordered(self.name).mode  # the field's own index has the name in that direction
        equal = [IndexField(path, mode) for path, contains in sorted(self.compared) if not contains]
        arrays = [IndexField(path, Mode.CONTAINS) for path, contains in sorted(self.compared) if contains]
        if self.vector is not None:
            tail.append(self.vector)
        elif self.name is not None:
            tail.append(_ordered(self.name))
        heads = [[*arrays[:1], *equal], *([array] for array in arrays[1:])]
        return [Index(self.collection_group, self.scope, (*head, *tail)) for head in heads]


def requirements(query: Query, structured: Any, aggregations: Iterable[Any] = ()) -> list[Requirement]:
    """What each of the query's conjunctions needs.

    Nothing, where it asks collections whatever their IDs, or has more conjunctions than production takes.
    """
    conjunctions = _conjunctions(structured.where)
    if not query.collection_id or len(conjunctions) > MAX_DISJUNCTS:
        return []
    inequalities = query.condition.inequality_fields - {NAME}
    vector = _vector(structured)
    # without any order, "Firestore uses any index that can satisfy the query's filter condition"
    is_ordered = len(structured.order_by) > 0 and vector is None
    whole = Requirement(
        collection_group=query.collection_id,
        scope=Scope.COLLECTION_GROUP if query.all_descendants else Scope.COLLECTION,
        compared=frozenset(),
        orders=query.orders if is_ordered else query.orders[-1:],
        unordered=frozenset() if is_ordered else inequalities,
        aggregated=_aggregated(aggregations) - inequalities - {order.path for order in query.orders},
        name=None,
        vector=vector,
    )
    return [_for(whole, conjuncts) for conjuncts in sorted(conjunctions, key=sorted)]


def _for(whole: Requirement, conjuncts: Conjuncts) -> Requirement:
    """What is left of the whole where these fields are known."""
    known = {path for path, contains in conjuncts if not contains}
    orders = tuple(order for order in whole.orders if order.path not in known)
    name = orders[-1] if orders and orders[-1].path == NAME else None
    return replace(
        whole,
        # the index that finds a name is always there
        compared=frozenset(one for one in conjuncts if one.path != NAME),
        orders=orders if name is None else orders[:-1],
        unordered=whole.unordered - known,
        aggregated=whole.aggregated - known,
        name=name,
    )


def _aggregated(aggregations: Iterable[Any]) -> frozenset[Path]:
    return frozenset(
        parse_field_path(getattr(one, operator).field.field_path)
        for one in aggregations
        if (operator := one.WhichOneof("operator")) in ("sum", "avg")
    )


def _conjunctions(where: Any) -> set[Conjuncts]:
    """The fields that are compared by equality in each conjunction of the condition's disjunctive normal form.

    Values do not matter here, so `in` is one. Stops when there are more than production takes.
    """
    match where.WhichOneof("filter_type"):
        case "composite_filter":
            parts = [_conjunctions(part) for part in where.composite_filter.filters]
            if where.composite_filter.op == _Or:
                return set().union(*parts)
            result = {Conjuncts()}
            for part in parts:
                result = {one | other for one in result for other in part}
                if len(result) > MAX_DISJUNCTS:
                    break
            return result
        case "unary_filter":
            unary = where.unary_filter
            path = parse_field_path(unary.field.field_path)
            is_equality = unary.op in (_UnaryOp.IS_NULL, _UnaryOp.IS_NAN)
            return {frozenset({Compared(path, False)} if is_equality else ())}
        case "field_filter":
            path = parse_field_path(where.field_filter.field.field_path)
            op = where.field_filter.op
            is_compared = op in _EQUALITIES or op in _CONTAINMENTS
            return {frozenset({Compared(path, op in _CONTAINMENTS)} if is_compared else ())}
    return {frozenset()}


def _vector(structured: Any) -> IndexField | None:
    if not structured.HasField("find_nearest"):
        return None
    nearest = structured.find_nearest
    fields = nearest.query_vector.map_value.fields
    dimension = len(fields["value"].array_value.values) if "value" in fields else 0
    return IndexField(parse_field_path(nearest.vector_field.field_path), Mode.VECTOR, dimension)


def _ordered(order: Order) -> IndexField:
    return IndexField(order.path, Mode.DESCENDING if order.descending else Mode.ASCENDING)
