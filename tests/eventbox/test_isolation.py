"""Isolation: a drain finds the events that make a batch fail, and processes their neighbours."""

from __future__ import annotations

from datetime import timedelta

import pytest
from google.api_core.exceptions import NotFound
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import (
    DrainReport,
    EventBox,
    NewEvent,
    Recipient,
)
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.poisoned import (
    Poisoned,
    PoisonedSideEffects,
    PoisonError,
    RefusedWrites,
    applied,
    attempts,
    drained,
    in_quarantine,
)
from tests.eventbox.support import emit, outstanding

GOOD = [f"good {n}" for n in range(20)]


@pytest.fixture
def box(client: AsyncClient) -> EventBox:
    return EventBox(client, quarantine_after=3)


@pytest.mark.parametrize("processor_type", [Poisoned, PoisonedSideEffects, RefusedWrites])
@pytest.mark.parametrize("bad", [["bad"], ["bad 1", "bad 2", "bad 3"]])
async def test_neighbours_are_processed_in_the_same_drain_and_the_error_is_raised_in_the_end(
    box: EventBox, to: Recipient, client: AsyncClient, processor_type: type[Poisoned], bad: list[str]
) -> None:
    await emit(box, to, *GOOD, *bad)
    error = NotFound if processor_type is RefusedWrites else PoisonError
    with pytest.raises(error) as caught:
        await box.drain(to, processor_type(to))
    assert "raised for event 'bad" in caught.value.__notes__[0]
    assert await applied(to) == sorted(GOOD)
    assert await outstanding(box, to) == set(bad)
    assert await attempts(client, to) == dict.fromkeys(bad, 1)
    assert await box.quarantined(to) == []


@pytest.mark.parametrize("processor_type", [Poisoned, PoisonedSideEffects, RefusedWrites])
async def test_an_event_that_fails_in_so_many_drains_is_set_aside_and_the_drain_returns(
    box: EventBox, to: Recipient, client: AsyncClient, processor_type: type[Poisoned]
) -> None:
    await emit(box, to, *GOOD, "bad")
    for _ in range(2):
        assert isinstance(await drained(box, to, processor_type(to)), Exception)
    report = await box.drain(to, processor_type(to))
    assert report == DrainReport(1, 0, contended=False, drained=True, quarantined=1)
    assert await in_quarantine(box, to) == ["bad"]
    assert await outstanding(box, to) == set()
    assert await attempts(client, to) == {}
    assert await box.drain(to, processor_type(to)) == DrainReport(1, 0, contended=False, drained=True)
    assert (await box.emit(b"", to, id="bad")).duplicate is True


async def test_process_batch_isolates_nothing_and_counts_nothing(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, "good", "bad")
    for _ in range(5):
        with pytest.raises(PoisonError):
            await box.process_batch(to, Poisoned(to))
    assert await outstanding(box, to) == {"good", "bad"}
    assert await attempts(client, to) == {}


async def test_culprits_are_found_by_halving(box: EventBox, to: Recipient) -> None:
    await emit(box, to, *(f"good {n}" for n in range(255)), "bad")
    processor = Poisoned(to)
    assert isinstance(await drained(box, to, processor), PoisonError)
    assert len(processor.batches) == 1 + 2 * 8  # the whole, and two halves of 256, 128, ... 2


async def test_the_next_drain_tries_the_suspects_apart_without_halving(box: EventBox, to: Recipient) -> None:
    await emit(box, to, *GOOD, "bad 1", "bad 2")
    await drained(box, to, Poisoned(to))
    await emit(box, to, *(f"later {n}" for n in range(50)))
    processor = Poisoned(to)
    await drained(box, to, processor)
    later = frozenset(f"later {n}" for n in range(50))
    whole, rest, *singles = processor.batches
    assert whole == later | {"bad 1", "bad 2"}
    assert rest == later
    assert sorted(map(sorted, singles)) == [["bad 1"], ["bad 2"]]


async def test_where_the_attempts_cannot_be_read_it_halves(
    local_client: AsyncClient, emulator: Emulator
) -> None:
    box, to = EventBox(local_client), Recipient(local_client.document("orders/1"), "order")
    await emit(box, to, *GOOD, "bad")
    await drained(box, to, Poisoned(to))
    await emit(box, to, "good again")
    fault = Fault(rpc="RunQuery", error="PERMISSION_DENIED", path="orders/1/eventbox_attempts/*")
    pending = emulator.faults.add(fault)
    assert isinstance(await drained(box, to, Poisoned(to)), PoisonError)
    assert pending.remaining == 0
    assert await applied(to) == sorted([*GOOD, "good again"])


@pytest.mark.parametrize("max_events", [1, 3, 10])
async def test_it_gets_past_more_poison_than_a_batch_holds(
    box: EventBox, to: Recipient, client: AsyncClient, max_events: int
) -> None:
    ages = timedelta(days=365)
    long_ago = (await client.document("now/1").set({})).update_time - ages
    bad = [f"bad {n}" for n in range(25)]
    await box.emit_many([NewEvent(b"", id=one, process_after=long_ago) for one in bad], to)  # listed first
    await emit(box, to, *GOOD)
    assert isinstance(await drained(box, to, Poisoned(to), max_events=max_events), PoisonError)
    assert await applied(to) == sorted(GOOD)
    assert await attempts(client, to) == dict.fromkeys(bad, 1)
    for _ in range(2):
        await emit(box, to, f"good {_} again")
        await drained(box, to, Poisoned(to), max_events=max_events)
    assert await in_quarantine(box, to) == sorted(bad)
    assert await outstanding(box, to) == set()


async def test_max_batches_lets_it_get_past_poison_too(box: EventBox, to: Recipient) -> None:
    await emit(box, to, "bad 1", "bad 2", "bad 3", "good")
    for _ in range(4):
        await drained(box, to, Poisoned(to), max_events=1, max_batches=1)
    assert await applied(to) == ["good"]


async def test_a_drain_that_nothing_succeeds_in_gives_up(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    await emit(box, to, *(f"bad {n}" for n in range(700)))
    processor = Poisoned(to)
    assert isinstance(await drained(box, to, processor), PoisonError)
    assert sum(len(batch) == 1 for batch in processor.batches) == 500


async def test_the_deadline_bounds_halving_and_what_was_found_by_then_is_counted(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, to = EventBox(local_client, clock=clock), Recipient(local_client.document("a/1"), "a")
    await emit(box, to, *(f"good {n}" for n in range(30)), *(f"bad {n}" for n in range(30)))
    emulator.faults.add(Fault(rpc="GetDocument", latency=timedelta(seconds=1), times=None))
    processor = Poisoned(to)
    deadline = clock.now() + timedelta(seconds=30)
    with pytest.raises(PoisonError):
        await while_advancing(clock, box.drain(to, processor, deadline=deadline))
    assert len(processor.batches) <= 30
    assert clock.now() <= deadline + timedelta(seconds=1)


async def test_a_stop_bounds_halving(box: EventBox, to: Recipient, client: AsyncClient) -> None:
    await emit(box, to, *GOOD, "bad")
    processor = Poisoned(to)
    with pytest.raises(PoisonError):
        await box.drain(to, processor, stop=lambda: len(processor.batches) == 3)
    assert len(processor.batches) == 3
