"""What a drain keeps from one batch for the next is what loading would have given."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from dsset import Listing
from emulator.firestore import Emulator, Fault
from eventbox import (
    DocumentProcessor,
    DrainReport,
    Event,
    EventBox,
    Mutation,
    Recipient,
    Transaction,
    Transition,
)
from eventbox.testing import ManualClock
from tests.eventbox.poisoned import attempts
from tests.eventbox.support import Deciding, InTransaction, Recording, Waiting, document, fill


@pytest.fixture
def box(local_client: AsyncClient, clock: ManualClock) -> EventBox:
    return EventBox(local_client, clock=clock)


@pytest.fixture
def to(local_client: AsyncClient) -> Recipient:
    return Recipient(local_client.document("orders/1"), "order")


class Wrapped:
    """A processor of a user's own around one of ours."""

    def __init__(self, inner: DocumentProcessor[Any]) -> None:
        self._inner = inner

    async def load_state(self) -> tuple[Any, int]:
        return await self._inner.load_state()

    async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Mutation[Any]:
        return await self._inner.prepare_mutation(events, state)

    async def fetch_eversion(self, transaction: Transaction) -> int:
        return await self._inner.fetch_eversion(transaction)

    async def save_state(self, transaction: Transaction, state: Any, eversion: int) -> None:
        await self._inner.save_state(transaction, state, eversion)


async def test_a_processor_that_wraps_one_of_ours_does_not_contend_with_itself(
    box: EventBox, to: Recipient
) -> None:
    await fill(box, to, 30)
    report = await box.drain(to, Wrapped(Recording(to)), max_events=10)
    assert report == DrainReport(3, 30, contended=False, drained=True)


async def test_a_state_that_is_saved_otherwise_than_it_was_given_is_loaded_anew(
    box: EventBox, to: Recipient
) -> None:
    class Counting(Deciding):
        async def save_state(self, transaction: Transaction, state: Any, eversion: int) -> None:
            await super().save_state(transaction, {**state, "saves": state.get("saves", 0) + 1}, eversion)

    await fill(box, to, 6)
    processor = Counting(
        to, lambda events, state: Mutation([Transition({**state, "n": events[0].id}, events=events)])
    )
    assert (await box.drain(to, processor, max_events=2)).events == 6
    assert (await document(to.ref._client, to.path) or {})["saves"] == 3


async def test_each_batch_is_given_the_state_as_it_would_be_loaded(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 4)
    seen: list[Any] = []

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        seen.append(state.get("ids"))
        ids = (*state.get("ids", ()), *(event.id for event in events))  # read back as a list
        return Mutation([Transition({"ids": ids}, events=events)])

    await box.drain(to, Deciding(to, decide), max_events=2)
    assert [type(ids) for ids in seen] == [type(None), list]


@pytest.mark.parametrize("saved", [True, False])
async def test_a_callback_that_changes_its_state_changes_nobody_elses(
    box: EventBox, to: Recipient, saved: bool
) -> None:
    await to.ref.set({"ids": []})
    await fill(box, to, 4)
    seen: list[int] = []

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        seen.append(len(state["ids"]))
        after = {"ids": [*state["ids"], events[0].id]} if saved else state

        async def clear() -> None:
            after["ids"][:] = range(7)

        return Mutation([Transition(after, events=events, post_process=clear)])

    assert (await box.drain(to, Deciding(to, decide), max_events=2)).events == 4
    assert seen == ([0, 1] if saved else [0, 0])
    ids = (await document(to.ref._client, to.path) or {})["ids"]
    assert len(ids) == (2 if saved else 0)


async def test_what_is_kept_is_the_state_as_it_was_written_whatever_on_commit_makes_of_it(
    box: EventBox, to: Recipient
) -> None:
    await fill(box, to, 4)
    seen: list[list[str]] = []

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        seen.append(list(state.get("ids", ())))
        after = {"ids": [*state.get("ids", ()), events[0].id]}

        async def clear_once_committed(transaction: Transaction) -> None:
            transaction.on_commit(after["ids"].clear)

        return Mutation([Transition(after, events=events, side_effect=clear_once_committed)])

    assert (await box.drain(to, Deciding(to, decide), max_events=2)).events == 4
    assert len(seen[1]) == 1
    assert len((await document(to.ref._client, to.path) or {})["ids"]) == 2


async def test_a_state_of_its_own_kind_is_loaded_anew_after_callbacks(box: EventBox, to: Recipient) -> None:
    await fill(box, to, 6)
    seen: list[int] = []

    def decide(events: Sequence[Event], n: int) -> Mutation[Any]:
        seen.append(n)

        async def add_ten() -> None:
            await processor._ref.set({"n": n + 10, "eversion": 0})

        return Mutation([Transition(n, events=events, post_process=add_ten)] if events else [])

    processor = InTransaction(to, decide)
    await processor._ref.set({"n": 0, "eversion": 0})
    assert (await box.drain(to, processor, max_events=2)).events == 6
    assert seen[:3] == [0, 10, 20]


async def test_a_batch_whose_state_cannot_be_read_back_stands_and_its_callbacks_run(
    box: EventBox, to: Recipient
) -> None:
    @dataclass
    class Counter:
        n: int = 0

    class Spoiling(DocumentProcessor[Counter]):
        async def prepare_mutation(self, events: Sequence[Event], state: Counter) -> Mutation[Counter]:
            return Mutation(
                [Transition(Counter("no number"), events=events, post_process=post_process)]  # type: ignore[arg-type]
            )

    called: list[int] = []

    async def post_process() -> None:
        called.append(1)

    await fill(box, to, 4)
    with pytest.raises(ValueError, match="n\n"):
        await box.drain(to, Spoiling(to, Counter), max_events=2)
    assert called == [1]
    assert len(await box.list_events(to)) == 2


async def test_an_event_that_fails_on_a_state_out_of_date_is_tried_on_the_present_one_before_it_counts(
    box: EventBox, to: Recipient, local_client: AsyncClient
) -> None:
    await fill(box, to, 3)
    batches: list[int] = []

    async def rival() -> None:
        if len(batches) == 1:
            await to.ref.update({"open": True})

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        batches.append(1)
        if state.get("n") and not state.get("open"):
            raise KeyError("open")
        after = {**state, "n": state.get("n", 0) + 1}
        return Mutation([Transition(after, events=events, post_process=rival)])

    report = await box.drain(to, Deciding(to, decide), max_events=1)
    assert (report.events, report.drained) == (3, True)
    assert await attempts(local_client, to) == {}


async def test_a_drain_that_is_cancelled_in_a_callback_leaves_no_task(
    box: EventBox, to: Recipient, emulator: Emulator
) -> None:
    await fill(box, to, 30)
    gate = Waiting()

    def decide(events: Sequence[Event], state: Any) -> Mutation[Any]:
        emulator.faults.add(Fault(rpc="RunQuery", latency=timedelta(seconds=9), times=None))
        return Mutation([Transition({"n": 1}, events=events, post_process=gate.wait)])

    task = asyncio.create_task(box.drain(to, Deciding(to, decide), max_events=10))
    await gate.reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert len(asyncio.all_tasks()) == 1


async def test_no_more_listings_are_in_memory_however_many_batches_there_are(
    box: EventBox, to: Recipient
) -> None:
    await fill(box, to, 200)
    held: list[int] = []

    class Counting(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Mutation[Any]:
            gc.collect()
            held.append(sum(type(one) is Listing for one in gc.get_objects()))
            return await super().prepare_mutation(events, state)

    await box.drain(to, Counting(to), max_events=10)
    assert len(held) == 20
    assert max(held) <= held[0] + 3  # one in hand, two ahead, and that of the batch before
