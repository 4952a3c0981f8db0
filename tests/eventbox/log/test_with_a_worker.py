"""A log that a worker orders, woken up by Cloud Tasks."""

from __future__ import annotations

from typing import Any

import pytest

from eventbox import Recipient, Transaction
from eventbox.log import EventLog
from tests.eventbox.log.support import append, payloads, read_all
from tests.eventbox.tasks.worker.house import House


@pytest.fixture
def house() -> House:
    house = House()

    def factory(recipient: Recipient, params: Any) -> Any:
        return EventLog(house.box, recipient.ref).processor()

    house.worker.recipient("logs/{name}", factory, monitoring_string="log")
    return house


@pytest.fixture
def log(house: House) -> EventLog:
    return EventLog(house.box, house.box.client.document("logs/main"), sender=house.queue)


async def test_what_is_appended_is_ordered_by_the_worker(house: House, log: EventLog) -> None:
    await log.append("said", b"a")
    await append(log, "b", "c")

    async def append_in(transaction: Transaction) -> None:
        await log.append("said", b"d", transaction=transaction)

    await house.box.run_in_transaction(append_in)
    assert await house.let(5) > 0
    assert payloads(await log.read()) == ["a", "b", "c", "d"]
    assert await house.tasks() == []


async def test_more_than_a_step_takes_is_ordered_by_one_wake_up(house: House, log: EventLog) -> None:
    await append(log, *map(str, range(1_500)), *(["x" * 900_000] * 10))
    assert await house.let(5) == 1
    entries = await read_all(log)
    assert [entry.id for entry in entries] == list(range(1_510))
    assert payloads(entries[:1_500]) == [str(n) for n in range(1_500)]


async def test_what_is_no_entry_is_set_aside_and_blocks_nobody(house: House, log: EventLog) -> None:
    await house.box.emit(b"not an entry", log.recipient, id="stray")
    await append(log, "a", "b")
    await house.let(900)
    await append(log, "c")
    await house.let(900)
    assert payloads(await log.read()) == ["a", "b", "c"]
    quarantined = await house.box.quarantined(log.recipient)
    assert [one.event.id for one in quarantined] == ["stray"]
    assert "MalformedEntryError" in quarantined[0].error or "no entry" in quarantined[0].error
