"""Those who wait for a lock, in the order in which they came, found by what they wait for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from typing import Any

from emulator.firestore.query import Query
from emulator.firestore.store import Change
from emulator.waiter import Waiter


@dataclass(eq=False)
class Owner:
    """One who may hold locks. The lower the `age`, the older; None: a write outside transactions, never aborted."""

    age: int | None
    exclusive: bool = False  # its reads lock for itself alone, see `LockTable`
    documents: set[str] = field(default_factory=set)
    queries: list[Query] = field(default_factory=list)
    aborted: bool = False

    @property
    def holds(self) -> bool:
        """Whether anybody may have to wait for it."""
        return bool(self.documents or self.queries)


@dataclass(eq=False, slots=True)
class Request:
    """Something that waits, or is about to be granted: a read of documents or of a query, or a write."""

    owner: Owner
    turn: int  # the lower, the earlier
    reads: tuple[str, ...] = ()
    query: Query | None = None
    writes: tuple[str, ...] = ()
    changes: Callable[[], dict[str, Change]] = dict  # what the writes would do, as things are now
    waiter: Waiter | None = None
    asked_at: int = -1  # which state of the documents `effects` is about
    effects: dict[str, Change] | None = None
    touched: dict[int, tuple[Query, bool]] = field(default_factory=dict)  # by the query's identity

    @property
    def names(self) -> tuple[str, ...]:
        """The documents that it is about."""
        return self.writes or self.reads

    def wake(self) -> None:
        if self.waiter is not None:
            self.waiter.wake()

    def shares(self, other: Owner) -> bool:
        """Whether it and another's read can have the same document at a time."""
        return not (self.writes or self.owner.exclusive or other.exclusive)


class LockQueue:
    """The waiting requests of one `LockTable`.

    To find those that conflict with another takes time in proportion to how many wait for the same documents, however
    many wait for others.
    """

    def __init__(self) -> None:
        # dicts for sets that keep the order of the turns
        self.writes: dict[Request, None] = {}
        self.queries: dict[Request, None] = {}
        self._by_name: dict[str, dict[Request, None]] = {}
        self._of_holders: dict[Request, None] = {}  # whose owners hold something
        self._of_holders_by_name: dict[str, dict[Request, None]] = {}
        self._by_owner: dict[Owner, dict[Request, None]] = {}
        self._size = 0
        self._state = 0

    def __len__(self) -> int:
        return self._size

    def __contains__(self, request: Request) -> bool:
        return request in self._by_owner.get(request.owner, ())

    def join(self, request: Request) -> None:
        """Put a request at the end."""
        self._size += 1
        self._by_owner.setdefault(request.owner, {})[request] = None
        for name in request.names:
            self._by_name.setdefault(name, {})[request] = None
        if request.writes:
            self.writes[request] = None
        if request.query is not None:
            self.queries[request] = None
        if request.owner.holds:
            self._add_to_holders(request)

    def leave(self, request: Request) -> None:
        """Take a request out; one that is not there is no error."""
        if request not in self:
            return
        self._size -= 1
        _discard(self._by_owner, request.owner, request)
        for name in request.names:
            _discard(self._by_name, name, request)
            _discard(self._of_holders_by_name, name, request)
        self.writes.pop(request, None)
        self.queries.pop(request, None)
        self._of_holders.pop(request, None)

    def holds(self, owner: Owner) -> None:
        """Take note that an owner, who may wait for something, holds something."""
        for request in self.of(owner):
            self._add_to_holders(request)

    def documents_changed(self) -> None:
        """What the waiting writes would do has to be asked anew."""
        self._state += 1

    def touches(self, request: Request, queries: Iterable[Query]) -> bool:
        """Whether a request's writes would change the result of one of the queries."""
        if request.asked_at != self._state:
            request.asked_at, request.effects = self._state, None
            request.touched.clear()
        return any(self._touches(request, query) for query in queries)

    def of(self, owner: Owner) -> list[Request]:
        """What an owner waits for."""
        return list(self._by_owner.get(owner, ()))

    def of_holders(self) -> list[Request]:
        """The requests of all who hold something, and so may not have to wait in turn."""
        return list(self._of_holders)

    def naming(self, name: str) -> Iterable[Request]:
        """Those who wait for a document, in turn."""
        return self._by_name.get(name, ())

    def next_at(self, name: str) -> Iterator[Request]:
        """Those of the requests for a document who may be next; the others have to let one of these go before.

        Some come more than once. However many wait to write, it is one of them.
        """
        for request in self.naming(name):
            yield request
            if (
                request.writes or request.owner.exclusive
            ):  # nobody passes it but its own owner, and those who hold
                yield from self.of(request.owner)
                break
        yield from self._of_holders_by_name.get(name, ())

    def earlier(self, request: Request) -> Iterator[Request]:
        """Those who came before a request and cannot go together with it; some more than once."""
        for name in request.names:
            for other in self.naming(name):
                if other.turn >= request.turn:
                    break
                if _apart(other, request):
                    yield other
        for other in self._by_predicate(request):
            if other.turn < request.turn:
                yield other

    def later(self, request: Request) -> Iterator[Request]:
        """Those who came after a request and cannot go together with it; some more than once."""
        for name in request.names:
            for other in self.naming(name):
                if other.turn > request.turn and _apart(other, request):
                    yield other
        for other in self._by_predicate(request):
            if other.turn > request.turn:
                yield other

    def _add_to_holders(self, request: Request) -> None:
        self._of_holders[request] = None
        for name in request.names:
            self._of_holders_by_name.setdefault(name, {})[request] = None

    @staticmethod
    def _touches(request: Request, query: Query) -> bool:
        known = request.touched.get(id(query))
        if known is None:
            touched = False
            if any(map(query.covers, request.writes)):
                if request.effects is None:
                    request.effects = request.changes()
                touched = any(touches(query, name, change) for name, change in request.effects.items())
            known = request.touched[id(query)] = query, touched
        return known[1]

    def _by_predicate(self, request: Request) -> Iterator[Request]:
        if request.writes:
            for other in self.queries:
                if other.owner is not request.owner and self.touches(request, [other.query]):  # type: ignore[list-item]
                    yield other
        elif request.query is not None:
            for other in self.writes:
                if other.owner is not request.owner and self.touches(other, [request.query]):
                    yield other


def touches(query: Query, name: str, change: Change) -> bool:
    """Whether a document's change matters to a query: it enters its result, leaves it, or differs in it."""
    if not query.covers(name):
        return False
    before, after = change
    matched = before is not None and query.matches(before.message)
    return matched or (after is not None and query.matches(after.message))


def _apart(one: Request, other: Request) -> bool:
    """Whether two requests for the same document have to go one after the other."""
    if one.owner is other.owner:
        return False
    return bool(other.writes) or not one.shares(other.owner)


def _discard(index: dict[Any, dict[Request, None]], key: Any, request: Request) -> None:
    requests = index.get(key)
    if requests is not None:
        requests.pop(request, None)
        if not requests:
            del index[key]
