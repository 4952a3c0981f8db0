"""The rows of the cost table: what is promised, and what it costs here, each on a database of its own."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from google.cloud.firestore import AsyncClient

from benchmarks import plain
from benchmarks.process_batch import Account, Count, decide
from benchmarks.wire_cost import Cost, Wire
from eventbox import Event, EventBox, Mutation, NewEvent, Recipient, Transaction, Transition

Measure = Callable[[Wire, int], Awaitable[Cost]]

_VALUE = b"v" * 200


@dataclass(frozen=True, slots=True)
class Row:
    """One row of the table; `table` is what it says for n events, `plain` what the plain ways do in its place."""

    name: str
    sizes: Sequence[int]
    table: Callable[[int], Cost]
    ours: Measure
    plain: Sequence[tuple[str, Measure]] = ()


class Reading(Count):
    """A `Count` whose side effect reads a document of somebody else's."""

    async def prepare_mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]:
        async def read(transaction: Transaction) -> None:
            await self.recipient.ref._client.document("others/1").get(transaction=transaction)

        return Mutation([Transition(Account(state.total + 1), events=events, side_effect=read)])


class Discarding(Count):
    """A `Count` to which its first event is garbage."""

    async def prepare_mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]:
        return Mutation([Transition(Account(state.total + 1), events=events[1:])], garbage=events[:1])


class Elsewhere:
    """A processor that is no `DocumentProcessor`: it loads, compares and saves a document by itself."""

    def __init__(self, client: AsyncClient) -> None:
        self._ref = client.document("elsewhere/1")

    async def load_state(self) -> tuple[int, int]:
        snapshot = await self._ref.get()
        return (snapshot.get("total"), snapshot.get("version")) if snapshot.exists else (0, 0)

    async def prepare_mutation(self, events: Sequence[Event], state: int) -> Mutation[int]:
        return Mutation([Transition(state + len(events), events=events)])

    async def fetch_eversion(self, transaction: Transaction) -> int:
        snapshot = await self._ref.get(transaction=transaction)
        return snapshot.get("version") if snapshot.exists else 0

    async def save_state(self, transaction: Transaction, state: int, eversion: int) -> None:
        transaction.set(self._ref, {"total": state, "version": eversion})


def rows() -> list[Row]:
    """All rows, in the table's order. A drain's further batch is what its second one costs more than its first."""
    return [
        Row(
            "emit",
            (1,),
            lambda n: Cost(1, 1, 0, 1),
            _emit,
            [("emit", lambda wire, n: wire.cost(plain.emit(wire.client, _PLAIN, "x", _VALUE)))],
        ),
        Row("emit of a duplicate", (1,), lambda n: Cost(2, 2, 1, 0), _emit_again),
        Row("emit_many", (1, 10, 500), lambda n: Cost(1, 1, 0, n), _emit_many),
        Row(
            "process_batch, DocumentProcessor",
            (1, 10, 100, 1_000),
            lambda n: Cost(2, 3, n + 1, n + 1),
            _batch(Count),
            [("listed outside", _plain(plain.listed_outside)), ("all in one", _plain(plain.all_in_one))],
        ),
        # its own: a load and the version in the transaction, a read each, and the state, a write
        Row(
            "process_batch, any Processor",
            (1, 100),
            lambda n: Cost(3, 3 + 1, n + 2, n + 1),
            _batch(lambda recipient: Elsewhere(recipient.ref._client)),
        ),
        # the document that is missing and the query that finds nothing: a read each
        Row("an empty batch that changes nothing", (0,), lambda n: Cost(1, 2, 1 + 1, 0), _batch(Count)),
        Row(
            "drain, DocumentProcessor, each further batch",
            (1, 10, 100),
            lambda n: Cost(1, 2, n, n + 1),
            _further(Count),
            [
                ("listed outside", _plain(plain.listed_outside)),
                ("all in one", _plain(plain.all_in_one)),
            ],
        ),
        # its own: the version in the transaction, and the state
        Row(
            "drain, any Processor, each further batch",
            (1, 100),
            lambda n: Cost(2, 3, n + 1, n + 1),
            _further(lambda recipient: Elsewhere(recipient.ref._client)),
        ),
        Row(
            "besides, where there is garbage",
            (10,),
            lambda n: Cost(1, 1, 0, 0),  # the one event is written either way
            _besides(Discarding),
        ),
        Row(
            "besides, where a side effect reads",
            (10,),
            lambda n: Cost(1, 1, 1, 0),
            _besides(Reading),
        ),
    ]


_PLAIN = "accounts/plain"

MakeProcessor = Callable[[Recipient], Any]


async def _emit(wire: Wire, n: int) -> Cost:
    return await wire.cost(_box(wire).emit(_VALUE, _recipient(wire), id="x"))


async def _emit_again(wire: Wire, n: int) -> Cost:
    await _box(wire).emit(_VALUE, _recipient(wire), id="x")
    return await _emit(wire, n)


async def _emit_many(wire: Wire, n: int) -> Cost:
    return await wire.cost(_box(wire).emit_many([NewEvent(_VALUE) for _ in range(n)], _recipient(wire)))


def _batch(make: MakeProcessor) -> Measure:
    async def measure(wire: Wire, n: int) -> Cost:
        recipient = await _filled(wire, n)
        return await wire.cost(_box(wire).process_batch(recipient, make(recipient), max_events=max(n, 1)))

    return measure


def _further(make: MakeProcessor) -> Measure:
    async def drain(n: int, batches: int) -> Cost:
        wire = Wire()
        recipient = await _filled(wire, 10 * n)  # enough that the drain never looks whether anything is left
        return await wire.cost(
            _box(wire).drain(recipient, make(recipient), max_events=n, max_batches=batches)
        )

    async def measure(wire: Wire, n: int) -> Cost:
        return await drain(n, 3) - await drain(n, 2)

    return measure


def _besides(make: MakeProcessor) -> Measure:
    async def measure(wire: Wire, n: int) -> Cost:
        return await _batch(make)(wire, n) - await _batch(Count)(Wire(), n)

    return measure


def _plain(way: Callable[[AsyncClient, str, int, plain.Decide], Awaitable[int]]) -> Measure:
    async def measure(wire: Wire, n: int) -> Cost:
        for id in range(n):
            await plain.emit(wire.client, _PLAIN, str(id), _VALUE)
        return await wire.cost(way(wire.client, _PLAIN, n, decide))

    return measure


def _box(wire: Wire) -> EventBox:
    return EventBox(wire.client, clock=wire.clock)


def _recipient(wire: Wire) -> Recipient:
    return Recipient(wire.client.document("accounts/1"), "account")


async def _filled(wire: Wire, n: int) -> Recipient:
    recipient = _recipient(wire)
    await _box(wire).emit_many([NewEvent(_VALUE) for _ in range(n)], recipient)
    return recipient
