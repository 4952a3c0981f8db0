"""A drain goes on from what its last commit left, and lists ahead while that is under way."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient
from hypothesis import given, strategies as st

from emulator.firestore import Emulator, Fault
from eventbox import (
    DrainReport,
    Event,
    EventBox,
    Mutation,
    Recipient,
    SkipTransition,
    Transaction,
    Transition,
)
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.support import Deciding, InTransaction, Recording, document, emit, fill


@pytest.fixture
def box(local_client: AsyncClient, clock: ManualClock) -> EventBox:
    return EventBox(local_client, clock=clock)


@pytest.fixture
def to(local_client: AsyncClient) -> Recipient:
    return Recipient(local_client.document("orders/1"), "order")


async def test_each_further_batch_takes_one_round_trip_two_rpcs_and_its_events(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    await fill(box, to, 95)
    emulator.counts.reset()
    emulator.faults.add(Fault(latency=timedelta(seconds=1), times=None))
    began = clock.monotonic()
    report = await while_advancing(clock, box.drain(to, Recording(to), max_events=10))
    assert report == DrainReport(10, 95, contended=False, drained=True)
    # the first has 2 round trips; behind the last one it looks once more from the start
    assert clock.monotonic() - began == 2 + 9 + 1
    assert emulator.counts.rpcs == {"RunQuery": 11, "GetDocument": 1, "Commit": 10}
    assert emulator.counts.reads == 95 + 1 + 1
    assert emulator.counts.writes == 95 + 10


async def test_a_processor_of_another_kind_pays_for_its_check_and_its_commit(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    await fill(box, to, 40)
    processor = InTransaction(
        to, lambda events, n: Mutation([Transition(n + len(events), events=events)] if events else [])
    )
    emulator.faults.add(Fault(latency=timedelta(seconds=1), times=None))
    began = clock.monotonic()
    report = await while_advancing(clock, box.drain(to, processor, max_events=10))
    assert report.events == 40
    assert clock.monotonic() - began == 3 + 3 * 2 + 1
    assert emulator.counts.rpcs["BatchGetDocuments"] == 1 + 4


@pytest.mark.parametrize("batches", [1, 2, 3, 4])
async def test_nothing_is_listed_for_batches_that_may_not_be(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock, batches: int
) -> None:
    await fill(box, to, 80)
    emulator.counts.reset()
    emulator.faults.add(Fault(latency=timedelta(seconds=1), times=None))
    report = await while_advancing(clock, box.drain(to, Recording(to), max_events=10, max_batches=batches))
    assert report.events == batches * 10
    assert emulator.counts.rpcs["RunQuery"] == batches


async def test_a_batch_waits_for_its_commit_alone_where_listings_take_turns_with_it(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    await fill(box, to, 35)
    for rpc, seconds in {"RunQuery": (1, 1, 1, 5, 1), "Commit": (1, 5, 1, 1)}.items():
        for one in seconds:
            emulator.faults.add(Fault(rpc=rpc, latency=timedelta(seconds=one), times=1))
    began = clock.monotonic()
    report = await while_advancing(clock, box.drain(to, Recording(to), max_events=10))
    assert report.events == 35
    # the fourth batch's listing is under way from second 3 to 8, beside two commits, which end at 7 and 8
    assert clock.monotonic() - began == 8 + 1 + 1


async def test_one_batch_at_most_is_listed_in_vain_where_each_state_is_loaded_anew(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    await fill(box, to, 100)
    emulator.counts.reset()
    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(seconds=1), times=None))

    async def scribble(transaction: Transaction) -> None:
        transaction.set(to.ref, {"scribbled": True}, merge=True)

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        n = state.get("n", 0) + len(events)
        return Mutation([Transition({"n": n}, events=events, side_effect=scribble)] if events else [])

    report = await while_advancing(clock, box.drain(to, Deciding(to, decide), max_events=10))
    assert report.events == 100
    # of a full listing nobody knows whether it was the last: that behind the tenth batch finds nothing
    assert emulator.counts.rpcs["RunQuery"] == 10 + 10 + 1
    loads = 11
    assert emulator.counts.reads == 100 + 90 + 1 + 1 + loads


async def test_what_cannot_be_gone_on_from_is_not_listed_ahead_in_vain(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    await fill(box, to, 40)
    emulator.counts.reset()
    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(seconds=1), times=None))

    async def nothing(transaction: Transaction) -> None:
        """Whatever it does, it may have been to the state."""

    processor = InTransaction(
        to,
        lambda events, n: Mutation(
            [Transition(n + len(events), events=events, side_effect=nothing)] if events else []
        ),
    )
    report = await while_advancing(clock, box.drain(to, processor, max_events=10))
    assert report.events == 40
    assert emulator.counts.rpcs["RunQuery"] == 5
    assert emulator.counts.reads == 40 + 1 + 5 + 4  # its own: 5 loads and 4 looks at the version


async def test_a_stop_ends_the_listing_that_is_under_way(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    await fill(box, to, 50)
    emulator.faults.add(Fault(rpc="RunQuery", latency=timedelta(seconds=9), times=None))
    asked = iter([False, True])
    report = await while_advancing(
        clock, box.drain(to, Recording(to), max_events=10, stop=lambda: next(asked))
    )
    assert report.events == 10
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


async def test_events_that_come_before_those_in_hand_are_found_at_the_end(
    box: EventBox, to: Recipient
) -> None:
    await fill(box, to, 25)
    late: list[str] = []

    class Late(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Mutation[Any]:
            if len(late) < 20:
                late.extend(f"late {len(late) + n}" for n in range(5))
                await emit(box, to, *late[-5:])
            return await super().prepare_mutation(events, state)

    report = await box.drain(to, Late(to), max_events=10)
    assert (report.events, report.drained) == (45, True)
    state = await document(to.ref._client, to.path)
    assert state is not None
    assert sorted(state["applied"]) == sorted([*(f"{n:03}" for n in range(25)), *late])


async def test_events_that_were_left_are_handed_over_again(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 20)

    def every_second(events: Sequence[Event], state: Any) -> Mutation[Any]:
        some = events[::2]
        return Mutation([Transition({"n": state.get("n", 0) + len(some)}, events=some)] if some else [])

    report = await box.drain(to, Deciding(to, every_second), max_events=4)
    assert (report.events, report.drained) == (20, True)
    assert (await document(to.ref._client, to.path) or {})["n"] == 20


@pytest.mark.parametrize("saved", [True, False])
async def test_a_state_that_a_side_effect_wrote_to_is_loaded_anew(
    box: EventBox, to: Recipient, saved: bool
) -> None:
    await to.ref.set({"scribbled": 0})
    await fill(box, to, 6)
    seen: list[int] = []
    keys: list[int] = []

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        seen.append(state["scribbled"])
        keys.append(len(state))
        n = len(seen)

        async def scribble(transaction: Transaction) -> None:
            transaction.update(to.ref, {"scribbled": n, f"new{n}": True})

        after = {**state, "n": n} if saved else state
        return Mutation([Transition(after, events=events, side_effect=scribble)] if events else [])

    assert (await box.drain(to, Deciding(to, decide), max_events=2)).events == 6
    assert keys[:3] == ([1, 3, 4] if saved else [1, 2, 3])
    # a state that is saved writes what it was loaded with over it
    assert seen[:3] == ([0, 0, 0] if saved else [0, 1, 2])
    assert (await document(to.ref._client, to.path) or {})["scribbled"] == (0 if saved else 3)


async def test_a_state_that_lies_anywhere_is_loaded_anew_after_side_effects(
    box: EventBox, to: Recipient
) -> None:
    await fill(box, to, 6)
    seen: list[int] = []

    def decide(events: Sequence[Event], n: int) -> Mutation[Any]:
        seen.append(n)

        async def add_ten(transaction: Transaction) -> None:
            transaction.set(processor._ref, {"n": n + 10, "eversion": len(seen) - 1})

        return Mutation([Transition(n, events=events, side_effect=add_ten)] if events else [])

    processor = InTransaction(to, decide)
    await processor._ref.set({"n": 0, "eversion": 0})
    while await box.list_events(to):
        await box.drain(to, processor, max_events=2)
    assert seen[:2] == [0, 10]


async def test_another_writers_change_in_between_is_contention_and_nothing_is_lost(
    box: EventBox, to: Recipient
) -> None:
    await fill(box, to, 30)
    batches: list[int] = []

    async def post_process() -> None:
        batches.append(1)
        if len(batches) == 2:
            await to.ref.update({"foreign": True})

    class Overwritten(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Mutation[Any]:
            (transition,) = (await super().prepare_mutation(events, state)).transitions
            return Mutation([Transition(transition.transition_to, events=events, post_process=post_process)])

    report = await box.drain(to, Overwritten(to), max_events=10)
    assert report == DrainReport(3, 20, contended=True, drained=False)
    assert (await box.drain(to, Recording(to))).events == 10
    state = await document(to.ref._client, to.path)
    assert state is not None
    assert len(state["applied"]) == 30
    assert state["foreign"]


async def test_a_rival_that_consumes_what_is_listed_ahead_is_contention(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 30)
    batches: list[int] = []

    class Robbed(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Mutation[Any]:
            batches.append(1)
            if len(batches) == 2:
                await box.drain(to, Recording(to))
            return await super().prepare_mutation(events, state)

    report = await box.drain(to, Robbed(to), max_events=10)
    assert report.contended
    state = await document(to.ref._client, to.path)
    assert state is not None
    assert sorted(state["applied"]) == [f"{n:03}" for n in range(30)]


async def test_a_lost_answer_ends_what_is_kept_and_the_state_is_loaded_anew(
    box: EventBox, to: Recipient, emulator: Emulator, clock: ManualClock
) -> None:
    await fill(box, to, 30)
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="after", times=1))
    report = await while_advancing(clock, box.drain(to, Recording(to), max_events=10))
    assert (report.events, report.drained) == (30, True)
    assert emulator.counts.rpcs["GetDocument"] > 1


async def test_a_listing_ahead_that_fails_is_told_after_the_batch_that_stands(
    box: EventBox, to: Recipient, emulator: Emulator
) -> None:
    await fill(box, to, 30)
    called: list[int] = []

    async def post_process() -> None:
        called.append(1)

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        if not called:
            emulator.faults.add(Fault(rpc="RunQuery", error="PERMISSION_DENIED", times=None))
        return Mutation([Transition({"n": 1}, events=events, post_process=post_process)])

    with pytest.raises(Exception, match="fault injected"):
        await box.drain(to, Deciding(to, decide), max_events=10)
    emulator.faults.clear()
    assert called == [1]
    assert len(await box.list_events(to)) == 20


async def test_a_drain_that_is_cancelled_leaves_no_task(
    box: EventBox, to: Recipient, emulator: Emulator
) -> None:
    await fill(box, to, 30)
    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(seconds=1), times=None))
    task = asyncio.create_task(box.drain(to, Recording(to), max_events=10))
    for _ in range(1_000):
        await asyncio.sleep(0)
        if emulator.counts.rpcs["Commit"]:
            break
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await asyncio.sleep(0)
    assert len(asyncio.all_tasks()) == 1


async def test_a_skip_lists_from_the_start_again(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 12)
    skips: list[int] = []

    async def skip_once(transaction: Transaction) -> None:
        skips.append(1)
        if len(skips) == 2:
            raise SkipTransition

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        n = state.get("n", 0) + len(events)
        return Mutation([Transition({"n": n}, events=events, side_effect=skip_once)] if events else [])

    assert await box.drain(to, Deciding(to, decide), max_events=4) == DrainReport(
        4, 12, contended=False, drained=True
    )
    assert (await document(to.ref._client, to.path) or {})["n"] == 12


@given(st.integers(1, 30), st.integers(1, 7), st.lists(st.integers(0, 3), min_size=1, max_size=40))
def test_whatever_a_processor_leaves_and_emits_each_event_is_applied_once(
    count: int, max_events: int, choices: list[int]
) -> None:
    async def run() -> None:
        client = Emulator().client()
        box, to = EventBox(client), Recipient(client.document("orders/1"), "order")
        await fill(box, to, count)
        emitted = [f"{n:03}" for n in range(count)]
        left = iter(choices)

        async def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
            choice = next(left, 0)
            some = events if choice == 0 or len(events) == 1 else events[:: choice + 1]
            if choice == 3 and len(emitted) < 60:
                emitted.append(f"new {len(emitted)}")
                await emit(box, to, emitted[-1])
            if not some:
                return Mutation()
            applied = [*state.get("applied", []), *(event.id for event in some)]
            return Mutation([Transition({"applied": applied}, events=some)])

        class Choosing(Deciding):
            async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Mutation[Any]:
                return await decide(events, state)

        processor = Choosing(to, lambda events, state: Mutation())
        consumed = 0
        while consumed < len(emitted):  # what is emitted after the last listing is the next drain's
            report = await box.drain(to, processor, max_events=max_events)
            assert report.drained
            assert report.events > 0
            consumed += report.events
        assert consumed == len(emitted)
        state = await document(client, to.path)
        assert state is not None
        assert sorted(state["applied"]) == sorted(emitted)

    asyncio.run(run())
