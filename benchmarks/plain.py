"""What this library is compared with: an inbox by hand, on google's high-level client.

Both are written as good engineers would write them: events in a subcollection, the state with a version in the parent's
document, one transaction by `@async_transactional`, and deletions that demand that the event is still there, so that
two workers cannot consume it twice. Neither remembers consumed IDs, so a retried emit may bring an event back; what
they leave out is in their favour.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any

from google.cloud.firestore import AsyncClient, async_transactional

EVENTS = "events"


class LostError(Exception):
    """Another worker was faster."""


Decide = Callable[[dict[str, Any], Sequence[bytes]], dict[str, Any]]


async def emit(client: AsyncClient, path: str, event_id: str, value: bytes) -> None:
    """Put an event into the inbox, unless it lies there already. 1 round trip."""
    await client.document(path).collection(EVENTS).document(event_id).create({"value": value})


async def listed_outside(client: AsyncClient, path: str, max_events: int, decide: Decide) -> int:
    """A batch: list and load side by side, then check the version and commit in a transaction. 4 round trips."""
    ref = client.document(path)
    snapshot, events = await asyncio.gather(ref.get(), ref.collection(EVENTS).limit(max_events).get())
    state = snapshot.to_dict() or {"version": 0}
    after = decide(state, [event.get("value") for event in events])

    @async_transactional
    async def commit(transaction: Any) -> None:
        now = await ref.get(["version"], transaction=transaction)
        if (now.get("version") if now.exists else 0) != state["version"]:
            raise LostError(f"{path} was processed by somebody else meanwhile")
        for event in events:
            transaction.delete(
                event.reference, option=client.write_option(last_update_time=event.update_time)
            )
        transaction.set(ref, {**after, "version": state["version"] + 1})

    await commit(client.transaction())
    return len(events)


async def all_in_one(client: AsyncClient, path: str, max_events: int, decide: Decide) -> int:
    """A batch: everything in one transaction, the state and the events read side by side. 3 round trips.

    The query in the transaction locks the inbox's range on a pessimistic database: emitters wait.
    """
    ref = client.document(path)
    count = 0

    @async_transactional
    async def run(transaction: Any) -> None:
        nonlocal count
        snapshot, events = await asyncio.gather(
            ref.get(transaction=transaction),
            ref.collection(EVENTS).limit(max_events).get(transaction=transaction),
        )
        state = snapshot.to_dict() or {"version": 0}
        after = decide(state, [event.get("value") for event in events])
        for event in events:
            transaction.delete(event.reference)
        transaction.set(ref, {**after, "version": state["version"] + 1})
        count = len(events)

    await run(client.transaction())
    return count
