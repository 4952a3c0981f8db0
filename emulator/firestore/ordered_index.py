"""Ordered indexes over the latest committed documents: made when a query first needs one, then kept up.

An index holds (key, name) for each document that has all its fields: the keys of the fields that are compared by
equality, then those of the orders, the name last. So a disjunct of a query is one range of one index: its equalities
are a prefix, its inequality and its cursors are the ends (see `query_plan`). Where an array is asked for an element,
each element has an entry. What a range cannot say is asked of each document in it.
"""

from __future__ import annotations

import heapq
from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice
from operator import itemgetter

from emulator.firestore.query import Query
from emulator.firestore.query_plan import IndexShape, Scan, scans
from emulator.firestore.sorted_entries import SortedEntries
from emulator.firestore.versions import Move, Version

MAX_INDEXES = 200
"""Indexes that a collection keeps, and the collection groups together: each write keeps up all of them."""

Found = tuple[bytes, Version]
"""The keys of a query's orders, and the document that has them."""


@dataclass(frozen=True, slots=True)
class QueryRun:
    """What a query found, in order, not projected; how many documents its offset skipped; and how many entries of
    indexes were looked at.
    """

    documents: list[Version]
    skipped: int
    scanned: int = 0

    def __iter__(self) -> Iterator[Version]:
        return iter(self.documents)


@dataclass(slots=True)
class _Tally:
    entries: int = 0


class OrderedIndexes:
    """All the indexes of an engine."""

    def __init__(
        self,
        documents_below: Callable[[Query], Iterable[Version]],
        finder: Callable[[Query], Callable[[str], Version | None]],
    ) -> None:
        self._documents_below = documents_below
        self._finder = finder
        self._indexes: dict[IndexShape, SortedEntries] = {}
        self._of_collection: defaultdict[str, list[SortedEntries]] = defaultdict(list)
        self._of_groups: list[SortedEntries] = []

    def clear(self) -> None:
        self._indexes.clear()
        self._of_collection.clear()
        self._of_groups.clear()

    def update(self, collection: str, moves: Sequence[Move]) -> None:
        """Keep the indexes up with the next versions of documents in a collection."""
        for index in self._of_collection.get(collection, ()):
            index.move(moves)
        if self._of_groups:
            a_document = f"{collection}/x"  # all the documents are covered, or none is
            for index in self._of_groups:
                if index.query.covers(a_document):
                    index.move(moves)

    def run(self, query: Query, changed: Mapping[str, Version | None] | None = None) -> QueryRun:
        """Run a query on the latest documents, or on those of the past.

        `changed` maps the names of the documents that are different now to what they were then (None: absent).
        """
        if query.limit == 0:
            return QueryRun([], 0)
        tally = _Tally()
        documents = _merge([self._stream(query, scan, changed or {}, tally) for scan in scans(query)])
        skipped = sum(1 for _ in islice(documents, query.offset))
        found = list(islice(documents, query.limit))
        if query.nearest is not None:
            found = query.nearest.ranked(found)
        return QueryRun(found, skipped, tally.entries)

    def split(
        self, query: Query, points: int, changed: Mapping[str, Version | None] | None = None
    ) -> list[str]:
        """The names of up to `points` documents, in order, that split all that a query finds as evenly as can be.

        Of a query without filters and cursors that is ordered by name. Unless something has changed since, this takes
        time in proportion to the points, however many documents there are.
        """
        if changed:
            documents = self.run(query, changed).documents
            return [documents[place].name for place in _places(len(documents), points)]
        (scan,) = scans(query)
        entries = self._index(query, scan.shape).entries
        return [entries[place][1] for place in _places(len(entries), points)]

    def _stream(
        self, query: Query, scan: Scan, changed: Mapping[str, Version | None], tally: _Tally
    ) -> Iterator[Found]:
        """What a scan gives, in order: the entries of today but for what has changed, and those of the past."""
        index = self._index(query, scan.shape)
        entries: Iterable[Found] = self._entries(index, scan, changed)
        if changed:
            entries = heapq.merge(entries, _past(query, index, scan, changed), key=itemgetter(0))
        matches = None if scan.exact else query.condition.matches
        head = scan.head
        for key, version in entries:
            tally.entries += 1
            if matches is not None:
                matched = matches(version.message)
                version.forget()
                if not matched:
                    continue
            yield key[head:], version

    def _entries(
        self, index: SortedEntries, scan: Scan, changed: Mapping[str, Version | None]
    ) -> Iterator[Found]:
        find = self._finder(index.query)
        for key, name, _ in index.entries.irange((scan.low, ""), (scan.high, ""), inclusive=(True, False)):
            if name not in changed:
                version = find(name)
                assert version is not None
                yield key, version

    def _index(self, query: Query, shape: IndexShape) -> SortedEntries:
        index = self._indexes.get(shape)
        if index is None:
            index = self._indexes[shape] = SortedEntries(shape, query)
            index.fill(self._documents_below(query))
            if query.all_descendants or not query.collection_id:
                siblings = self._of_groups
            else:
                siblings = self._of_collection[f"{query.parent}/{query.collection_id}"]
            siblings.append(index)
            if len(siblings) > MAX_INDEXES:
                del self._indexes[siblings.pop(0).shape]  # it is made again when a query needs it
        return index


def _places(count: int, points: int) -> list[int]:
    """Where to cut so many things: at so many points, all different, and never before the first."""
    parts = min(points + 1, count)
    return [count * part // parts for part in range(1, parts)]


def _merge(streams: list[Iterator[Found]]) -> Iterator[Version]:
    """The documents of all streams in order, each once: equal keys are those of one document."""
    if len(streams) == 1:
        return map(itemgetter(1), streams[0])
    return _each_once(heapq.merge(*streams, key=itemgetter(0)))


def _each_once(found: Iterable[Found]) -> Iterator[Version]:
    last = None
    for key, document in found:
        if key != last:
            yield document
        last = key


def _past(
    query: Query, index: SortedEntries, scan: Scan, changed: Mapping[str, Version | None]
) -> list[Found]:
    """The entries of documents as they were, where those lie in the range."""
    entries: list[Found] = []
    for document in changed.values():
        if document is not None and query.covers(document.name):
            entries.extend((key, document) for key in index.keys(document) if scan.low <= key < scan.high)
            document.forget()
    return sorted(entries, key=itemgetter(0))
