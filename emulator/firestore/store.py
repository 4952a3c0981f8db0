"""The documents, in all their versions of the last hour.

The latest version of each document lies in its collection. What it was before, and until when, lies in its history,
so that a read in the past goes back from the latest. Commit times only rise, by a microsecond at least, and also
above every read time that was given out: what was read at a time stays as it was at that time.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator
from datetime import timedelta
from typing import Any

from emulator.clock import Clock
from emulator.firestore.names import collection_of
from emulator.firestore.ordered_index import OrderedIndexes
from emulator.firestore.query import Query

Change = tuple[Any | None, Any | None]
"""A document before and after."""


class Store:
    """All documents of all databases.

    Args:
        clock: where commit times come from.
        history: for how long what was overwritten can still be read.
    """

    def __init__(self, clock: Clock, history: timedelta = timedelta(hours=1)) -> None:
        self._clock = clock
        self._history_us = history // timedelta(microseconds=1)
        self._collections: dict[str, dict[str, Any]] = {}
        self._past: dict[str, list[tuple[int, Any | None]]] = {}  # until when, and what it was
        self._log: deque[tuple[int, str]] = deque()
        self._last_us = 0
        self.indexes = OrderedIndexes(self.documents_below, self.latest)

    def now_us(self) -> int:
        """The clock's time in microseconds since the epoch."""
        return int(self._clock.now().timestamp() * 1_000_000 + 0.5)

    def read_time(self) -> int:
        """A time to read at: not before any commit, and every later commit comes after it."""
        self._last_us = max(self.now_us(), self._last_us)
        return self._last_us

    def commit_time(self) -> int:
        """The time of the next commit."""
        self._last_us = max(self.now_us(), self._last_us + 1)
        return self._last_us

    @property
    def oldest_us(self) -> int:
        """The earliest time that can be read at."""
        return self._last_us - self._history_us

    def latest(self, name: str) -> Any | None:
        """The document as it is; None where there is none."""
        collection = self._collections.get(collection_of(name))
        return None if collection is None else collection.get(name)

    def at(self, name: str, read_us: int) -> Any | None:
        """The document as it was."""
        document = self.latest(name)
        for until_us, before in reversed(self._past.get(name, ())):
            if until_us <= read_us:
                break
            document = before
        return document

    def changed_at(self, name: str) -> int:
        """When the document changed last; 0 where that is too long ago to tell, or never happened."""
        past = self._past.get(name)
        return past[-1][0] if past else 0

    def changed_since(self, read_us: int) -> dict[str, Any | None]:
        """The documents that differ now from what they were then, as they were then."""
        changed: dict[str, Any | None] = {}
        for time_us, name in reversed(self._log):
            if time_us <= read_us:
                break
            if name not in changed:
                changed[name] = self.at(name, read_us)
        return changed

    def changes_since(self, read_us: int) -> Iterator[Change]:
        """Every change since then: (before, after), the last first."""
        after: dict[str, Any | None] = {}
        position: dict[str, int] = {}
        for time_us, name in reversed(self._log):
            if time_us <= read_us:
                return
            index = position.get(name, len(self._past[name])) - 1
            position[name] = index
            before = self._past[name][index][1]
            yield before, after.get(name, self.latest(name))
            after[name] = before

    def put(self, name: str, before: Any | None, after: Any | None, time_us: int) -> None:
        """Make a document what it is from this commit on."""
        if before is after:
            return
        collection_name = collection_of(name)
        if after is None:
            collection = self._collections[collection_name]
            del collection[name]
            if not collection:
                del self._collections[collection_name]
        else:
            self._collections.setdefault(collection_name, {})[name] = after
        self._past.setdefault(name, []).append((time_us, before))
        self._log.append((time_us, name))
        self.indexes.update(before, after)
        self._prune(time_us - self._history_us)

    def documents_below(self, query: Query) -> Iterable[Any]:
        """The latest documents in the collection, or the collections, that a query asks."""
        if query.collection_id and not query.all_descendants:
            yield from self._collections.get(f"{query.parent}/{query.collection_id}", {}).values()
            return
        for name, collection in self._collections.items():
            if name.startswith(f"{query.parent}/"):
                for document in collection.values():
                    if query.covers(document.name):
                        yield document

    def collections_below(self, parent: str) -> list[str]:
        """The IDs of the collections right under a document or the root, also of those that lie deeper only."""
        prefix = f"{parent}/"
        found = {
            name[len(prefix) :].split("/", 1)[0] for name in self._collections if name.startswith(prefix)
        }
        return sorted(found)

    def missing_below(self, collection: str) -> set[str]:
        """The names of documents that do not exist but have collections under them."""
        prefix = f"{collection}/"
        names = {
            prefix + name[len(prefix) :].split("/", 1)[0]
            for name in self._collections
            if name.startswith(prefix)
        }
        return {name for name in names if self.latest(name) is None}

    def clear(self) -> None:
        """Forget every document and its history; time goes on from where it was."""
        self._collections.clear()
        self._past.clear()
        self._log.clear()
        self.indexes.clear()

    def _prune(self, before_us: int) -> None:
        # two for each one that comes, so that a backlog shrinks and no single commit pays for an hour
        for _ in range(2):
            if not self._log or self._log[0][0] >= before_us:
                return
            _, name = self._log.popleft()
            past = self._past[name]
            del past[0]
            if not past:
                del self._past[name]
