"""The application under attack: accounts that send each other money, and do whatever else processors do.

Each applied event leaves its trace twice, in the state and in a document of its own that the same commit counts up, so
that an event applied twice, or by half, shows. The trace also says of how many events the state was that the batch has
decided on, so that a batch that is committed on another state shows.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

from google.cloud.firestore import ArrayUnion, Increment

from eventbox import Event, EventBox, Mutation, PrepareError, SkipTransition, Transition
from eventbox.tasks import Task
from tests.account import Account
from tests.simulation.scene import TASK, Enqueue, Scene, Send, recipient, trace_id

KINDS = (
    "credit",
    "transfer",
    "transfer",
    "note",
    "note",
    "note",
    "read",
    "read",
    "skip",
    "flaky",
    "noise",
    "touch",
    "task",
)
CHANGING = frozenset({"credit", "transfer", "read", "skip", "flaky", "touch", "task"})
"""Kinds of events that change the state."""


class FlakyError(Exception):
    """A side effect, or preparing, failed, for now."""


class Accounting:
    """What all kinds of processors do with a batch of events; one for each run.

    Attributes:
        batches: the names of the batches that it has prepared.
        refused_garbage: the garbage of a batch whose preparing failed, the last one.
        sent_to_itself: events that side effects have emitted to this very recipient, whatever became of them.
    """

    def __init__(self, scene: Scene, box: EventBox, path: str, send: Send, enqueue: Enqueue | None) -> None:
        self.scene = scene
        self.box = box
        self.path = path
        self.batches: list[str] = []
        self.refused_garbage: list[str] = []
        self.sent_to_itself: list[str] = []
        self._send = send
        self._enqueue = enqueue

    @property
    def batch(self) -> str:
        """The name of the last one; empty where none was prepared."""
        return self.batches[-1] if self.batches else ""

    def mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]:
        scene = self.scene
        scene.ledger.batches += 1
        self.batches.append(f"b{scene.ledger.batches}")
        now = scene.stage.clock.now()
        for event in events:
            emission = scene.ledger.emissions.get((self.path, event.id))
            if emission is not None and emission.due is not None:
                detail = f"{event.id} is due at {emission.due}, handed over at {now}"
                scene.check("nothing early", emission.due <= now, detail)
        scene.stage.history.add(
            "",
            f"{self.batch} of {self.path}: {[event.id for event in events]}, on {len(state.applied)} applied",
        )
        garbage = [event for event in events if json.loads(event.value)["do"] == "noise"]
        rest = [event for event in events if event not in garbage]
        if scene.unruly and scene.rng.random() < 0.05:
            self.refused_garbage = [event.id for event in garbage]
            raise PrepareError(garbage=garbage) from FlakyError("preparing")
        transitions: list[Transition[Account]] = []
        size = scene.rng.choice((1, 3, 1_000))
        loaded = len(state.applied)
        for start in range(0, len(rest), size):
            group = rest[start : start + size]
            state = self._apply(group, state)
            transitions.append(self._transition(group, state, loaded, len(transitions)))
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

    def _transition(
        self, events: list[Event], state: Account, loaded: int, place: int
    ) -> Transition[Account]:
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
                        await self._send(credit, to, id=f"{path}|{event.id}", transaction=transaction)
                        if order["to"] == path:
                            self.sent_to_itself.append(f"{path}|{event.id}")
                    case "task" if self._enqueue is not None:
                        marker = f"trace {trace_id(path, event.id)}"
                        scene.ledger.effect_tasks.add(marker)
                        await self._enqueue(Task(TASK, marker.encode()), transaction=transaction)
                    case "read":
                        shared = client.document("shared/count")
                        found = await shared.get(transaction=transaction)
                        count = found.get("n") if found.exists else 0
                        # others have time to write what it has read
                        await box.clock.sleep(
                            timedelta(seconds=scene.rng.choice((0.0, 0.5)) * scene.rng.random())
                        )
                        # a transaction does not see its own writes: those of the batch's other side effects
                        tally = transaction.tally = getattr(transaction, "tally", 0) + 1
                        transaction.set(shared, {"n": count + tally})
                    case "touch" if path.startswith("accounts/"):
                        transaction.set(client.document(path), {"touched": Increment(1)}, merge=True)
                trace = client.document(f"traces/{trace_id(path, event.id)}")
                fields = {"n": Increment(1), "by": ArrayUnion([mark]), "loaded": loaded}
                transaction.set(trace, fields, merge=True)
                # after it has written: what it wrote must go too
                if order["do"] in ("skip", "task") and scene.unruly and scene.rng.random() < 0.4:
                    raise SkipTransition
                if order["do"] == "flaky" and scene.unruly and scene.rng.random() < 0.3:
                    raise FlakyError(event.id)

        async def post_process() -> None:
            ledger = scene.ledger
            ledger.post_processed[mark] += 1
            scene.check("post-process at most once", ledger.post_processed[mark] == 1, mark)
            for event in events:
                fields = scene.stage.truth.fields(f"traces/{trace_id(path, event.id)}")
                by = (
                    set() if fields is None else {one.string_value for one in fields["by"].array_value.values}
                )
                scene.check("post-process only after the commit", mark in by, f"{mark} of {event.id}")

        return Transition(state, events=events, side_effect=side_effect, post_process=post_process)
