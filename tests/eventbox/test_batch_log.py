"""The batch log: one record a batch, with what it did."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import ContentionError, EventBox, Mutation, Recipient, Transition
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.support import Deciding, Recording, emit


@pytest.fixture
def box(local_client: AsyncClient, clock: ManualClock) -> EventBox:
    return EventBox(local_client, clock=clock)


@pytest.fixture
def to(local_client: AsyncClient) -> Recipient:
    return Recipient(local_client.document("orders/1"), "order")


def told(caplog: pytest.LogCaptureFixture) -> list[tuple[Any, ...]]:
    """What the records of the batch log say, and forget them."""
    names = ("recipient", "monitoring_string", "events", "removed", "transitions", "outcome")
    records = [record for record in caplog.records if record.name == "eventbox.batch"]
    caplog.clear()
    return [tuple(getattr(record, name) for name in names) for record in records]


async def test_each_batch_leaves_one_record_that_tells_what_it_did(
    box: EventBox, to: Recipient, emulator: Emulator, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "eventbox.batch")
    await emit(box, to, "a", "b", "c")
    await box.drain(to, Recording(to), max_events=2)
    assert told(caplog) == [("orders/1", "order", 2, 2, 1, "done"), ("orders/1", "order", 1, 1, 1, "done")]
    await box.process_batch(to, Recording(to))
    assert told(caplog) == [("orders/1", "order", 0, 0, 0, "idle")]
    await emit(box, to, "d", "e")
    await box.process_batch(to, Deciding(to, lambda events, _: Mutation(garbage=events[:1])))
    assert told(caplog) == [("orders/1", "order", 2, 1, 0, "done")]
    emulator.faults.add(Fault(rpc="Commit", error="ABORTED"))
    with pytest.raises(ContentionError):
        await box.process_batch(to, Recording(to))
    assert told(caplog) == [("orders/1", "order", 1, 0, 0, "contended")]
    with pytest.raises(TypeError):
        await box.process_batch(to, Deciding(to, lambda *_: None))  # type: ignore[arg-type, return-value]
    assert told(caplog) == [("orders/1", "order", 1, 0, 0, "failed")]


async def test_a_record_tells_how_long_the_batch_took(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG, "eventbox.batch")
    await emit(box, to, "a")
    clock.advance(timedelta(seconds=30))  # from a time that is not zero
    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(seconds=2)))
    await while_advancing(clock, box.process_batch(to, Recording(to)))
    (record,) = caplog.records
    assert 2 <= record.seconds < 3  # type: ignore[attr-defined]
    assert "orders/1: 1 events, 1 transitions, 2000.0 ms, done" in record.message


async def test_nothing_is_made_of_it_where_nobody_asks(
    box: EventBox, to: Recipient, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO, "eventbox.batch")
    await box.process_batch(to, Deciding(to, lambda *_: Mutation([Transition({"n": 1})])))
    assert told(caplog) == []
