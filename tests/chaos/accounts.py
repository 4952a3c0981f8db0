"""The application: accounts that send each other money, and keep a record of every event that they have applied.

An applied event leaves its trace twice: in its account's state, and in a document of its own that the same commit
counts up and that tells by which transition it was.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from typing import Any
from uuid import uuid4
from zlib import crc32

from google.cloud.firestore import ArrayUnion, AsyncClient, Increment

from eventbox import Event, Mutation, Processor, Recipient, Transaction, Transition
from eventbox.tasks import TaskQueue
from tests.account import Account, AccountProcessor, PlainProcessor
from tests.chaos.acts import Order
from tests.chaos.journal import Journal

CHANGING = frozenset({"credit", "transfer", "read"})
"""What changes the state."""

_COUNTERS = 5
_SLACK = 0.01
"""Seconds by which a clock's two readings may differ."""


def recipient(client: AsyncClient, path: str) -> Recipient:
    return Recipient(client.document(path), path.partition("/")[0])


def trace_id(path: str, event_id: str) -> str:
    """Of the document that counts how often an event was applied."""
    return f"{path}|{event_id}".replace("/", "~")


def counter_of(path: str) -> str:
    """The document in which an account's reads count."""
    return f"counters/{crc32(path.encode()) % _COUNTERS}"


class Accounting:
    """What both kinds of processors make of events; the journal is told before the commit, and after it."""

    def __init__(self, queue: TaskQueue, journal: Journal, path: str) -> None:
        self._queue = queue
        self._journal = journal
        self._path = path

    def mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]:
        if not events:
            return Mutation()
        now = time.time()
        for event in events:
            if event.process_after is not None and event.process_after.timestamp() > now + _SLACK:
                self._journal.write("early", path=self._path, id=event.id)
        batch = uuid4().hex[:16]
        self._journal.write("batch", batch=batch, path=self._path, ids=[event.id for event in events])
        orders = {event.id: Order.decode(event.value) for event in events}
        garbage = [event for event in events if orders[event.id].do == "noise"]
        rest = [event for event in events if orders[event.id].do != "noise"]
        transitions = []
        for place, part in enumerate((rest[: len(rest) // 2], rest[len(rest) // 2 :])):
            if not part:
                continue
            own = [orders[event.id] for event in part]
            state = _applied(state, own)
            transitions.append(self._transition(part, own, state, f"{batch}.{place}"))
        return Mutation(transitions, garbage)

    def _transition(
        self, events: Sequence[Event], orders: Sequence[Order], state: Account, mark: str
    ) -> Transition[Account]:
        client = self._queue.box.client

        async def side_effect(transaction: Transaction) -> None:
            for order in orders:
                await self._effect(client, transaction, order, mark)

        async def post_process() -> None:
            self._journal.write("committed", mark=mark, path=self._path, ids=[order.id for order in orders])

        return Transition(state, events=events, side_effect=side_effect, post_process=post_process)

    async def _effect(self, client: AsyncClient, transaction: Any, order: Order, mark: str) -> None:
        if order.do == "transfer":
            id = credit_id(order)
            credit = Order(id, order.to, "credit", order.amount)
            await self._queue.send(
                credit.encode(), recipient(client, order.to), id=id, transaction=transaction
            )
        elif order.do == "read":
            counter = client.document(counter_of(order.at))
            found = await counter.get(transaction=transaction)
            # a transaction does not see its own writes: those of the batch's other side effects
            tally: Counter[str] = transaction.__dict__.setdefault("tally", Counter())
            tally[counter.id] += 1
            transaction.set(counter, {"n": (found.get("n") if found.exists else 0) + tally[counter.id]})
        await self._trace(client, transaction, order, mark)

    async def _trace(self, client: AsyncClient, transaction: Any, order: Order, mark: str) -> None:
        trace = client.document(f"traces/{trace_id(order.at, order.id)}")
        transaction.set(trace, {"n": Increment(1), "by": ArrayUnion([mark])}, merge=True)


def credit_id(order: Order) -> str:
    """The event that a transfer sends."""
    return f"{order.at}|{order.id}"


def _applied(state: Account, orders: Sequence[Order]) -> Account:
    for order in orders:
        if order.do in CHANGING:
            amount = {"credit": order.amount, "transfer": -order.amount}.get(order.do, 0)
            state = replace(state, balance=state.balance + amount, applied=[*state.applied, order.id])
    return state


def processor(queue: TaskQueue, journal: Journal, to: Recipient) -> Processor[Account]:
    """The processor of a recipient."""
    path = to.ref.path
    accounting = Accounting(queue, journal, path)
    return (PlainProcessor if path.startswith("plain/") else AccountProcessor)(to, accounting)
