"""What the event log is compared with: a log by hand, with a document for each entry, on google's high-level client.

Written as good engineers would write it first: a transaction takes the next number from a counter and creates the
entry; a follower queries the entries behind its cursor, handles them, and moves the cursor in a transaction that checks
that nobody else has moved it.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

from google.cloud.firestore import SERVER_TIMESTAMP, AsyncClient, FieldFilter, async_transactional

Handler = Callable[[Any, dict[str, Any]], Awaitable[None]]


class PlainLog:
    """A log with a document for each entry."""

    def __init__(self, client: AsyncClient, path: str) -> None:
        self._client = client
        self._head = client.document(path)
        self._entries = self._head.collection("entries")

    async def append(self, kind: str, payload: bytes) -> None:
        """Append an entry: 4 RPCs, one after the other."""

        @async_transactional
        async def run(transaction: Any) -> None:
            head = await self._head.get(transaction=transaction)
            position = head.get("next") if head.exists else 0
            transaction.create(
                self._entries.document(f"{position:016}"),
                {"position": position, "kind": kind, "payload": payload, "logged_at": SERVER_TIMESTAMP},
            )
            transaction.set(self._head, {"next": position + 1})

        await run(self._client.transaction(max_attempts=100))

    async def fill(self, kind: str, payload: bytes, count: int) -> None:
        """Append many at once, as nobody else does meanwhile."""
        head = await self._head.get()
        first = head.get("next") if head.exists else 0
        for begin in range(first, first + count, 400):
            batch = self._client.batch()
            end = min(begin + 400, first + count)
            for position in range(begin, end):
                batch.set(
                    self._entries.document(f"{position:016}"),
                    {"position": position, "kind": kind, "payload": payload, "logged_at": SERVER_TIMESTAMP},
                )
            batch.set(self._head, {"next": end})
            await batch.commit()

    async def follow(self, follower: str, handler: Handler, batch: int) -> None:
        """Handle all entries from the follower's cursor on."""
        cursor = self._head.collection("cursors").document(follower)
        snapshot = await cursor.get()
        position = snapshot.get("position") if snapshot.exists else 0
        while True:
            query = (
                self._entries.where(filter=FieldFilter("position", ">=", position))
                .order_by("position")
                .limit(batch)
            )
            entries = [entry.to_dict() for entry in await query.get()]
            if not entries:
                return

            @async_transactional
            async def handle(
                transaction: Any, entries: list[Any] = entries, position: int = position
            ) -> None:
                now = await cursor.get(transaction=transaction)
                if (now.get("position") if now.exists else 0) != position:
                    raise RuntimeError("somebody else was faster")
                for entry in entries:
                    await handler(transaction, entry)
                transaction.set(cursor, {"position": position + len(entries)})

            await handle(self._client.transaction())
            position += len(entries)
