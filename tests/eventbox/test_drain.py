"""Draining: until nothing is left, or a bound, contention, or a batch that moves nothing."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import (
    DrainReport,
    Event,
    EventBox,
    Mutation,
    NewEvent,
    Recipient,
    SkipTransition,
    SystemClock,
    Transaction,
    Transition,
)
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.support import Deciding, Recording


async def fill(box: EventBox, to: Recipient, n: int) -> None:
    await box.emit_many([NewEvent(b"", id=str(i)) for i in range(n)], to)


async def test_it_runs_batches_until_nothing_is_left(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 25)
    assert await box.drain(to, Recording(to), max_events=10) == DrainReport(
        3, 25, contended=False, drained=True
    )
    assert await box.list_events(to) == []


async def test_a_full_last_batch_is_followed_by_a_listing_but_by_no_batch(
    box: EventBox, to: Recipient
) -> None:
    await fill(box, to, 20)
    processor = Recording(to)
    assert await box.drain(to, processor, max_events=10) == DrainReport(2, 20, contended=False, drained=True)
    assert len(processor.batches) == 2


async def test_an_empty_inbox_is_prepared_once(box: EventBox, to: Recipient) -> None:
    processor = Recording(to)
    assert await box.drain(to, processor) == DrainReport(1, 0, contended=False, drained=True)
    assert processor.batches == [()]


async def test_what_counts_is_what_was_consumed_not_what_the_mutation_had_named(
    box: EventBox, to: Recipient
) -> None:
    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        chosen = list(events)

        async def think_better_of_it(_: Transaction) -> None:
            chosen.clear()

        return Mutation([Transition({"n": 1}, events=chosen, side_effect=think_better_of_it)])

    await fill(box, to, 3)
    report = await box.drain(to, Deciding(to, decide), max_batches=9)
    assert report == DrainReport(1, 0, contended=False, drained=False)
    assert len(await box.list_events(to)) == 3


async def test_max_batches_bounds_it(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 25)
    report = await box.drain(to, Recording(to), max_events=10, max_batches=2)
    assert report == DrainReport(2, 20, contended=False, drained=False)


async def test_a_batch_that_moves_nothing_ends_it(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 3)
    processor = Deciding(to, lambda events, state: Mutation())
    assert await box.drain(to, processor) == DrainReport(1, 0, contended=False, drained=False)


async def test_garbage_counts_as_moved(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 3)
    processor = Deciding(to, lambda events, state: Mutation(garbage=events))
    assert await box.drain(to, processor) == DrainReport(1, 3, contended=False, drained=True)


async def test_contention_ends_it_and_is_reported(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 25)
    rivals: list[int] = []

    async def overtake(transaction: Transaction) -> None:
        rivals.append(1)
        if len(rivals) == 2:
            await box.process_batch(to, Recording(to), max_events=1)

    class Overtaken(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Mutation[Any]:
            (transition,) = (await super().prepare_mutation(events, state)).transitions
            return Mutation([Transition(transition.transition_to, events=events, side_effect=overtake)])

    report = await box.drain(to, Overtaken(to), max_events=10)
    assert (report.contended, report.drained, report.events) == (True, False, 10)


async def test_the_same_events_skipped_twice_end_it(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 3)
    runs: list[int] = []

    async def skip(transaction: Transaction) -> None:
        runs.append(1)
        raise SkipTransition

    processor = Deciding(to, lambda events, _: Mutation([Transition({}, events=events, side_effect=skip)]))
    assert await box.drain(to, processor) == DrainReport(2, 0, contended=False, drained=False)
    assert len(runs) == 2


async def test_a_skip_that_is_over_the_second_time_goes_on(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 3)
    runs: list[int] = []

    async def skip_once(transaction: Transaction) -> None:
        runs.append(1)
        if len(runs) == 1:
            raise SkipTransition

    processor = Deciding(
        to, lambda events, _: Mutation([Transition({}, events=events, side_effect=skip_once)])
    )
    assert await box.drain(to, processor) == DrainReport(2, 3, contended=False, drained=True)


async def test_callbacks_run_after_each_commit_and_one_that_fails_does_not_stop_it(
    box: EventBox, to: Recipient, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(box, to, 20)
    left: list[int] = []

    async def after() -> None:
        left.append(len(await box.list_events(to)))
        raise RuntimeError("a callback's own trouble")

    processor = Deciding(to, lambda events, s: Mutation([Transition(s, events=events, post_process=after)]))
    assert (await box.drain(to, processor, max_events=10)).drained
    assert left == [10, 0]
    assert "its batch stands" in caplog.text


async def test_what_a_batch_raises_is_raised_and_what_was_committed_before_stands(
    box: EventBox, to: Recipient
) -> None:
    await fill(box, to, 20)

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        if state:
            raise ZeroDivisionError
        return Mutation([Transition({"n": 1}, events=events)])

    with pytest.raises(ZeroDivisionError):
        await box.drain(to, Deciding(to, decide), max_events=10)
    assert len(await box.list_events(to)) == 10


async def test_it_begins_no_batch_that_would_end_after_the_deadline(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    box, to = EventBox(local_client, clock=clock), Recipient(local_client.document("a/1"), "a")
    await fill(box, to, 100)
    emulator.faults.add(Fault(latency=timedelta(seconds=1), times=None))
    deadline = clock.now() + timedelta(seconds=9)
    report = await while_advancing(clock, box.drain(to, Recording(to), max_events=10, deadline=deadline))
    assert (report.drained, report.batches) == (False, 7)  # the first takes 2 s, the others 1 s each
    assert clock.now() <= deadline
    report = await while_advancing(
        clock, box.drain(to, Recording(to), deadline=clock.now() - timedelta(hours=1))
    )
    assert report == DrainReport(0, 0, contended=False, drained=False)


async def test_a_stop_ends_it_between_batches(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 30)
    processor = Recording(to)
    report = await box.drain(to, processor, max_events=10, stop=lambda: len(processor.batches) == 2)
    assert report == DrainReport(2, 20, contended=False, drained=False)
    assert await box.drain(to, processor, stop=lambda: True) == DrainReport(
        0, 0, contended=False, drained=False
    )


async def test_a_clock_that_lags_does_not_hide_what_is_due_by_the_servers_time(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    lagging = ManualClock(clock.now() - timedelta(seconds=30))
    box, to = EventBox(local_client, clock=lagging), Recipient(local_client.document("a/1"), "a")
    due = clock.now() + timedelta(seconds=10)
    await box.emit(b"", to, id="due", process_after=due)
    processor = Recording(to)
    assert (await box.drain(to, processor, as_of=due)).events == 0  # not by the server's time
    clock.advance(timedelta(seconds=11))
    lagging.advance(timedelta(seconds=11))
    assert (await box.drain(to, processor)).events == 0
    assert (await box.drain(to, processor, as_of=due - timedelta(seconds=1))).events == 0
    assert (await box.drain(to, processor, as_of=due)).events == 1
    await box.emit(b"", to, id="again", process_after=lagging.now())
    assert (await box.drain(to, processor, as_of=due - timedelta(days=1))).events == 1  # the later counts


async def test_a_box_tells_its_clock(local_client: AsyncClient, clock: ManualClock) -> None:
    assert EventBox(local_client, clock=clock).clock is clock
    assert isinstance(EventBox(local_client).clock, SystemClock)


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"max_events": 0}, ValueError),
        ({"max_batches": 0}, ValueError),
        ({"max_batches": -1}, ValueError),
        ({"max_batches": 1.5}, TypeError),
        ({"deadline": datetime(2030, 1, 1)}, ValueError),
        ({"deadline": 5}, TypeError),
        ({"as_of": datetime(2030, 1, 1)}, ValueError),
        ({"as_of": 5}, TypeError),
        ({"stop": True}, TypeError),
    ],
)
async def test_bad_bounds_are_refused(box: EventBox, to: Recipient, arguments: Any, error: Any) -> None:
    with pytest.raises(error):
        await box.drain(to, Recording(to), **arguments)


async def test_what_a_batch_emits_to_its_own_recipient_is_drained_too(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 2)
    emitted: list[int] = []

    async def again(transaction: Transaction) -> None:
        if not emitted:
            emitted.append(1)
            await box.emit(b"", to, id="again", transaction=transaction)

    processor = Deciding(to, lambda events, s: Mutation([Transition(s, events=events, side_effect=again)]))
    assert await box.drain(to, processor) == DrainReport(2, 3, contended=False, drained=True)
    assert await box.list_events(to) == []
