"""Who may read and write what, now: shared and exclusive locks, fair queues, and cycles settled at once.

Only transactions hold locks, and only for what they have read: a document (also one that does not exist) or a query,
whose lock covers every document that would enter or leave its result. A commit takes what it writes in one step, when
nobody else holds any of it, so nothing is ever held half. What has to wait does so in turn: a reader behind a writer
that came before it too. Nothing waits on a time-out: a cycle is found when it closes, and the youngest transaction in
it is aborted at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator

from emulator.firestore.lock_queue import LockQueue, Owner, Request
from emulator.firestore.query import Query
from emulator.firestore.store import Change
from emulator.waiter import Waiter

Changes = Callable[[], dict[str, Change]]
"""Tells what writes would make of each document, as things are at the moment of asking."""


class LockTable:
    """The locks of one engine.

    A transaction that is tried again after it was aborted locks what it reads for itself alone. So those that lost a
    race come one after the other, each with its turn in line, in place of losing to each other again and again.
    """

    def __init__(self) -> None:
        self._readers: dict[str, set[Owner]] = {}
        self._predicates: dict[
            Owner, None
        ] = {}  # those that hold a query, in the order in which they came to
        self._queue = LockQueue()
        self._turn = 0

    @property
    def waiting(self) -> int:
        """How many requests wait."""
        return len(self._queue)

    @property
    def idle(self) -> bool:
        """Whether nobody holds or waits for anything."""
        return not (self._readers or self._predicates or self._queue)

    def waits(self, owner: Owner) -> bool:
        """Whether an owner waits for something."""
        return bool(self._queue.of(owner))

    async def read(self, owner: Owner, names: Iterable[str]) -> None:
        """Return once the owner has locked these documents; they stay locked until `release`."""
        wanted = tuple(name for name in names if name not in owner.documents)
        if wanted:
            await self._acquire(Request(owner, self._next_turn(), reads=wanted))

    async def read_query(self, owner: Owner, query: Query) -> None:
        """Return once the owner has locked what a query's result depends on."""
        await self._acquire(Request(owner, self._next_turn(), query=query))

    async def write(self, owner: Owner, names: Iterable[str], changes: Changes) -> None:
        """Return when the owner may write these documents; it must do so, and say `written`, before it awaits more.

        `changes` is asked only where a query is locked.
        """
        if not self.idle:
            request = Request(owner, self._next_turn(), writes=tuple(dict.fromkeys(names)), changes=changes)
            await self._acquire(request)

    def may_write(self, names: Iterable[str], changes: Changes) -> bool:
        """Whether a write outside transactions would not have to wait now."""
        return not self._blocked(
            Request(Owner(None), self._next_turn(), writes=tuple(names), changes=changes)
        )

    def written(self, names: Iterable[str]) -> None:
        """Let those go on who waited for a write of these documents to be done."""
        if self._queue:
            self._queue.documents_changed()
            self._advance(names)

    def release(self, owner: Owner) -> None:
        """Let go of all that the owner holds and waits for, and let those go on who waited for it."""
        names = list(owner.documents)
        for name in names:
            readers = self._readers[name]
            readers.discard(owner)
            if not readers:
                del self._readers[name]
        held_query = bool(owner.queries)
        self._predicates.pop(owner, None)
        owner.documents, owner.queries = set(), []
        for request in self._queue.of(owner):
            names.extend(request.names)
            self._queue.leave(request)
            request.wake()
        if self._queue:
            self._advance(names, any_write=held_query)

    def abort(self, owner: Owner) -> None:
        """End a transaction from outside: its locks are let go, and its waiting read or commit is told."""
        owner.aborted = True
        self.release(owner)

    async def _acquire(self, request: Request) -> None:
        if not self._blocked(request):
            self._grant(request)
            return
        self._queue.join(request)
        try:
            self._settle_cycles(request)
            if request in self._queue and self._is_waited_for(request.owner):
                self._pass(self._queue.of_holders())  # those who wait for it now wait for others too
            # a read is granted while it waits; a write keeps its place until it is done, so that nobody gets in between
            while request in self._queue and (not request.writes or self._blocked(request)):
                request.waiter = Waiter()
                await request.waiter
        except BaseException:  # whoever waited has gone away
            self._queue.leave(request)
            self._advance(request.names)
            raise
        self._queue.leave(request)

    def _grant(self, request: Request) -> None:
        owner = request.owner
        for name in request.reads:
            self._readers.setdefault(name, set()).add(owner)
            owner.documents.add(name)
        if request.query is not None:
            self._predicates[owner] = None
            owner.queries.append(request.query)
        if not request.writes and self._queue:
            self._queue.holds(owner)
            if self._queue.of(owner):
                # what else it waits for may now go before those who wait for what it has just got, and so may others
                self._pass(self._queue.of_holders())

    def _advance(self, names: Iterable[str], *, any_write: bool = False) -> None:
        """Let those go on, in turn, who need not wait any longer now that something happened to these documents."""
        affected = {request: None for name in names for request in self._queue.next_at(name)}
        # a query's lock is about any document, and what a write would do to its result changes with each commit
        affected.update(self._queue.queries)
        if any_write or self._predicates or self._queue.queries:
            affected.update(self._queue.writes)
            affected.update(dict.fromkeys(self._queue.of_holders()))
        self._pass(affected)
        if self._predicates:
            for request in list(self._queue.writes):
                self._settle_cycles(request)

    def _pass(self, requests: Iterable[Request]) -> None:
        for request in sorted(requests, key=lambda request: request.turn):
            if request in self._queue and not self._blocked(request):
                if not request.writes:
                    self._queue.leave(request)
                    self._grant(request)
                request.wake()

    def _blocked(self, request: Request) -> bool:
        """Whether somebody has to finish, or to have their turn, before the request can be granted."""
        return next(self._blockers(request), None) is not None

    def _blockers(self, request: Request) -> Iterator[Owner]:
        """Those who have to finish, or to have their turn, first; some more than once."""
        yield from self._holders_against(request)
        behind: set[Request] | None = None if request.owner.holds else set()
        for earlier in self._queue.earlier(request):
            if behind is None:
                behind = self._behind(request.owner)
            if earlier not in behind:
                yield earlier.owner

    def _holders_against(self, request: Request) -> Iterator[Owner]:
        """Those who hold what the request cannot share."""
        owner = request.owner
        for name in request.names:
            for holder in self._readers.get(name, ()):
                if holder is not owner and not request.shares(holder):
                    yield holder
        if request.writes:
            for holder in self._predicates:
                if holder is not owner and self._queue.touches(request, holder.queries):
                    yield holder

    def _waiting_for(self, owner: Owner) -> Iterator[Request]:
        """The requests that cannot share what an owner holds."""
        for name in owner.documents:
            for request in self._queue.naming(name):
                if request.owner is not owner and not request.shares(owner):
                    yield request
        if owner.queries:
            for request in self._queue.writes:
                if request.owner is not owner and self._queue.touches(request, owner.queries):
                    yield request

    def _is_waited_for(self, owner: Owner) -> bool:
        """Whether a request cannot share what an owner holds."""
        return next(self._waiting_for(owner), None) is not None

    def _behind(self, owner: Owner) -> set[Request]:
        """The requests that wait for this owner, also through others: it need not wait for them in turn."""
        behind: set[Request] = set()
        reached = list(self._waiting_for(owner))
        while reached:
            request = reached.pop()
            if request in behind or request.owner is owner:
                continue
            behind.add(request)
            reached.extend(self._queue.later(request))
            reached.extend(self._waiting_for(request.owner))
        return behind

    def _settle_cycles(self, request: Request) -> None:
        """Abort the youngest transaction of each cycle of waits that a waiting request closes."""
        while request in self._queue:
            transactions = [owner for owner in self._cycle(request.owner) if owner.age is not None]
            if not transactions:
                return
            self.abort(max(transactions, key=lambda owner: owner.age or 0))

    def _cycle(self, owner: Owner) -> list[Owner]:
        """The owners in a cycle of waits through this one; empty where there is none."""
        if len(self._queue.of(owner)) < 2 and not self._is_waited_for(owner):
            return []  # nobody waits for it but those who came after all that it waits for
        path = [owner]
        seen = {owner}
        searches = [self._waits_for(owner)]
        while searches:
            blocker = next(searches[-1], None)
            if blocker is owner:
                return path
            if blocker is None:
                searches.pop()
                path.pop()
            elif blocker not in seen:
                seen.add(blocker)
                path.append(blocker)
                searches.append(self._waits_for(blocker))
        return []

    def _waits_for(self, owner: Owner) -> Iterator[Owner]:
        for request in self._queue.of(owner):
            yield from self._blockers(request)

    def _next_turn(self) -> int:
        self._turn += 1
        return self._turn
