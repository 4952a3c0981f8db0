"""The repository's own `firestore.indexes.json` has what the library's queries need, and no more than that."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from pathlib import Path

import pytest
from google.api_core.exceptions import FailedPrecondition
from google.cloud.firestore import AsyncClient

from dsset import DSSet, Item
from emulator.firestore import Emulator
from eventbox import EventBox, NewEvent, Recipient, Transaction
from eventbox.log import EventLog, LogEntry
from eventbox.testing import ManualClock
from tests.eventbox.log.support import until
from tests.eventbox.poisoned import Poisoned
from tests.eventbox.support import Recording, emit

INDEXES = Path(__file__).parents[2] / "firestore.indexes.json"


@pytest.fixture
def local_client(clock: ManualClock) -> AsyncClient:
    """A client of an emulator that enforces the indexes."""
    return Emulator(clock=clock, indexes=INDEXES, enforce_indexes=True).client()


async def test_an_inbox_is_served(local_client: AsyncClient, clock: ManualClock) -> None:
    box = EventBox(local_client, clock=clock)
    to = Recipient(local_client.document("orders/1"), "order")
    await box.emit(b"1", to)
    await box.emit(b"2", to, process_after=clock.now() + timedelta(minutes=1))
    await box.emit_many([NewEvent(b"", id=str(n)) for n in range(40)], to)

    async def emit(transaction: Transaction) -> None:
        await box.emit(b"3", to, transaction=transaction)

    await box.run_in_transaction(emit)
    assert len(await box.list_events(to)) == 43
    processor = Recording(to)
    await box.process_batch(to, processor, max_events=10)
    assert len(processor.batches[0]) == 10
    assert (await box.drain(to, processor, max_events=10)).drained
    clock.advance(timedelta(minutes=1))
    assert len(await box.list_events(to)) == 1


async def test_a_set_is_served_page_by_page(local_client: AsyncClient, clock: ManualClock) -> None:
    dsset = DSSet(local_client.document("queues/1"), clock=clock)
    await dsset.add([Item(f"{n}", b"x") for n in range(1_001)])
    assert len((await dsset.list_all()).items) == 1_001
    assert (await dsset.list(10)).complete is False


async def test_a_log_is_served(local_client: AsyncClient, clock: ManualClock) -> None:
    log = EventLog(EventBox(local_client, clock=clock), local_client.document("logs/main"))

    async def handler(transaction: Transaction, entry: LogEntry) -> None: ...

    for _ in range(3):
        await log.append("a", b"x" * 40_000)
        assert await log.order() == 1
    ordering = asyncio.create_task(log.run_ordering())
    await log.append("a", b"")

    async def ordered() -> bool:
        return await log.next_id() == 4

    await until(ordered)
    ordering.cancel()
    assert len(await log.read(1)) == 3
    await log.handle_events("f", handler, until_idle=True)
    await log.handle_trimable_events("f", handler, until_idle=True)
    assert await log.trim(min_id_age=1, min_age=timedelta(0), respect_cursors=True) == 4
    assert [one.position for one in (await log.overview()).followers] == [4, 4]


async def test_isolation_and_quarantine_are_served(local_client: AsyncClient) -> None:
    box = EventBox(local_client, quarantine_after=2)
    to = Recipient(local_client.document("orders/1"), "order")
    for n in range(2):
        await emit(box, to, "bad", f"good {n}")
        await asyncio.gather(box.drain(to, Poisoned(to)), return_exceptions=True)
    assert [one.event.id for one in await box.quarantined(to)] == ["bad"]
    assert await box.requeue(to, ["bad"]) == 1
    assert await box.purge(to) == 0


async def test_fields_that_no_query_asks_for_have_no_index(local_client: AsyncClient) -> None:
    inbox = local_client.collection("orders/1/eventbox_inbox")
    with pytest.raises(
        FailedPrecondition, match="COLLECTION_ASC index for collection eventbox_inbox and field value"
    ):
        await inbox.order_by("value").get()
    with pytest.raises(
        FailedPrecondition, match="COLLECTION_DESC index for collection eventbox_inbox and field due"
    ):
        await inbox.order_by("due", direction="DESCENDING").get()
