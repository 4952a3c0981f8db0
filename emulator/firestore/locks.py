"""Who may read and write what, now: shared and exclusive locks, fair queues, and cycles settled at once.

Only transactions hold locks, and only for what they have read: a document (also one that does not exist) or a query,
whose lock covers every document that would enter or leave its result. A commit takes what it writes in one step, when
nobody else holds any of it, so nothing is ever held half. What has to wait does so in turn: a reader behind a writer
that came before it too. Nothing waits on a time-out: a cycle is found when it closes, and the youngest transaction in
it is aborted at once.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

from emulator.firestore.query import Query
from emulator.firestore.store import Change
from emulator.firestore.waiter import Waiter


@dataclass(eq=False)
class Owner:
    """One who may hold locks. The lower the `age`, the older; None: a write outside transactions, never aborted."""

    age: int | None
    exclusive: bool = False  # its reads lock for itself alone, see `LockTable`
    documents: set[str] = field(default_factory=set)
    queries: list[Query] = field(default_factory=list)
    aborted: bool = False


@dataclass(eq=False)
class _Request:
    """Something that waits, or is about to be granted: a read of documents or of a query, or a write."""

    owner: Owner
    reads: tuple[str, ...] = ()
    query: Query | None = None
    writes: tuple[str, ...] = ()
    changes: Callable[[], dict[str, Change]] = dict  # what the writes would do, as things are now
    waiter: Waiter = field(default_factory=Waiter)


class LockTable:
    """The locks of one engine.

    A transaction that is tried again after it was aborted locks what it reads for itself alone. So those that lost a
    race come one after the other, each with its turn in line, in place of losing to each other again and again.
    """

    def __init__(self) -> None:
        self._readers: defaultdict[str, set[Owner]] = defaultdict(set)
        self._predicates: set[Owner] = set()  # those that hold a query
        self._queue: list[_Request] = []

    async def read(self, owner: Owner, names: Iterable[str]) -> None:
        """Return once the owner has locked these documents; they stay locked until `release`."""
        wanted = tuple(name for name in names if name not in owner.documents)
        if wanted:
            await self._acquire(_Request(owner, reads=wanted))

    async def read_query(self, owner: Owner, query: Query) -> None:
        """Return once the owner has locked what a query's result depends on."""
        await self._acquire(_Request(owner, query=query))

    async def write(
        self, owner: Owner, names: Iterable[str], changes: Callable[[], dict[str, Change]]
    ) -> None:
        """Return when the owner may write these documents; it must do so before it waits for anything else.

        `changes` tells what they would be before and after, as things are at the moment of asking; it is asked only
        where a query is locked.
        """
        if self._readers or self._predicates or self._queue:
            await self._acquire(_Request(owner, writes=tuple(names), changes=changes))

    def release(self, owner: Owner) -> None:
        """Let go of all that the owner holds, and let those go on who waited for it."""
        for name in owner.documents:
            readers = self._readers[name]
            readers.discard(owner)
            if not readers:
                del self._readers[name]
        self._predicates.discard(owner)
        owner.documents, owner.queries = set(), []
        self.advance()

    def abort(self, owner: Owner) -> None:
        """End a transaction from outside: its locks are let go, and its waiting read or commit is told."""
        owner.aborted = True
        for request in [request for request in self._queue if request.owner is owner]:
            self._queue.remove(request)
            request.waiter.wake()
        self.release(owner)

    def advance(self) -> None:
        """Let those go on, in turn, who need not wait any longer.

        A read is granted here. A write keeps its place until it is done, so that nobody gets in between.
        """
        for request in list(self._queue):
            if request in self._queue and not self._blockers(request):
                if not request.writes:
                    self._queue.remove(request)
                    self._grant(request)
                request.waiter.wake()

    def clear(self) -> None:
        """Abort everyone."""
        for owner in {request.owner for request in self._queue} | set().union(*self._readers.values()):
            self.abort(owner)

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    async def _acquire(self, request: _Request) -> None:
        if not self._blockers(request):
            self._grant(request)
            return
        self._queue.append(request)
        try:
            self._settle_cycles(request)
            while request in self._queue and (not request.writes or self._blockers(request)):
                request.waiter = Waiter()
                await request.waiter
        except BaseException:  # whoever waited has gone away
            self._leave(request)
            self.advance()
            raise
        self._leave(request)

    def _leave(self, request: _Request) -> None:
        if request in self._queue:
            self._queue.remove(request)

    def _grant(self, request: _Request) -> None:
        for name in request.reads:
            self._readers[name].add(request.owner)
            request.owner.documents.add(name)
        if request.query is not None:
            self._predicates.add(request.owner)
            request.owner.queries.append(request.query)

    def _blockers(self, request: _Request) -> set[Owner]:
        """Those who have to finish, or to have their turn, before the request can be granted."""
        blockers = self._holders_against(request)
        behind = self._behind(request.owner) if request.owner.documents or request.owner.queries else ()
        for earlier in self._queue:
            if earlier is request:
                break
            if (
                earlier.owner is not request.owner
                and earlier not in behind
                and self._conflict(earlier, request)
            ):
                blockers.add(earlier.owner)
        return blockers

    def _behind(self, owner: Owner) -> list[_Request]:
        """The requests that wait for this owner, also through others: it need not wait for them in turn."""
        behind: list[_Request] = []
        for request in self._queue:
            if request.owner is not owner and (
                owner in self._holders_against(request)
                or any(self._conflict(other, request) for other in behind)
            ):
                behind.append(request)
        return behind

    def _holders_against(self, request: _Request) -> set[Owner]:
        """Those who hold what the request cannot share."""
        holders: set[Owner] = set()
        for name in request.reads:
            for holder in self._readers.get(name, ()):
                if holder.exclusive or request.owner.exclusive:
                    holders.add(holder)
        for name in request.writes:
            holders.update(self._readers.get(name, ()))
        if request.writes and self._predicates:
            changes = request.changes()
            holders.update(holder for holder in self._predicates if _touch(changes, holder.queries))
        holders.discard(request.owner)
        return holders

    def _conflict(self, one: _Request, other: _Request) -> bool:
        """Whether two requests are about the same thing and cannot share it."""
        if one.writes and other.writes:
            return not set(one.writes).isdisjoint(other.writes)
        for writer, reader in ((one, other), (other, one)):
            if writer.writes:
                if reader.query is not None:
                    return _touch(writer.changes(), [reader.query])
                return not set(writer.writes).isdisjoint(reader.reads)
        both = one.owner.exclusive or other.owner.exclusive
        return both and not set(one.reads).isdisjoint(other.reads)

    def _settle_cycles(self, request: _Request) -> None:
        while True:
            cycle = self._cycle(request)
            transactions = [owner for owner in cycle if owner.age is not None]
            if not transactions:
                return
            self.abort(max(transactions, key=lambda owner: owner.age or 0))
            if request not in self._queue:
                return

    def _cycle(self, request: _Request) -> list[Owner]:
        """The owners in a cycle of waits through this request; empty where there is none."""
        waiting: dict[Owner, _Request] = {waits.owner: waits for waits in self._queue}
        path: list[Owner] = []
        seen: set[Owner] = set()

        def search(owner: Owner) -> bool:
            if owner in seen or owner not in waiting:
                return False
            seen.add(owner)
            path.append(owner)
            for blocker in self._blockers(waiting[owner]):
                if blocker is request.owner or search(blocker):
                    return True
            path.pop()
            return False

        return path if search(request.owner) else []


def _touch(changes: dict[str, Change], queries: list[Query]) -> bool:
    """Whether a change makes a document enter, leave or differ in the result of one of the queries."""
    return any(touches(query, name, change) for query in queries for name, change in changes.items())


def touches(query: Query, name: str, change: Change) -> bool:
    """Whether a document's change matters to a query."""
    if not query.covers(name):
        return False
    before, after = change
    matched: Any = before is not None and query.matches(before)
    return bool(matched or (after is not None and query.matches(after)))
