"""A producer: does one act after the other, and again under the same ID what it has not finished."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterable
from contextlib import suppress
from datetime import UTC, datetime
from zlib import crc32

from google.api_core.exceptions import AlreadyExists, GoogleAPICallError

from eventbox import EventboxError, NewEvent, Receipt, Transaction
from eventbox.log import EventPersistence
from eventbox.tasks import Task
from tests.chaos.accounts import recipient
from tests.chaos.actor import Actor
from tests.chaos.acts import Act, Order, any_act
from tests.chaos.journal import Journals, Record

ENTRY = "act"
TASK = "/done"

_SLOTS = 12
_PAUSE = 0.3
"""Seconds before something is tried again."""


async def produce(actor: Actor) -> None:
    """Go on where the last life ended, and tell when all is finished; then there is nothing left to do."""
    producer = Producer(actor)
    async with asyncio.TaskGroup() as group:
        for _ in range(_SLOTS):
            group.create_task(producer.work())
    actor.journal.write("finished")
    await asyncio.Event().wait()


class Producer:
    """What the slots share."""

    def __init__(self, actor: Actor) -> None:
        self._actor = actor
        records = Journals(actor.setting.journals, actor.name).new()
        self._serial = sum(record.what == "intended" for record in records)
        self._unfinished = unfinished(records)

    async def work(self) -> None:
        """Do acts until it is over, and what is unfinished is done."""
        actor, setting = self._actor, self._actor.setting
        while self._unfinished or setting.over is None:
            if self._unfinished:
                act = self._unfinished.pop()
            else:
                self._serial += 1
                act = any_act(
                    f"{actor.name}.{self._serial}", setting.paths, setting.polled, actor.rng, time.time()
                )
            await self.finish(act)
            await asyncio.sleep(actor.rng.uniform(0, 2 * _SLOTS / setting.rate))

    async def finish(self, act: Act) -> None:
        """Do an act, again and again until it is known to be done."""
        journal = self._actor.journal
        while True:
            journal.write("intended", act=act.told())
            try:
                receipts = await self.perform(act)
            except (EventboxError, GoogleAPICallError) as error:
                # an outage, or another writer; a transaction that the emulator has forgotten. All of it passes
                journal.write("failed", id=act.id, error=repr(error)[:500])
                await asyncio.sleep(_PAUSE)
                continue
            duplicates = [one.id for one in receipts if one.duplicate]
            journal.write("acknowledged", id=act.id, duplicates=duplicates)
            return

    async def perform(self, act: Act) -> list[Receipt]:
        """Do an act; what the library said to it."""
        box, queue, log = self._actor.box, self._actor.queue, self._actor.log
        client = box.client
        match act.kind:
            case "emit":
                (order,) = act.orders
                to, due = recipient(client, order.at), _due(order)
                receipt = await box.emit(order.encode(), to, id=order.id, process_after=due)
                await queue.notify(to, due)
                return [receipt]
            case "send":
                (order,) = act.orders
                to = recipient(client, order.at)
                return [await queue.send(order.encode(), to, id=order.id, process_after=_due(order))]
            case "many":
                to = recipient(client, act.orders[0].at)
                receipts = await box.emit_many(
                    [NewEvent(order.encode(), id=order.id) for order in act.orders], to
                )
                await queue.notify(to)
                return receipts
            case "transaction":
                with suppress(AlreadyExists):  # its marker: an earlier attempt was committed
                    await box.run_in_transaction(lambda transaction: self._together(act, transaction))
                return []
            case "append" | "append trimable":
                persistence = (
                    EventPersistence.TRIMABLE if "trimable" in act.kind else EventPersistence.PERSISTENT
                )
                await log.append(ENTRY, act.id.encode(), id=act.id, persistence=persistence)
                return []
        raise AssertionError(act.kind)

    async def _together(self, act: Act, transaction: Transaction) -> None:
        box, queue, log = self._actor.box, self._actor.queue, self._actor.log
        for order in act.orders:
            await queue.send(
                order.encode(), recipient(box.client, order.at), id=order.id, transaction=transaction
            )
        await self.enqueue(act, transaction)
        await log.append(ENTRY, act.id.encode(), transaction=transaction)
        transaction.create(box.client.document(f"markers/{act.id}"), {"at": time.time()})

    async def enqueue(self, act: Act, transaction: Transaction) -> None:
        """Put the transaction's task on the queue."""
        await self._actor.queue.enqueue(Task(TASK, act.id.encode()), transaction=transaction)


def unfinished(records: Iterable[Record]) -> list[Act]:
    """What a producer has begun and has to finish. Half of it it forgets, as who has no journal does."""
    begun: dict[str, Act] = {}
    for record in records:
        if record.what == "intended":
            act = Act.of(record["act"])
            begun[act.id] = act
        elif record.what == "acknowledged":
            begun.pop(record["id"], None)
    return [act for act in begun.values() if not is_forgotten(act)]


def is_forgotten(act: Act) -> bool:
    """Whether its producer does not try it again in another life."""
    return bool(crc32(act.id.encode()) % 2)


def _due(order: Order) -> datetime | None:
    return None if order.due is None else datetime.fromtimestamp(order.due, UTC)
