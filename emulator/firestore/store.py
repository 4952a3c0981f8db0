"""The documents, in all their versions of the last hour.

Each collection has the latest version of its documents, chained to those before. Commit times only rise, by a
microsecond at least, and also above every read time that was given out: what was read at a time stays as it was at
that time.
"""

from __future__ import annotations

from collections import defaultdict, deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from datetime import timedelta
from itertools import islice
from uuid import uuid4

from sortedcontainers import SortedList

from emulator.clock import Clock
from emulator.firestore.collection import Collection, as_of
from emulator.firestore.journal import Journal
from emulator.firestore.names import collection_of
from emulator.firestore.ordered_index import OrderedIndexes
from emulator.firestore.query import Query
from emulator.firestore.versions import Move, Version, deletion

Change = tuple[Version | None, Version | None]
"""A document before and after."""

HISTORY = timedelta(hours=1)
"""For how long production keeps what was overwritten, unless point-in-time recovery is on."""

_HISTORY_BYTES = 512 * 1024 * 1024
_VERSION_BYTES = 200  # what an object, its name and its place in the log take besides its data


class Store:
    """All documents of all databases.

    Args:
        clock: where commit times come from.
        journal: where commits are written to before they are told; None: nowhere.
        history: for how long what was overwritten can still be read.
        history_bytes: how much of it is kept at most; beyond that, the oldest goes sooner.
    """

    def __init__(
        self,
        clock: Clock,
        journal: Journal | None = None,
        history: timedelta = HISTORY,
        history_bytes: int = _HISTORY_BYTES,
    ) -> None:
        self._clock = clock
        self._journal = journal
        self._history_us = history // timedelta(microseconds=1)
        self._history_bytes = history_bytes
        self._collections: dict[str, Collection] = {}
        self._sorted_paths: SortedList[str] = SortedList()  # of the collections, but for the last to come
        self._log: deque[Version] = deque()  # all versions since the history begins, in order of time
        self._past_bytes = 0
        self._last_us = 0
        self._pruned_us = self._cleared_us = 0
        self._dropped_us = (
            0  # until when those collections changed that have gone, with all that was known of them
        )
        self.life = uuid4().hex
        """Tells this store from every other, also from those that began in the same moment of a clock."""
        self.indexes = OrderedIndexes(self.documents_below, self._finder)
        self.on_change: Callable[[str], None] | None = None
        """Called with the path of each collection that a commit has changed, after it."""
        if journal is not None:
            self._load(journal)

    def now_us(self) -> int:
        """The clock's time in microseconds since the epoch."""
        return int(self._clock.now().timestamp() * 1_000_000 + 0.5)

    def read_time(self) -> int:
        """A time to read at: not before any commit, and every later commit comes after it."""
        self._last_us = max(self.now_us(), self._last_us)
        return self._last_us

    def commit_time(self, commits: int = 1) -> int:
        """The time of the next commit, or of the first of several, each a microsecond after the one before."""
        first_us = max(self.now_us(), self._last_us + 1)
        self._last_us = first_us + commits - 1
        return first_us

    @property
    def oldest_us(self) -> int:
        """The earliest time that can be read at."""
        return max(self._last_us - self._history_us, self._pruned_us)

    def latest(self, name: str) -> Version | None:
        """The document as it is; None where there is none."""
        collection = self._collections.get(name.rpartition("/")[0])
        version = None if collection is None else collection.versions.get(name)
        return None if version is None or version.data is None else version

    def at(self, name: str, read_us: int) -> Version | None:
        """The document as it was."""
        return as_of(self._newest(name), read_us)

    def changed_at(self, name: str) -> int:
        """When the document changed last; 0 where that is too long ago to tell, or never happened."""
        version = self._newest(name)
        return 0 if version is None else version.time_us

    def is_known_since(self, collection: str, read_us: int) -> bool:
        """Whether every change in a collection since then is still known."""
        if self._pruned_us <= read_us:
            return True
        found = self._collections.get(collection)
        known_us = self._dropped_us if found is None else found.pruned_us
        return max(self._cleared_us, known_us) <= read_us

    def is_query_known_since(self, query: Query, read_us: int) -> bool:
        """Whether every change since then in a query's reach is still known."""
        if self._pruned_us <= read_us:
            return True
        if query.collection_id and not query.all_descendants:
            return self.is_known_since(f"{query.parent}/{query.collection_id}", read_us)
        reached = self._reached_by(query)
        known_us = max(self._cleared_us, self._dropped_us)
        return known_us <= read_us and all(one.pruned_us <= read_us for one in reached)

    def changed_since(self, query: Query, read_us: int) -> dict[str, Version | None]:
        """The documents in a query's reach that differ now from what they were then, as they were then."""
        changed: dict[str, Version | None] = {}
        for collection in self._changed_in_reach_of(query, read_us):
            for version in collection.since(read_us):
                if version.name not in changed:
                    changed[version.name] = as_of(version, read_us)
        return changed

    def changes_since(self, query: Query, read_us: int) -> Iterator[Change]:
        """Every change since then to a document in a query's reach."""
        for collection in self._changed_in_reach_of(query, read_us):
            for version in collection.since(read_us):
                before = version.previous
                yield (
                    None if before is None or before.data is None else before,
                    None if version.data is None else version,
                )

    def commit(self, changed: Mapping[str, Change], time_us: int) -> None:
        """Make documents what they are from this commit on: all of them, or none where the journal fails.

        It may be several commits at once: then the versions, deletions among them, come with their times, in order,
        and `time_us` is the last one's.

        Raises:
            Status: the journal cannot be written.
        """
        versions = [
            deletion(name, time_us) if after is None else after
            for name, (before, after) in changed.items()
            if before is not after
        ]
        if not versions:
            return
        if self._journal is not None:
            self._journal.record(versions, time_us)
        self._log.extend(versions)
        changed_there = _by_collection(versions)
        for path, versions_there in changed_there.items():
            self._put(path, versions_there)
        if self.on_change is not None:
            for path in changed_there:
                self.on_change(path)
        self._prune(time_us, len(versions))

    def documents_below(self, query: Query) -> Iterable[Version]:
        """The latest documents in the collection, or the collections, that a query asks."""
        for collection in self._reached_by(query):
            yield from collection.documents()

    def documents(self) -> Iterator[Version]:
        """All documents of all databases, collection by collection."""
        for path in self._paths():
            yield from self._collections[path].documents()

    def collections_below(self, parent: str, read_us: int | None = None) -> list[str]:
        """The IDs of the collections right under a document or the root, also of those that lie deeper only.

        `read_us` tells as of when; None: now.
        """
        return sorted(self._segments_below(parent, read_us))

    def missing_below(self, collection: str, read_us: int | None = None) -> set[str]:
        """The names of documents that do not exist but have collections under them, now or at a time."""
        names = {f"{collection}/{segment}" for segment in self._segments_below(collection, read_us)}
        return {
            name
            for name in names
            if (self.latest(name) if read_us is None else self.at(name, read_us)) is None
        }

    def clear(self, database: str | None = None) -> None:
        """Delete every document of a database; or of all, together with their history.

        Raises:
            Status: the journal cannot be written; nothing has changed.
        """
        time_us = self.commit_time()
        if database is not None:
            below = self._under(f"{database}/documents")
            names = {document.name: document for collection in below for document in collection.documents()}
            self.commit({name: (document, None) for name, document in names.items()}, time_us)
            return
        if self._journal is not None:
            self._journal.clear(time_us)
        paths = list(self._paths())
        self._collections.clear()
        self._sorted_paths.clear()
        self._log.clear()
        self._past_bytes = 0
        self.indexes.clear()
        # what was there cannot be told any more, so nobody may ask for it
        self._cleared_us = self._pruned_us = time_us
        if self.on_change is not None:
            for path in paths:
                self.on_change(path)

    def replace(self, versions: Sequence[Version], time_us: int) -> None:
        """Put documents in the place of those of their names, with the times that they have: all, or none.

        `time_us` is this commit's time, and none of theirs is later. They are no part of the history, which ends here:
        what was there before cannot be read any more.

        Raises:
            Status: the journal cannot be written.
        """
        if self._journal is not None:
            self._journal.replace(versions, time_us)
        replaced_there = _by_collection(versions)
        for path, versions_there in replaced_there.items():
            collection = self._collection(path)
            collection.pruned_us = time_us
            self._indexed(path, collection.replace(versions_there))
        self._pruned_us = time_us
        if self.on_change is not None:
            for path in replaced_there:
                self.on_change(path)

    def _collection(self, path: str) -> Collection:
        collection = self._collections.get(path)
        if collection is None:
            collection = self._collections[path] = Collection(path, self._pruned_us)
        return collection

    def _newest(self, name: str) -> Version | None:
        collection = self._collections.get(collection_of(name))
        return None if collection is None else collection.versions.get(name)

    def _finder(self, query: Query) -> Callable[[str], Version | None]:
        """What gives the latest version of a document that a query asks, by its name."""
        if query.collection_id and not query.all_descendants:
            for collection in self._reached_by(query):
                return collection.versions.get
        return self._newest

    def _reached_by(self, query: Query) -> Iterable[Collection]:
        """The collections whose documents a query asks."""
        if query.collection_id and not query.all_descendants:
            collection = self._collections.get(f"{query.parent}/{query.collection_id}")
            return () if collection is None else (collection,)
        return [
            collection
            for collection in self._under(query.parent)
            if query.covers(f"{collection.path}/x")  # all its documents are covered, or none is
        ]

    def _changed_in_reach_of(self, query: Query, read_us: int) -> Iterable[Collection]:
        """Those of the collections in a query's reach that have changed since then, and perhaps others."""
        if query.collection_id and not query.all_descendants:
            return self._reached_by(query)
        paths = set()
        for version in islice(reversed(self._log), len(self._collections)):
            if version.time_us <= read_us:
                break
            paths.add(collection_of(version.name))
        else:  # to look through the collections takes less than to go further back
            return self._reached_by(query)
        return [self._collections[path] for path in sorted(paths) if query.covers(f"{path}/x")]

    def _under(self, parent: str) -> Iterator[Collection]:
        """The collections anywhere below a document, the root or another collection."""
        paths = self._paths().irange(f"{parent}/", f"{parent}0", inclusive=(True, False))  # "0" follows "/"
        return (self._collections[path] for path in list(paths))

    def _paths(self) -> SortedList[str]:
        """The paths of all collections, in order: the latest are sorted in when somebody asks, which few do."""
        unsorted = len(self._collections) - len(self._sorted_paths)
        if unsorted:
            self._sorted_paths.update(islice(reversed(self._collections), unsorted))
        return self._sorted_paths

    def _segments_below(self, path: str, read_us: int | None) -> set[str]:
        """What follows a path in the paths of the collections that have, or had, documents."""
        begin = len(path) + 1
        return {
            below.path[begin:].split("/", 1)[0]
            for below in self._under(path)
            if (below.live if read_us is None else below.existed(read_us))
        }

    def _put(self, path: str, versions: Sequence[Version]) -> None:
        moves = self._collection(path).put(versions)
        for previous, _ in moves:
            if previous is not None:
                self._past_bytes += _VERSION_BYTES + len(previous.data or b"")
        self._indexed(path, moves)

    def _indexed(self, path: str, moves: Sequence[Move]) -> None:
        """Keep the indexes up with a collection; nobody looks into the messages after that."""
        self.indexes.update(path, moves)
        for previous, version in moves:
            version.forget()
            if previous is not None:
                previous.forget()

    def _prune(self, now_us: int, added: int) -> None:
        before_us = now_us - self._history_us
        # two for each one that comes, so that a backlog shrinks and no single commit pays for an hour
        for _ in range(2 * added):
            if not self._log:
                return
            oldest = self._log[0]
            if oldest.time_us >= before_us and self._past_bytes <= self._history_bytes:
                return
            self._log.popleft()
            if oldest.previous is not None:
                self._past_bytes -= _VERSION_BYTES + len(oldest.previous.data or b"")
            collection = self._collections[collection_of(oldest.name)]
            collection.forget_before(oldest)
            self._pruned_us = max(self._pruned_us, oldest.time_us)
            if not collection.versions:
                del self._collections[collection.path]
                self._sorted_paths.discard(collection.path)
                self._dropped_us = oldest.time_us

    def _load(self, journal: Journal) -> None:
        last_us = journal.cleared_us()
        for name, data, created_us, time_us in journal.load():
            collection = self._collection(collection_of(name))
            collection.versions[name] = Version(name, data, created_us, time_us)
            collection.live += 1
            last_us = max(last_us, time_us)
        self._last_us = self._pruned_us = last_us
        for collection in self._collections.values():
            collection.pruned_us = last_us


def _by_collection(versions: Iterable[Version]) -> dict[str, list[Version]]:
    """The versions of each collection's documents, and the collections, in their order."""
    found: defaultdict[str, list[Version]] = defaultdict(list)
    for version in versions:
        found[collection_of(version.name)].append(version)
    return found
