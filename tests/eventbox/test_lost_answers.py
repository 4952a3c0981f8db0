"""A batch whose commit's answer was lost: resolved, or said to be unknown, and never done twice."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import Aborted, InvalidArgument
from google.cloud.firestore import AsyncClient, Increment

from emulator.firestore import Emulator, Fault
from eventbox import (
    ContentionError,
    Event,
    EventBox,
    Mutation,
    Recipient,
    Transaction,
    Transition,
    UnknownOutcomeError,
)
from eventbox.testing import ManualClock
from tests.advancing import sent, while_advancing
from tests.eventbox.support import Deciding, InTransaction, consume_all


@pytest.fixture
def box(local_client: AsyncClient, clock: ManualClock) -> EventBox:
    return EventBox(local_client, clock=clock)


@pytest.fixture
def to(local_client: AsyncClient) -> Recipient:
    return Recipient(local_client.document("orders/1"), "order")


async def done() -> None: ...


def counting(client: AsyncClient, *, reads: bool = False) -> Any:
    """A side effect that counts how often it was carried out."""

    async def side_effect(transaction: Transaction) -> None:
        ref = client.document("effects/1")
        if reads:
            await ref.get(transaction=transaction)
        transaction.set(ref, {"n": Increment(1)}, merge=True)

    return side_effect


async def effects(client: AsyncClient) -> int:
    snapshot = await client.document("effects/1").get()
    return int(snapshot.get("n")) if snapshot.exists else 0


CODES = ["UNAVAILABLE", "DEADLINE_EXCEEDED", "INTERNAL", "UNKNOWN"]


@pytest.mark.parametrize("code", CODES)
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("reads", [False, True])
@pytest.mark.parametrize("processor_type", [Deciding, InTransaction])
async def test_a_batch_that_consumes_an_event_learns_what_became_of_it_and_gets_its_callbacks(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient,
    code: str, when: Any, reads: bool, processor_type: Any,
) -> None:  # fmt: skip
    await box.emit(b"", to, id="x")
    emulator.faults.add(Fault(rpc="Commit", error=code, when=when))
    state: Any = 7 if processor_type is InTransaction else {"n": 7}
    decide = consume_all(state, side_effect=counting(local_client, reads=reads), post_process=done)
    assert await while_advancing(clock, box.process_batch(to, processor_type(to, decide))) == [done]
    assert await effects(local_client) == 1
    assert await box.list_events(to) == []


@pytest.mark.parametrize("when", ["before", "after"])
async def test_so_does_one_that_saves_the_state_alone(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient, when: Any
) -> None:
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when=when))
    transition = Transition({"n": 1}, side_effect=counting(local_client), post_process=done)
    processor = Deciding(to, lambda *_: Mutation([transition]))
    assert await while_advancing(clock, box.process_batch(to, processor)) == [done]
    assert await effects(local_client) == 1


@pytest.mark.parametrize("when", ["before", "after"])
async def test_one_that_nothing_can_tell_of_is_an_unknown_outcome_and_not_done_twice(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient, when: Any
) -> None:
    await to.ref.set({"n": 1})
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when=when))
    transition = lambda state: Transition(state, side_effect=counting(local_client), post_process=done)  # noqa: E731
    with pytest.raises(UnknownOutcomeError):
        await while_advancing(
            clock, box.process_batch(to, Deciding(to, lambda _, state: Mutation([transition(state)])))
        )
    assert await effects(local_client) == (when == "after")


async def test_a_rival_that_consumed_the_event_meanwhile_makes_it_contention(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient
) -> None:
    await box.emit(b"", to, id="x")
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="before"))
    losing = asyncio.create_task(box.process_batch(to, Deciding(to, consume_all({"by": "late"}))))
    await sent(emulator, "Commit")
    await box.process_batch(to, Deciding(to, consume_all({"by": "rival"})))
    with pytest.raises(ContentionError):
        await while_advancing(clock, losing)
    stored = (await local_client.document("orders/1").get()).to_dict()
    assert stored is not None
    assert (stored["by"], stored["eventbox_eversion"]) == ("rival", 1)


async def test_a_successor_that_saved_over_the_state_does_not_hide_that_ours_was_committed(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    await box.emit(b"", to, id="x")
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="after"))
    lost = asyncio.create_task(box.process_batch(to, Deciding(to, consume_all({"n": 1}, post_process=done))))
    await sent(emulator, "Commit")
    await box.emit(b"", to, id="y")
    await box.process_batch(to, Deciding(to, consume_all({"n": 2})))
    assert await while_advancing(clock, lost) == [done]


async def test_a_state_that_was_saved_over_since_is_an_unknown_outcome_where_nothing_was_consumed(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="after"))
    save = lambda n: Deciding(to, lambda *_: Mutation([Transition({"n": n})]))  # noqa: E731
    lost = asyncio.create_task(box.process_batch(to, save(1)))
    await sent(emulator, "Commit")
    await box.process_batch(to, save(2))
    with pytest.raises(UnknownOutcomeError):
        await while_advancing(clock, lost)


async def test_a_rival_that_saved_the_same_eversion_makes_it_contention(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="before"))
    save = lambda n: Deciding(to, lambda *_: Mutation([Transition({"n": n})]))  # noqa: E731
    lost = asyncio.create_task(box.process_batch(to, save(1)))
    await sent(emulator, "Commit")
    await box.process_batch(to, save(2))
    with pytest.raises(ContentionError):
        await while_advancing(clock, lost)


async def test_a_commit_that_arrives_late_is_not_done_twice(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient
) -> None:
    await box.emit(b"", to, id="x")
    emulator.faults.add(
        Fault(rpc="Commit", error="UNAVAILABLE", when="late", latency=timedelta(milliseconds=1))
    )
    decide = consume_all({"n": 1}, side_effect=counting(local_client), post_process=done)
    assert await while_advancing(clock, box.process_batch(to, Deciding(to, decide))) == [done]
    clock.advance(timedelta(seconds=5))
    assert await effects(local_client) == 1


async def test_an_outage_that_does_not_end_is_an_unknown_outcome_for_the_lost_commit(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient
) -> None:
    for event_id in ("x", "y"):
        await box.emit(b"", to, id=event_id)
    outage = emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", times=None))
    with pytest.raises(UnknownOutcomeError, match="a commit of 3 writes was lost"):
        await while_advancing(clock, box.process_batch(to, Deciding(to, consume_all({"n": 1}))))
    outage.remove()
    assert {event.id for event in await box.list_events(to)} == {"x", "y"}


async def test_an_event_deleted_as_garbage_by_a_rival_does_not_pass_for_ours(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    await box.emit(b"", to, id="x")
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="before"))
    lost = asyncio.create_task(box.process_batch(to, Deciding(to, consume_all({"n": 1}))))
    await sent(emulator, "Commit")

    def garbage(events: Sequence[Event], state: Any) -> Mutation[Any]:
        return Mutation(garbage=events)

    await box.process_batch(to, Deciding(to, garbage))
    with pytest.raises(ContentionError):
        await while_advancing(clock, lost)


@pytest.mark.parametrize("code", ["ABORTED", "INVALID_ARGUMENT"])
async def test_a_server_transaction_that_was_aborted_after_all_or_is_gone_is_contention(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient, code: str
) -> None:
    await box.emit(b"", to, id="x")
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="before"))
    emulator.faults.add(Fault(rpc="Commit", error=code, when="before"))
    decide = consume_all({"n": 1}, side_effect=counting(local_client, reads=True))
    with pytest.raises(ContentionError):
        await while_advancing(clock, box.process_batch(to, Deciding(to, decide)))
    assert await effects(local_client) == 0


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_commit_refused_since_it_came_twice_is_found_to_have_been_done(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient, when: Any
) -> None:
    await box.emit(b"", to, id="x")
    # what is heard is the answer to the second: its transaction has ended, with the first or for its age
    emulator.faults.add(Fault(rpc="Commit", error="INVALID_ARGUMENT", when=when))
    decide = consume_all({"n": 1}, side_effect=counting(local_client, reads=True), post_process=done)
    batch = box.process_batch(to, Deciding(to, decide))
    if when == "after":
        assert await while_advancing(clock, batch) == [done]
    else:
        with pytest.raises(InvalidArgument):
            await while_advancing(clock, batch)
    assert await effects(local_client) == (when == "after")


@pytest.mark.parametrize("processor_type", [Deciding, InTransaction])
async def test_a_batch_whose_transaction_expired_lost_to_a_rival_that_consumed_its_event(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient, processor_type: Any
) -> None:  # fmt: skip
    await box.emit(b"", to, id="x")
    state: Any = 7 if processor_type is InTransaction else {"n": 7}

    async def stall(transaction: Transaction) -> None:
        await local_client.document("effects/1").get(transaction=transaction)
        clock.advance(timedelta(minutes=5))
        await box.process_batch(to, processor_type(to, consume_all(state)))

    with pytest.raises(ContentionError):
        await while_advancing(
            clock, box.process_batch(to, processor_type(to, consume_all(state, side_effect=stall)))
        )


async def test_an_application_that_overwrote_the_document_leaves_an_unknown_outcome(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient
) -> None:
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="after"))
    transition = Transition({"n": 1}, side_effect=counting(local_client))
    lost = asyncio.create_task(box.process_batch(to, Deciding(to, lambda *_: Mutation([transition]))))
    await sent(emulator, "Commit")
    await to.ref.set({"n": 5})
    with pytest.raises(UnknownOutcomeError):
        await while_advancing(clock, lost)
    assert await effects(local_client) == 1


async def test_an_application_that_only_touched_the_document_makes_it_contention(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    await box.process_batch(to, Deciding(to, lambda *_: Mutation([Transition({"n": 1})])))
    emulator.counts.reset()
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="before"))
    lost = asyncio.create_task(
        box.process_batch(to, Deciding(to, lambda *_: Mutation([Transition({"n": 2})])))
    )
    await sent(emulator, "Commit")
    await to.ref.update({"seen": True})
    with pytest.raises(ContentionError):
        await while_advancing(clock, lost)


async def test_a_rival_that_left_the_events_but_saved_the_state_makes_it_contention(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient
) -> None:
    await box.process_batch(to, Deciding(to, lambda *_: Mutation([Transition({"n": 1})])))
    await box.emit(b"", to, id="x")
    emulator.counts.reset()
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="before"))
    decide = consume_all({"n": 2}, side_effect=counting(local_client))
    lost = asyncio.create_task(box.process_batch(to, Deciding(to, decide)))
    await sent(emulator, "Commit")
    await box.process_batch(to, Deciding(to, lambda *_: Mutation([Transition({"n": 3})])))
    with pytest.raises(ContentionError):
        await while_advancing(clock, lost)
    assert await effects(local_client) == 0
    assert [event.id for event in await box.list_events(to)] == ["x"]


async def test_where_the_state_was_absent_and_may_be_so_again_what_is_under_way_may_still_arrive(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, local_client: AsyncClient
) -> None:
    await box.emit(b"", to, id="x")
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="late", latency=timedelta(minutes=5)))
    decide = consume_all({"n": 2}, side_effect=counting(local_client))
    lost = asyncio.create_task(box.process_batch(to, Deciding(to, decide)))
    await sent(emulator, "Commit")
    await to.ref.set({"n": 3})
    with pytest.raises(UnknownOutcomeError):
        await while_advancing(clock, lost)
    await to.ref.delete()
    clock.advance(timedelta(minutes=5))
    await sent(emulator, "Commit", 4)
    await while_advancing(clock, clock.sleep(timedelta(seconds=1)))
    assert await effects(local_client) == 1


async def test_an_outage_that_reaches_the_reads_is_an_unknown_outcome_too(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    await box.emit(b"", to, id="x")

    async def break_down(transaction: Transaction) -> None:
        emulator.faults.add(Fault(error="UNAVAILABLE", times=None))

    with pytest.raises(UnknownOutcomeError):
        await while_advancing(
            clock, box.process_batch(to, Deciding(to, consume_all({"n": 1}, side_effect=break_down)))
        )


async def test_an_aborted_read_that_a_side_effect_swallows_is_contention_all_the_same(
    box: EventBox, to: Recipient, emulator: Emulator, local_client: AsyncClient
) -> None:
    await box.emit(b"", to, id="x")

    async def careless(transaction: Transaction) -> None:
        emulator.faults.add(Fault(rpc="BatchGetDocuments", error="ABORTED"))
        with suppress(Aborted):
            await local_client.document("other/1").get(transaction=transaction)

    with pytest.raises(ContentionError):
        await box.process_batch(to, Deciding(to, consume_all({"n": 1}, side_effect=careless)))
    assert [event.id for event in await box.list_events(to)] == ["x"]
