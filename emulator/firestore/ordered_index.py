"""Ordered indexes over the latest committed documents: made when a query first needs one, then kept up.

An index holds (key, name) for each document that has all its fields: the keys of the fields that are compared by
equality, then those of the orders, the name last. So a disjunct of a query is one range of one index: its equalities
are a prefix, its inequality and its cursors are the ends (see `query_plan`). Where an array is asked for an element,
each element has an entry. What a range cannot say is asked of each document in it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from operator import itemgetter
from typing import Any

from sortedcontainers import SortedList

from emulator.firestore.field_paths import get_field
from emulator.firestore.query import Query
from emulator.firestore.query_plan import IndexShape, Scan, scans
from emulator.firestore.values import sort_key

Entry = tuple[bytes, str]
Found = tuple[bytes, Any]
"""The keys of a query's orders, and the document that has them."""


@dataclass(frozen=True)
class _Index:
    shape: IndexShape
    query: Query  # one that asks the same documents, to tell which belong here
    entries: Any = field(default_factory=SortedList)

    def keys(self, document: Any) -> Iterable[bytes]:
        """The document's keys; none where it lacks a field, and one an element where there is an array."""
        parts = [column.key(document) for column in self.shape.columns]
        if None in parts:
            return ()
        key = b"".join(parts)  # type: ignore[arg-type]
        if self.shape.array is None:
            return (key,)
        value = get_field(document.fields, self.shape.array)
        return () if value is None else {sort_key(element) + key for element in value.array_value.values}


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
        self._indexes: dict[IndexShape, _Index] = {}
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
        found: list[Any] = []
        skipped = 0
        if query.limit == 0:
            return QueryRun(found, skipped)
        streams = [self._stream(query, scan, changed or {}) for scan in scans(query)]
        for document in _merge(streams):
            if skipped < query.offset:
                skipped += 1
                continue
            found.append(document)
            if query.limit is not None and len(found) == query.limit:
                break
        return QueryRun(found, skipped)

    def _stream(self, query: Query, scan: Scan, changed: Mapping[str, Any | None]) -> Iterator[Found]:
        """What a scan gives, in order: the entries of today but for what has changed, and those of the past."""
        index = self._index(query, scan.shape)
        entries: Iterable[tuple[bytes, Any]] = self._entries(index, scan, changed)
        if changed:
            entries = heapq.merge(entries, _past(query, index, scan, changed), key=itemgetter(0))
        matches = query.condition.matches
        for key, document in entries:
            if scan.exact or matches(document):
                yield key[scan.head :], document

    def _entries(
        self, index: _Index, scan: Scan, changed: Mapping[str, Any | None]
    ) -> Iterator[tuple[bytes, Any]]:
        for key, name in index.entries.irange((scan.low, ""), (scan.high, ""), inclusive=(True, False)):
            if name not in changed:
                yield key, self._document(name)

    def _index(self, query: Query, shape: IndexShape) -> _Index:
        index = self._indexes.get(shape)
        if index is None:
            index = self._indexes[shape] = _Index(shape, query)
            for_all = ((document.name, index.keys(document)) for document in self._documents_below(query))
            index.entries.update((key, name) for name, keys in for_all for key in keys)
            if query.all_descendants or not query.collection_id:
                self._of_groups.append(index)
            else:
                self._of_collection[f"{query.parent}/{query.collection_id}"].append(index)
        return index


def _move(index: _Index, name: str, old: Any | None, new: Any | None) -> None:
    before = () if old is None else index.keys(old)
    after = () if new is None else index.keys(new)
    if before == after:
        return
    for key in before:
        if key not in after:
            index.entries.remove((key, name))
    for key in after:
        if key not in before:
            index.entries.add((key, name))


def _merge(streams: list[Iterator[Found]]) -> Iterator[Any]:
    """The documents of all streams in order, each once: equal keys are those of one document."""
    if len(streams) == 1:
        for _, document in streams[0]:
            yield document
        return
    last = None
    for key, document in heapq.merge(*streams, key=itemgetter(0)):
        if key != last:
            yield document
        last = key


def _past(query: Query, index: _Index, scan: Scan, changed: Mapping[str, Any | None]) -> list[Found]:
    """The entries of documents as they were, where those lie in the range."""
    entries = [
        (key, document)
        for document in changed.values()
        if document is not None and query.covers(document.name)
        for key in index.keys(document)
        if scan.low <= key < scan.high
    ]
    return sorted(entries, key=itemgetter(0))
