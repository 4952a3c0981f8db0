"""`Act`: something that a producer does, once or again under the same ID, and all that has to come of it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from random import Random
from typing import Any

KINDS = ("emit", "send", "many", "transaction", "append", "append trimable")

_DELAY = (0.5, 3.0)
"""Of events that are for later, in seconds."""


@dataclass(frozen=True, slots=True)
class Order:
    """An event: what the account `at` is to do.

    `do` is "credit" (`amount` comes from outside), "transfer" (of `amount`, to the account `to`), "note" (nothing, but
    it counts as applied), "read" (count in a document that others read and write, too) or "noise" (it is garbage).
    """

    id: str
    at: str
    do: str
    amount: int = 0
    to: str = ""
    due: float | None = None

    def encode(self) -> bytes:
        return json.dumps(asdict(self)).encode()

    @staticmethod
    def decode(value: bytes) -> Order:
        return Order(**json.loads(value))


@dataclass(frozen=True, slots=True)
class Act:
    """What is done. A transaction writes a marker as well, enqueues a task and appends an entry, all named by `id`."""

    id: str
    kind: str
    orders: Sequence[Order] = ()

    def told(self) -> dict[str, Any]:
        """For the journal."""
        return asdict(self)

    @staticmethod
    def of(told: dict[str, Any]) -> Act:
        return Act(told["id"], told["kind"], [Order(**order) for order in told["orders"]])


def any_act(id: str, paths: Sequence[str], polled: Sequence[str], rng: Random, now: float) -> Act:
    """Something to do, at any of the paths; what may wake nobody, where the process dies, at one that is polled."""
    kind = rng.choices(KINDS, weights=(4, 4, 1, 3, 2, 1))[0]
    if kind.startswith("append"):
        return Act(id, kind)
    wakes = kind in ("send", "transaction")
    at = rng.choice(paths if wakes else polled)
    count = {"many": 5, "transaction": 2}.get(kind, 1)
    orders = []
    for n in range(count):
        do = rng.choices(("credit", "transfer", "note", "read", "noise"), weights=(3, 6, 2, 1, 1))[0]
        due = now + rng.uniform(*_DELAY) if kind in ("emit", "send") and rng.random() < 0.1 else None
        own = rng.choice(paths) if kind == "transaction" else at
        orders.append(Order(f"{id}.{n}", own, do, rng.randint(1, 50), rng.choice(paths), due))
    return Act(id, kind, orders)
