"""Ordered indexes over the latest committed documents: made when a query first needs one, then kept up.

An index holds (key, name) for each document that has all its fields: the keys of the fields that are compared by
equality, then those of the orders, the name last. So a query is one range of one index: its equalities are a prefix,
its inequality and its cursors are the ends. What a range cannot say (OR, IN, ...) is asked of each document in it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from sortedcontainers import SortedList

from emulator.firestore.field_paths import Path
from emulator.firestore.query import Order, Query
from emulator.firestore.query_filters import (
    EQUAL,
    GREATER,
    GREATER_OR_EQUAL,
    LESS,
    LESS_OR_EQUAL,
    NAME,
    Comparison,
    field_key,
)
from emulator.firestore.values import AFTER, invert

Entry = tuple[bytes, str]


@dataclass(frozen=True)
class _Shape:
    """Which index it is: where its documents lie, and what it is ordered by."""

    parent: str
    collection_id: str
    all_descendants: bool
    equalities: tuple[Path, ...]
    orders: tuple[Order, ...]


@dataclass(frozen=True)
class _Index:
    shape: _Shape
    query: Query  # one that asks the same documents, to tell which belong here
    entries: Any = field(default_factory=SortedList)

    def key(self, document: Any) -> bytes | None:
        parts = [field_key(document, path) for path in self.shape.equalities]
        parts.extend(order.key(document) for order in self.shape.orders)
        return None if None in parts else b"".join(parts)  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class QueryRun:
    """What a query found, in order, not projected; and how many documents its offset skipped."""

    documents: list[Any]
    skipped: int

    def __iter__(self) -> Iterator[Any]:
        return iter(self.documents)


class OrderedIndexes:
    """All the indexes of an engine."""

    def __init__(
        self, documents_below: Callable[[Query], Iterable[Any]], document: Callable[[str], Any | None]
    ) -> None:
        self._documents_below = documents_below
        self._document = document
        self._indexes: dict[_Shape, _Index] = {}
        self._of_collection: defaultdict[str, list[_Index]] = defaultdict(list)
        self._of_groups: list[_Index] = []

    def clear(self) -> None:
        self._indexes.clear()
        self._of_collection.clear()
        self._of_groups.clear()

    def update(self, old: Any | None, new: Any | None) -> None:
        """Keep the indexes up with one document's change."""
        name = (old if new is None else new).name  # type: ignore[union-attr]
        for index in self._of_collection.get(name.rpartition("/")[0], ()):
            _move(index, name, old, new)
        for index in self._of_groups:
            if index.query.covers(name):
                _move(index, name, old, new)

    def run(self, query: Query, changed: Mapping[str, Any | None] | None = None) -> QueryRun:
        """Run a query on the latest documents, or on those of the past.

        `changed` maps the names of the documents that are different now to what they were then (None: absent).
        """
        plan = _Plan.of(query)
        index = self._index(query, plan)
        low, high = plan.range
        entries: Iterable[tuple[bytes, Any]] = self._scan(index, low, high, changed or {})
        if changed:
            entries = heapq.merge(
                entries, _past(query, index, low, high, changed), key=lambda entry: entry[0]
            )
        found: list[Any] = []
        skipped = 0
        if query.limit == 0:
            return QueryRun(found, skipped)
        for _, document in entries:
            if not plan.exact and not query.condition.matches(document):
                continue
            if skipped < query.offset:
                skipped += 1
                continue
            found.append(document)
            if query.limit is not None and len(found) == query.limit:
                break
        return QueryRun(found, skipped)

    def _scan(
        self, index: _Index, low: bytes, high: bytes, changed: Mapping[str, Any | None]
    ) -> Iterator[tuple[bytes, Any]]:
        for key, name in index.entries.irange((low, ""), (high, ""), inclusive=(True, False)):
            if name not in changed:
                yield key, self._document(name)

    def _index(self, query: Query, plan: _Plan) -> _Index:
        shape = _Shape(
            query.parent, query.collection_id, query.all_descendants, plan.equalities, query.orders
        )
        index = self._indexes.get(shape)
        if index is None:
            index = self._indexes[shape] = _Index(shape, query)
            keyed = ((index.key(document), document.name) for document in self._documents_below(query))
            index.entries.update(entry for entry in keyed if entry[0] is not None)
            if query.all_descendants or not query.collection_id:
                self._of_groups.append(index)
            else:
                self._of_collection[f"{query.parent}/{query.collection_id}"].append(index)
        return index


def _move(index: _Index, name: str, old: Any | None, new: Any | None) -> None:
    before = None if old is None else index.key(old)
    after = None if new is None else index.key(new)
    if before == after:
        return
    if before is not None:
        index.entries.remove((before, name))
    if after is not None:
        index.entries.add((after, name))


def _past(
    query: Query, index: _Index, low: bytes, high: bytes, changed: Mapping[str, Any | None]
) -> list[tuple[bytes, Any]]:
    """The entries of documents as they were, where those lie in the range."""
    entries = []
    for document in changed.values():
        if document is None or not query.covers(document.name):
            continue
        key = index.key(document)
        if key is not None and low <= key < high:
            entries.append((key, document))
    return sorted(entries, key=lambda entry: entry[0])


@dataclass(frozen=True, slots=True)
class _Plan:
    """How an index answers a query: the equalities, the range, and whether that is the whole of the condition."""

    equalities: tuple[Path, ...]
    range: tuple[bytes, bytes]
    exact: bool

    @classmethod
    def of(cls, query: Query) -> _Plan:
        equal: dict[Path, bytes] = {}
        exact = query.condition.exact
        rest: list[Comparison] = []
        for comparison in query.condition.comparisons:
            if comparison.op == EQUAL and comparison.path != NAME:
                if equal.setdefault(comparison.path, comparison.key) != comparison.key:
                    exact = False  # two different values at once: the condition itself lets nothing through
            else:
                rest.append(comparison)
        first = query.orders[0]
        prefix = b"".join(equal[path] for path in sorted(equal))
        low, high = prefix, prefix + AFTER
        for comparison in rest:
            if comparison.path != first.path:
                exact = False
                continue
            below, above = _ends(comparison, first.descending)
            low, high = max(low, prefix + below), min(high, prefix + above)
        if query.start is not None:
            at = prefix + b"".join(query.start.keys)
            low = max(low, at if query.start.before else at + AFTER)
        if query.end is not None:
            at = prefix + b"".join(query.end.keys)
            high = min(high, at if query.end.before else at + AFTER)
        return cls(tuple(sorted(equal)), (low, high), exact)


def _ends(comparison: Comparison, descending: bool) -> tuple[bytes, bytes]:
    """The range, from the first to before the second, in which a comparison holds: values of its type only."""
    key = comparison.key
    op = comparison.op
    if descending:
        key = invert(key)
        op = {
            LESS: GREATER,
            LESS_OR_EQUAL: GREATER_OR_EQUAL,
            GREATER: LESS,
            GREATER_OR_EQUAL: LESS_OR_EQUAL,
        }.get(op, op)
    tag = key[:1]
    behind = bytes([tag[0] + 1])  # tags lie apart, so this is above all of one type and below the next
    match op:
        case _ if op == LESS:
            return tag, key
        case _ if op == LESS_OR_EQUAL:
            return tag, key + AFTER
        case _ if op == GREATER:
            return key + AFTER, behind
        case _ if op == GREATER_OR_EQUAL:
            return key, behind
        case _:  # equality of the name
            return key, key + AFTER
