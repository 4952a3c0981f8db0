"""What is done with the log: ordering, and following it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta
from typing import Any

from google.cloud.firestore import AsyncDocumentReference, Increment

from eventbox import Transaction
from eventbox.log import LogEntry
from tests.chaos.actor import Actor

_ORDER_EVERY = timedelta(milliseconds=200)
_BATCH = 40

SHARED = "shared"
"""The follower that several processes run."""

Handler = Callable[[Transaction, LogEntry], Awaitable[None]]


async def order(actor: Actor) -> None:
    """Order the log, together with whoever else does."""
    await actor.log.run_ordering(interval=_ORDER_EVERY)


async def follow(actor: Actor) -> None:
    """Keep a copy of each log as a follower of its own, and help with the shared one's."""
    log, name = actor.log, actor.name
    async with asyncio.TaskGroup() as group:
        for follower in (name, SHARED):
            group.create_task(log.handle_events(follower, _copy(actor, "persistent", follower), batch=_BATCH))
        group.create_task(log.handle_trimable_events(name, _copy(actor, "trimable", name), batch=_BATCH))


def _copy(actor: Actor, track: str, follower: str) -> Handler:
    client = actor.box.client

    async def handler(transaction: Transaction, entry: LogEntry) -> None:
        document = client.document(f"copies/{track}/{follower}/{entry.id}")
        told = {"n": Increment(1), "kind": entry.kind, "payload": entry.payload.decode()}
        await keep(transaction, document, told)

    return handler


async def keep(transaction: Transaction, document: AsyncDocumentReference, told: Mapping[str, Any]) -> None:
    """Write a copy."""
    transaction.set(document, dict(told), merge=True)
