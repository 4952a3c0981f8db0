"""Mistakes that can be planted, each of which a run has to find."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from google.cloud.firestore import ArrayUnion, AsyncClient, AsyncDocumentReference, Increment

from eventbox import Receipt
from tests.chaos import following
from tests.chaos.accounts import Accounting, trace_id
from tests.chaos.acts import Act, Order
from tests.chaos.producing import Producer

FORGETFUL_EMULATOR = "the emulator acknowledges before it writes"
"""That of `tests.chaos.forgetful_emulator`, which the crew starts in the emulator's place."""


def acknowledge_early() -> None:
    """A producer that says that all is done, and does it when there is time."""
    original = Producer.perform
    under_way: set[asyncio.Task[Any]] = set()

    async def perform(self: Producer, act: Act) -> Sequence[Receipt]:
        async def later() -> None:
            # so long that on a slow machine, too, a kill comes in between now and then
            await asyncio.sleep(1.0)
            await original(self, act)

        task = asyncio.create_task(later())
        under_way.add(task)
        task.add_done_callback(lambda done: done.cancelled() or done.exception())
        return []

    Producer.perform = perform  # type: ignore[assignment, method-assign]


def write_beside_the_transaction() -> None:
    """A side effect in which somebody forgot the transaction."""

    async def trace(self: Accounting, client: AsyncClient, transaction: Any, order: Order, mark: str) -> None:
        document = client.document(f"traces/{trace_id(order.at, order.id)}")
        await document.set({"n": Increment(1), "by": ArrayUnion([mark])}, merge=True)

    Accounting._trace = trace  # type: ignore[method-assign]


def copy_beside_the_transaction() -> None:
    """A follower's handler in which somebody forgot it."""

    async def keep(transaction: Any, document: AsyncDocumentReference, told: Mapping[str, Any]) -> None:
        await document.set(dict(told), merge=True)

    following.keep = keep


MISTAKES: Mapping[str, Callable[[], None]] = {
    "a producer acknowledges before the commit": acknowledge_early,
    "a side effect writes beside its transaction": write_beside_the_transaction,
    "a follower writes beside its transaction": copy_beside_the_transaction,
    FORGETFUL_EMULATOR: lambda: None,
}


def plant(mistake: str | None) -> None:
    """Make the mistake of this name from now on, in this process."""
    if mistake is not None:
        MISTAKES[mistake]()
