"""The application under attack: accounts that send each other money, and do whatever else processors do.

Each applied event leaves its trace twice, in the state and in a document of its own that the same commit counts up, so
that an event applied twice, or by half, shows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from random import Random
from typing import Any

from google.cloud.firestore import ArrayUnion, AsyncClient, Increment

from eventbox import (
    DocumentProcessor,
    Event,
    EventBox,
    Mutation,
    PrepareError,
    Recipient,
    SkipTransition,
    Transaction,
    Transition,
)
from tests.simulation.history import History
from tests.simulation.ledger import Ledger
from tests.simulation.process import START, SimulatedClock
from tests.simulation.truth import Truth

KINDS = ("credit", "transfer", "note", "read", "skip", "flaky", "noise")
CHANGING = frozenset({"credit", "transfer", "read", "skip", "flaky"})
"""Kinds of events that change the state."""

OPENING = 1_000


@dataclass
class Account:
    """The state."""

    balance: int = OPENING
    applied: list[str] = field(default_factory=list)


class FlakyError(Exception):
    """A side effect failed, for now."""


@dataclass
class Scene:
    """What all processes share that the simulation is made of."""

    rng: Random
    history: History
    ledger: Ledger
    truth: Truth
    right_clock: SimulatedClock
    recipients: list[str]
    unruly: bool = True  # side effects may skip and fail


def recipient(client: AsyncClient, path: str) -> Recipient:
    return Recipient(client.document(path), path.partition("/")[0])


def trace_id(path: str, event_id: str) -> str:
    """Of the document that counts how often an event was applied."""
    return f"{path}|{event_id}".replace("/", "~")


class Accounting:
    """What both kinds of processors do with a batch of events. `batch` is the name of the last one."""

    def __init__(self, scene: Scene, box: EventBox, path: str) -> None:
        self.scene = scene
        self.box = box
        self.path = path
        self.batch = ""

    def mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]:
        scene = self.scene
        scene.ledger.batches += 1
        self.batch = f"b{scene.ledger.batches}"
        now = scene.right_clock.now()
        for event in events:
            emission = scene.ledger.emissions.get((self.path, event.id))
            if emission is not None and emission.due is not None and emission.due > now:
                scene.history.violate(
                    "nothing early", f"{event.id} is due at {emission.due}, handed over at {now}"
                )
        scene.history.add("", f"{self.batch} of {self.path}: {[event.id for event in events]}")
        garbage = [event for event in events if json.loads(event.value)["do"] == "noise"]
        rest = [event for event in events if event not in garbage]
        if scene.unruly and scene.rng.random() < 0.05:
            raise PrepareError(garbage=garbage) from FlakyError("preparing")
        transitions: list[Transition[Account]] = []
        size = scene.rng.choice((1, 3, 1_000))
        for start in range(0, len(rest), size):
            group = rest[start : start + size]
            state = self._apply(group, state)
            transitions.append(self._transition(group, state, len(transitions)))
        return Mutation(transitions, garbage)

    def _apply(self, events: list[Event], state: Account) -> Account:
        # state and listing are no snapshot: an event may come that the state has already, and the commit then fails
        for event in events:
            order = json.loads(event.value)
            if order["do"] not in CHANGING:
                continue
            amount = {"credit": order["amount"], "transfer": -order["amount"]}.get(order["do"], 0)
            state = replace(state, balance=state.balance + amount, applied=[*state.applied, event.id])
        return state

    def _transition(self, events: list[Event], state: Account, place: int) -> Transition[Account]:
        scene, box, path = self.scene, self.box, self.path
        mark = f"{self.batch}.{place}"

        async def side_effect(transaction: Any) -> None:
            client = box.client
            for event in events:
                order = json.loads(event.value)
                match order["do"]:
                    case "transfer":
                        credit = json.dumps({"do": "credit", "amount": order["amount"]}).encode()
                        to = recipient(client, order["to"])
                        await box.emit(credit, to, id=f"{path}|{event.id}", transaction=transaction)
                    case "read":
                        shared = client.document("shared/count")
                        found = await shared.get(transaction=transaction)
                        count = found.get("n") if found.exists else 0
                        # a transaction does not see its own writes: those of the batch's other side effects
                        tally = transaction.tally = getattr(transaction, "tally", 0) + 1
                        transaction.set(shared, {"n": count + tally})
                    case "skip" if scene.unruly and scene.rng.random() < 0.4:
                        raise SkipTransition
                    case "flaky" if scene.unruly and scene.rng.random() < 0.3:
                        raise FlakyError(event.id)
                trace = client.document(f"traces/{trace_id(path, event.id)}")
                transaction.set(trace, {"n": Increment(1), "by": ArrayUnion([mark])}, merge=True)

        async def post_process() -> None:
            ledger = scene.ledger
            ledger.post_processed[mark] += 1
            if ledger.post_processed[mark] > 1:
                scene.history.violate("post-process at most once", mark)
            for event in events:
                fields = scene.truth.fields(f"traces/{trace_id(path, event.id)}")
                if fields is None or mark not in {
                    one.string_value for one in fields["by"].array_value.values
                }:
                    scene.history.violate("post-process only after the commit", f"{mark} of {event.id}")

        return Transition(state, events=events, side_effect=side_effect, post_process=post_process)


class AccountProcessor(DocumentProcessor[Account]):
    """Its state is the recipient's document."""

    def __init__(self, to: Recipient, accounting: Accounting) -> None:
        super().__init__(to, Account)
        self._accounting = accounting

    async def prepare_mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]:
        return self._accounting.mutation(events, state)


class PlainProcessor:
    """Does by hand what `DocumentProcessor` does, as users may."""

    def __init__(self, to: Recipient, accounting: Accounting) -> None:
        self._ref = to.ref
        self._accounting = accounting

    async def load_state(self) -> tuple[Account, int]:
        snapshot = await self._ref.get(retry=None)
        if not snapshot.exists:
            return Account(), 0
        return Account(snapshot.get("balance"), snapshot.get("applied")), snapshot.get("eventbox_eversion")

    async def prepare_mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]:
        return self._accounting.mutation(events, state)

    async def fetch_eversion(self, transaction: Transaction) -> int:
        snapshot = await self._ref.get(transaction=transaction)
        return snapshot.get("eventbox_eversion") if snapshot.exists else 0

    async def save_state(self, transaction: Transaction, state: Account, eversion: int) -> None:
        fields = {"balance": state.balance, "applied": state.applied, "eventbox_eversion": eversion}
        transaction.set(self._ref, fields)


def processor(scene: Scene, box: EventBox, path: str) -> tuple[Any, Accounting]:
    """The processor of a recipient, and what it tells of its batches."""
    accounting = Accounting(scene, box, path)
    to = recipient(box.client, path)
    if path.startswith("plain/"):
        return PlainProcessor(to, accounting), accounting
    return AccountProcessor(to, accounting), accounting


__all__ = ["CHANGING", "KINDS", "OPENING", "START", "Account", "Scene", "processor", "recipient", "trace_id"]
