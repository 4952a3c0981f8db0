"""What a listener listens to, and how its result has changed since it was told last.

A target remembers only the time as of which its client knows the result. What has changed since is read off the
store's history when the client is ready for it, so a slow client costs no memory, and a client that comes back with a
resume token is no special case.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Protocol

from emulator.firestore.names import collection_of
from emulator.firestore.query import Query
from emulator.firestore.store import Store
from emulator.firestore.versions import Version


@dataclass(slots=True)
class Difference:
    """How a result differs from an earlier one.

    `present`: documents that are new in it, or have changed. `gone`: the names of those that are no longer in it.
    """

    present: list[Version] = field(default_factory=list)
    gone: list[str] = field(default_factory=list)


class Result(Protocol):
    """A set of documents that can be listened to."""

    @property
    def collections(self) -> Iterable[str]:
        """The paths of the collections that it depends on; for those of a group, see `group`."""

    @property
    def group(self) -> str | None:
        """The ID of the collections that it depends on, wherever they lie; "": all collections. None: see above."""

    def now(self, store: Store) -> list[Version]:
        """The documents in it, in order."""

    def is_known_since(self, store: Store, read_us: int) -> bool:
        """Whether the history goes back far enough to tell what has changed since a time."""

    def since(self, store: Store, read_us: int) -> Difference:
        """How it differs from what it was at that time."""


class DocumentsResult:
    """Documents by their names."""

    group = None

    def __init__(self, names: Iterable[str]) -> None:
        self._names = tuple(dict.fromkeys(names))
        self.collections = frozenset(map(collection_of, self._names))

    def now(self, store: Store) -> list[Version]:
        return [version for version in map(store.latest, self._names) if version is not None]

    def is_known_since(self, store: Store, read_us: int) -> bool:
        return all(store.is_known_since(path, read_us) for path in self.collections)

    def since(self, store: Store, read_us: int) -> Difference:
        difference = Difference()
        for name in self._names:
            if store.changed_at(name) > read_us:
                latest = store.latest(name)
                if latest is not None:
                    difference.present.append(latest)
                elif store.at(name, read_us) is not None:
                    difference.gone.append(name)
        return difference


class QueryResult:
    """The documents that a query finds."""

    def __init__(self, query: Query) -> None:
        self._query = query
        one_collection = bool(query.collection_id) and not query.all_descendants
        self.collections = frozenset({f"{query.parent}/{query.collection_id}"} if one_collection else ())
        self.group = None if one_collection else query.collection_id

    def now(self, store: Store) -> list[Version]:
        return store.indexes.run(self._query).documents

    def is_known_since(self, store: Store, read_us: int) -> bool:
        return store.is_query_known_since(self._query, read_us)

    def since(self, store: Store, read_us: int) -> Difference:
        changed = store.changed_since(self._query, read_us)
        if not changed:
            return Difference()
        if self._query.limit is not None or self._query.offset:
            return self._by_running(store, changed)
        difference = Difference()
        for name, before in reversed(changed.items()):  # in order of their first change
            after = store.latest(name)
            if self._holds(after):
                assert after is not None
                difference.present.append(after)
            elif self._holds(before):
                difference.gone.append(name)
        return difference

    def _by_running(self, store: Store, changed: Mapping[str, Version | None]) -> Difference:
        """By comparing the whole result: with a limit, one document's change may bring in or push out another."""
        before = {version.name: version for version in store.indexes.run(self._query, changed)}
        after = {version.name: version for version in store.indexes.run(self._query)}
        return Difference(
            present=[version for name, version in after.items() if before.get(name) is not version],
            gone=[name for name in before if name not in after],
        )

    def _holds(self, version: Version | None) -> bool:
        if version is None:
            return False
        holds = self._query.includes(version.message)
        version.forget()
        return holds


@dataclass(slots=True)
class Target:
    """One target of a stream.

    `known_us` is the time as of which the client has its result; None: it has nothing of it yet.
    """

    id: int
    result: Result
    once: bool = False
    known_us: int | None = None
    resumed: bool = False
    current: bool = False
