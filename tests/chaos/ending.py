"""Letting everything run out once nobody is killed any more, and seeing that it does."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.base_query import FieldFilter
from google.cloud.tasks_v2 import CloudTasksAsyncClient

from dsset.documents import GONE
from eventbox import EventBox, Transaction
from eventbox.inbox import INBOX
from eventbox.log import EventLog
from eventbox.sources import Committer
from eventbox.tasks.reminders import REMINDERS
from tests.chaos.accounts import recipient
from tests.chaos.actor import LOG
from tests.chaos.acts import Order
from tests.chaos.evidence import Entry
from tests.chaos.following import SHARED
from tests.chaos.ingesting import INGESTOR
from tests.chaos.journal import Journal, Record
from tests.chaos.setting import Setting

_LOOK_EVERY = 0.3
_AGAIN = 200
"""Events that are emitted once more in the end."""


@dataclass(frozen=True)
class Ending:
    """Looks at the database and the queue, by clients of its own."""

    setting: Setting
    client: AsyncClient
    tasks: CloudTasksAsyncClient
    producers: Sequence[str]
    followers: Sequence[str]
    journal: Journal

    @property
    def log(self) -> EventLog:
        return EventLog(EventBox(self.client), self.client.document(LOG))

    async def wait(self, records: Sequence[Record], patience: float) -> list[str]:
        """Return once there is nothing left to do; or what there is, after so many seconds.

        `records` is what the journals have, and grows meanwhile.
        """
        until, told = time.monotonic() + patience, None
        while left := await self.left(records):
            if time.monotonic() > until:
                return left
            if left != told:
                self.journal.write("waiting", left=left)
                told = left
            await asyncio.sleep(_LOOK_EVERY)
        return []

    async def left(self, records: Sequence[Record]) -> list[str]:
        """What has still to come, as far as can be told before all of that has."""
        try:
            return await self._left(records)
        except GoogleAPICallError as error:  # killed at the last moment, and not yet there again
            return [f"an emulator does not answer: {error}"]

    async def _left(self, records: Sequence[Record]) -> list[str]:
        finished = {record.who for record in records if record.what == "finished"}
        left = [f"{name} has not finished its acts" for name in self.producers if name not in finished]
        blocks, taken = self.setting.blocks(time.time()), await self.committed_block()
        if taken != blocks:
            left.append(f"{taken} of {blocks} blocks are taken in")
        if left:
            return left
        waiting = self.client.collection_group(INBOX).where(filter=FieldFilter("due", "<", GONE))
        for what, query in (
            ("events are outstanding", waiting),
            ("reminders are left", self.client.collection_group(REMINDERS)),
        ):
            count = int((await query.count().get())[0][0].value)
            if count:
                left.append(f"{count} {what}")
        count = len([task async for task in await self.tasks.list_tasks(parent=self._queue)])
        if count:
            left.append(f"{count} tasks are on the queue")
        if not left:
            left += await self._behind()
        return left

    async def committed_block(self) -> int:
        """How far the feed is taken in."""
        return int.from_bytes(await Committer(self.client).latest(INGESTOR) or b"", "big")

    async def logs(self) -> Mapping[str, Sequence[Entry]]:
        """Both logs, from the beginning."""
        found: dict[str, list[Entry]] = {}
        for track, read in (("persistent", self.log.read), ("trimable", self.log.read_trimable)):
            entries = found[track] = []
            while page := await read(len(entries)):
                entries += [Entry(entry.kind, entry.payload.decode()) for entry in page]
        return found

    async def emit_again(self, records: Sequence[Record]) -> Mapping[str, bool | None]:
        """Emit events once more that were consumed, and again in a transaction; whether each was a duplicate."""
        acknowledged = {record["id"] for record in records if record.what == "acknowledged"}
        orders = [
            Order(**order)
            for record in records
            if record.what == "intended" and record["act"]["id"] in acknowledged
            for order in record["act"]["orders"]
            if record["act"]["kind"] != "transaction"
        ]
        box = EventBox(self.client)
        again = {}
        for order in orders[:: max(1, len(orders) // _AGAIN)]:
            receipt = await box.emit(order.encode(), recipient(self.client, order.at), id=order.id)
            again[order.id] = receipt.duplicate

        async def together(transaction: Transaction) -> None:
            for order in orders:
                if order.id in again and order.due is None:
                    to = recipient(self.client, order.at)
                    await box.emit(order.encode(), to, id=order.id, transaction=transaction)

        # nobody can be told there: what it brought back would be outstanding, or applied twice
        await box.run_in_transaction(together)
        return again

    async def _behind(self) -> list[str]:
        log = self.log
        behind = []
        for trimable, next_id, followers in (
            (False, await log.next_id(), [*self.followers, SHARED]),
            (True, await log.next_trimable_id(), self.followers),
        ):
            for follower in followers:
                cursor = await log.cursor(follower, trimable=trimable) or 0
                if cursor != next_id:
                    behind.append(f"{follower} is at {cursor} of {next_id} (trimable: {trimable})")
        return behind

    @property
    def _queue(self) -> str:
        return self.setting.environment.queue_name
