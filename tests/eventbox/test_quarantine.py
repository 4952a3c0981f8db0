"""Quarantine: what is kept of an event that was set aside, and the ways out of it."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from google.api_core.exceptions import PermissionDenied, ServiceUnavailable
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import Event, EventBox, Mutation, NewEvent, QuarantinedEvent, Recipient
from eventbox.testing import ManualClock
from tests.advancing import sent, while_advancing
from tests.eventbox.poisoned import Poisoned, PoisonError, applied, attempts, in_quarantine
from tests.eventbox.support import Record, Recording, emit, outstanding


@pytest.fixture
def box(client: AsyncClient) -> EventBox:
    return EventBox(client, quarantine_after=1)


@pytest.fixture
def local_box(local_client: AsyncClient, clock: ManualClock) -> EventBox:
    return EventBox(local_client, clock=clock, quarantine_after=1)


@pytest.fixture
def local_to(local_client: AsyncClient) -> Recipient:
    return Recipient(local_client.document("orders/1"), "order")


async def set_aside(box: EventBox, to: Recipient, *ids: str) -> list[QuarantinedEvent]:
    """Let events of these IDs be set aside."""
    await emit(box, to, "good", *ids)
    report = await box.drain(to, Poisoned(to, is_poison=lambda event: event.id in ids))
    assert report.quarantined == len(ids)
    return await box.quarantined(to)


async def test_it_keeps_the_event_with_its_error_traceback_and_attempts(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    patient = EventBox(client, quarantine_after=3)
    past = (await client.document("now/1").set({})).update_time - timedelta(hours=1)
    await box.emit(b"\x00value", to, id="bad", process_after=past)
    (emitted,) = await box.list_events(to)
    for n in range(2):
        await emit(box, to, f"good {n}")
        with pytest.raises(PoisonError):
            await patient.drain(to, Poisoned(to))
    assert (await patient.drain(to, Poisoned(to))).quarantined == 1
    (one,) = await box.quarantined(to)
    assert one.event == emitted
    assert (one.event.value, one.event.process_after) == (b"\x00value", emitted.process_after)
    assert one.error == "PoisonError: cannot read bad"
    assert one.traceback.startswith("Traceback (most recent call last):")
    assert 'raise self.error(f"cannot read {event.id}")' in one.traceback
    assert one.attempts == 3
    assert one.quarantined_at > one.event.emitted_at


async def test_the_largest_event_fits_with_the_longest_everything(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    box = EventBox(local_client, clock=clock, quarantine_after=1)
    to = Recipient(local_client.document("/".join(["x" * 700] * 6)), "long")
    await box.emit(b"v" * 1_000_000, to, id="bad" + "i" * 253)

    class Talkative(Exception):
        def __str__(self) -> str:
            return "é" * 100_000 + "\ud800"

    def recurse(n: int) -> Any:
        if n:
            try:
                recurse(n - 1)
            except Exception as error:
                raise Talkative from error
        raise Talkative

    class Deep(Poisoned):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            if events:
                recurse(50)
            return Mutation()

    assert (await box.drain(to, Deep(to))).quarantined == 1
    (one,) = await box.quarantined(to)
    assert len(one.event.value) == 1_000_000
    assert len(one.error.encode()) <= 2_000
    assert 15_000 < len(one.traceback.encode()) <= 16_000
    assert "bytes are left out" in one.traceback


async def test_an_error_that_cannot_be_printed_is_kept_by_its_type(box: EventBox, to: Recipient) -> None:
    class Unprintable(Exception):
        def __str__(self) -> str:
            raise ZeroDivisionError

    await emit(box, to, "good", "bad")
    await box.drain(to, Poisoned(to, error=lambda _: Unprintable()))
    (one,) = await box.quarantined(to)
    assert "Unprintable: (its message cannot be printed)" in one.error


async def test_the_trace_of_the_emit_is_kept(local_to: Recipient, local_client: AsyncClient) -> None:
    from tests.eventbox.test_telemetry import Recorder

    recorder = Recorder()
    box = EventBox(local_client, quarantine_after=1, tracer_provider=recorder.tracer_provider)
    await set_aside(box, local_to, "bad")
    (one,) = await box.quarantined(local_to)
    assert one.event.traceparent is not None
    await box.requeue(local_to, ["bad"])
    (event,) = await box.list_events(local_to)
    assert event.traceparent == one.event.traceparent


async def test_it_is_listed_the_oldest_first_page_by_page(local_box: EventBox, local_to: Recipient) -> None:
    for n in range(3):
        await local_box.emit_many([NewEvent(b"", id=f"bad {n} {i:02}") for i in range(50)], local_to)
        await emit(local_box, local_to, f"good {n}")
        await local_box.drain(local_to, Poisoned(local_to))
    found = await local_box.quarantined(local_to)
    assert len(found) == 150
    assert [one.quarantined_at for one in found] == sorted(one.quarantined_at for one in found)
    assert {one.event.id[:5] for one in found[:50]} == {"bad 0"}


async def test_it_expires_after_the_retention_or_never(
    local_client: AsyncClient, local_to: Recipient, clock: ManualClock
) -> None:
    for days, n in ((30, 1), (7, 2), (None, 3)):
        retention = {} if n == 1 else {"quarantine_retention": days and timedelta(days=days)}
        box = EventBox(local_client, clock=clock, quarantine_after=1, **retention)
        await emit(box, local_to, f"bad {n}", f"good {n}")
        await box.drain(local_to, Poisoned(local_to))
    documents = {
        one.get("id"): one.to_dict() async for one in local_to.ref.collection("eventbox_quarantine").stream()
    }
    for name, days in (("bad 1", 30), ("bad 2", 7)):
        left = documents[name]["expire_at"] - clock.now()
        assert timedelta(days=days) <= left < timedelta(days=days, seconds=1)
    assert "expire_at" not in documents["bad 3"]


async def test_a_worker_that_consumes_the_event_meanwhile_wins(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, to = (
        EventBox(local_client, clock=clock, quarantine_after=1),
        Recipient(local_client.document("a/1"), "a"),
    )
    await emit(box, to, "good", "bad")
    emulator.counts.reset()
    emulator.faults.add(Fault(rpc="BatchWrite", latency=timedelta(seconds=10)))
    draining = asyncio.ensure_future(box.drain(to, Poisoned(to)))
    await sent(emulator, "BatchWrite")  # it counts the attempts
    await box.process_batch(to, Recording(to))
    report = await while_advancing(clock, draining)
    assert (report.contended, report.quarantined) == (True, 0)
    assert await applied(to) == ["bad", "good"]
    assert await box.quarantined(to) == []


async def test_of_two_drains_at_once_one_sets_it_aside(box: EventBox, to: Recipient) -> None:
    await emit(box, to, *(f"good {n}" for n in range(10)), "bad 1", "bad 2")
    for _ in range(3):
        await asyncio.gather(*(box.drain(to, Poisoned(to)) for _ in range(4)), return_exceptions=True)
    # where one has consumed what is good, another sees nothing that shows that the processor works
    await emit(box, to, "good last")
    await box.drain(to, Poisoned(to))
    assert await in_quarantine(box, to) == ["bad 1", "bad 2"]
    assert await applied(to) == sorted(["good last", *(f"good {n}" for n in range(10))])
    assert await outstanding(box, to) == set()


# Back, and away -------------------------------------------------------------------------------------------


async def test_a_requeued_event_is_processed_again_in_spite_of_its_tombstone(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    (bad,) = [one for one in await set_aside(box, to, "bad", "other") if one.event.id == "bad"]
    assert await box.requeue(to, ["bad", "unknown", "bad"]) == 1
    assert await box.list_events(to) == [bad.event]
    assert await in_quarantine(box, to) == ["other"]
    assert await box.requeue(to, ["bad"]) == 0
    assert (await box.emit(b"", to, id="bad")).duplicate is True
    assert (await box.drain(to, Recording(to))).events == 1
    assert await applied(to) == ["bad", "good"]
    assert await box.requeue(to, ["bad"]) == 0
    assert await outstanding(box, to) == set()


async def test_a_requeued_event_that_fails_again_begins_with_no_attempts(
    client: AsyncClient, to: Recipient
) -> None:
    box = EventBox(client, quarantine_after=2)
    await emit(box, to, "bad")
    with pytest.raises(PoisonError):
        await box.drain(to, Poisoned(to))
    assert (await box.drain(to, Poisoned(to))).quarantined == 1
    assert await attempts(client, to) == {}
    assert await box.requeue(to, ["bad"]) == 1
    with pytest.raises(PoisonError):
        await box.drain(to, Poisoned(to))
    assert await attempts(client, to) == {"bad": 1}
    assert (await box.drain(to, Poisoned(to))).quarantined == 1


async def test_an_id_that_is_used_again_is_another_event_with_attempts_of_its_own(
    local_client: AsyncClient, local_to: Recipient, clock: ManualClock
) -> None:
    box = EventBox(local_client, clock=clock, quarantine_after=2)
    await emit(box, local_to, "bad", "good")
    with pytest.raises(PoisonError):
        await box.drain(local_to, Poisoned(local_to))
    await box.process_batch(local_to, Recording(local_to))
    clock.advance(timedelta(hours=25))
    await emit(box, local_to, "bad")
    with pytest.raises(PoisonError):
        await box.drain(local_to, Poisoned(local_to))
    assert await box.quarantined(local_to) == []


async def test_a_requeued_event_whose_tombstone_has_gone_comes_back_too(box: EventBox, to: Recipient) -> None:
    await set_aside(box, to, "bad")
    async for tombstone in to.ref.collection("eventbox_inbox").list_documents():
        await tombstone.delete()
    assert await box.requeue(to, ["bad"]) == 1
    assert await outstanding(box, to) == {"bad"}


async def test_an_event_does_not_take_the_place_of_one_that_is_outstanding_under_its_id(
    local_box: EventBox, local_to: Recipient, clock: ManualClock
) -> None:
    await set_aside(local_box, local_to, "bad")
    clock.advance(timedelta(hours=25))
    assert (await local_box.emit(b"new", local_to, id="bad")).duplicate is False
    assert await local_box.requeue(local_to, ["bad"]) == 0
    assert [event.value for event in await local_box.list_events(local_to)] == [b"new"]
    await local_box.process_batch(local_to, Recording(local_to))
    assert await local_box.requeue(local_to, ["bad"]) == 1
    assert [event.value for event in await local_box.list_events(local_to)] == [b"bad"]


async def test_more_events_are_requeued_than_fit_a_commit(local_box: EventBox, local_to: Recipient) -> None:
    ids = [f"bad {n}" for n in range(20)]
    await local_box.emit_many([NewEvent(b"v" * 1_000_000, id=one) for one in ids], local_to)
    await emit(local_box, local_to, "good")
    assert (await local_box.drain(local_to, Poisoned(local_to))).quarantined == 20
    assert await local_box.requeue(local_to, ids) == 20
    assert await outstanding(local_box, local_to) == set(ids)


@pytest.mark.parametrize(
    ("error", "when"),
    [("UNAVAILABLE", "before"), ("UNAVAILABLE", "after"), ("UNAVAILABLE", "late"), ("ABORTED", "before")],
)
async def test_a_requeue_whose_answer_is_lost_happens_once_and_is_counted(
    emulator: Emulator, local_box: EventBox, local_to: Recipient, clock: ManualClock, when: Any, error: str
) -> None:
    await set_aside(local_box, local_to, "bad")
    latency = timedelta(milliseconds=120 if when == "late" else 0)
    emulator.faults.add(Fault(rpc="Commit", error=error, when=when, latency=latency))
    assert await while_advancing(clock, local_box.requeue(local_to, ["bad"])) == 1
    assert await outstanding(local_box, local_to) == {"bad"}
    assert await local_box.quarantined(local_to) == []
    await local_box.process_batch(local_to, Recording(local_to))
    await while_advancing(clock, clock.sleep(timedelta(seconds=1)))
    assert await outstanding(local_box, local_to) == set()


async def test_discarded_events_are_gone_and_their_ids_stay_used(box: EventBox, to: Recipient) -> None:
    await set_aside(box, to, "bad 1", "bad 2")
    assert await box.discard(to, ["bad 1", "unknown", "bad 1"]) == 1
    assert await in_quarantine(box, to) == ["bad 2"]
    assert await box.discard(to, ["bad 1"]) == 0
    assert await box.requeue(to, ["bad 1"]) == 0
    assert (await box.emit(b"", to, id="bad 1")).duplicate is True


async def test_purging_deletes_all_of_this_recipient(
    box: EventBox, to: Recipient, client: AsyncClient
) -> None:
    other = Recipient(client.document("orders/2"), "order")
    await set_aside(box, to, *(f"bad {n}" for n in range(120)))
    await set_aside(box, other, "bad")
    assert await box.purge(to) == 120
    assert await box.quarantined(to) == []
    assert await box.purge(to) == 0
    assert await in_quarantine(box, other) == ["bad"]


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_discard_whose_answer_is_lost_counts_what_is_gone(
    emulator: Emulator, local_box: EventBox, local_to: Recipient, clock: ManualClock, when: Any
) -> None:
    await set_aside(local_box, local_to, "bad 1", "bad 2")
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", when=when))
    assert await while_advancing(clock, local_box.discard(local_to, ["bad 1"])) == 1
    assert await local_box.purge(local_to) == 1


@pytest.mark.parametrize("code", ["PERMISSION_DENIED", "UNAVAILABLE"])
async def test_a_discard_that_is_refused_or_meets_an_outage_raises_it_and_deletes_nothing(
    emulator: Emulator, local_box: EventBox, local_to: Recipient, clock: ManualClock, code: str
) -> None:
    await set_aside(local_box, local_to, "bad")
    failing = emulator.faults.add(Fault(rpc="BatchWrite", error=code, times=None))
    with pytest.raises(PermissionDenied if code == "PERMISSION_DENIED" else ServiceUnavailable):
        await while_advancing(clock, local_box.discard(local_to, ["bad"]))
    failing.remove()
    assert await in_quarantine(local_box, local_to) == ["bad"]


async def test_requeue_and_discard_at_once_agree_on_who_has_the_event(box: EventBox, to: Recipient) -> None:
    for n in range(10):
        await set_aside(box, to, f"bad {n}")
        requeued, discarded, purged, again = await asyncio.gather(
            box.requeue(to, [f"bad {n}"]),
            box.discard(to, [f"bad {n}"]),
            box.purge(to),
            box.requeue(to, [f"bad {n}"]),
        )
        assert requeued + discarded + purged + again == 1
        assert len(await outstanding(box, to)) == requeued + again
        await box.process_batch(to, Recording(to))


async def test_a_requeue_beside_a_drain_loses_nothing(box: EventBox, to: Recipient) -> None:
    for n in range(10):
        await set_aside(box, to, f"bad {n}")
        await asyncio.gather(box.requeue(to, [f"bad {n}"]), box.drain(to, Recording(to)))
        await box.drain(to, Recording(to))
    assert await applied(to) == sorted([*["good"], *(f"bad {n}" for n in range(10))])


@pytest.mark.parametrize(
    ("ids", "error"),
    [
        ("bad", TypeError),
        (b"bad", TypeError),
        (5, TypeError),
        ([5], TypeError),
        ([""], ValueError),
        (["x" * 257], ValueError),
    ],
)
async def test_bad_ids_are_refused_before_anything_is_sent(
    emulator: Emulator, local_box: EventBox, local_to: Recipient, ids: Any, error: Any
) -> None:
    for call in (local_box.requeue, local_box.discard):
        with pytest.raises(error):
            await call(local_to, ids)
    for call in (local_box.requeue, local_box.discard):
        with pytest.raises(TypeError):
            await call("orders/1", ["bad"])  # type: ignore[arg-type]
    for ask in (local_box.quarantined, local_box.purge):
        with pytest.raises(TypeError):
            await ask("orders/1")  # type: ignore[arg-type]
    assert not emulator.counts.rpcs


async def test_no_ids_are_no_work(emulator: Emulator, local_box: EventBox, local_to: Recipient) -> None:
    assert await local_box.requeue(local_to, []) == await local_box.discard(local_to, iter(())) == 0
    assert not emulator.counts.rpcs


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"quarantine_after": 0}, ValueError),
        ({"quarantine_after": True}, TypeError),
        ({"quarantine_after": "5"}, TypeError),
        ({"quarantine_retention": timedelta(0)}, ValueError),
        ({"quarantine_retention": 30}, ValueError),
        ({"quarantine_retention": datetime(2030, 1, 1)}, ValueError),
    ],
)
async def test_a_box_refuses_bad_bounds(local_client: AsyncClient, arguments: Any, error: Any) -> None:
    with pytest.raises(error):
        EventBox(local_client, **arguments)
