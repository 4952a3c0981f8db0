"""Many at once: nothing is lost, nothing is done twice, and nothing gets slower."""

from __future__ import annotations

import asyncio
import statistics
import time
from collections import Counter
from collections.abc import Sequence
from typing import Any

import pytest

from emulator.firestore import Emulator
from eventbox import (
    ContentionError,
    DocumentProcessor,
    Event,
    EventBox,
    Mutation,
    NewEvent,
    Recipient,
    Transition,
)
from tests.eventbox.support import Record, Recording


async def test_three_producers_of_the_same_ids_and_five_consumers_consume_each_id_once(
    box: EventBox, to: Recipient
) -> None:
    ids = [f"event {n}" for n in range(100)]
    duplicates: Counter[bool | None] = Counter()
    produced = asyncio.Event()

    async def produce() -> None:
        for event_id in ids:
            duplicates[(await box.emit(b"", to, id=event_id)).duplicate] += 1

    async def consume() -> None:
        while True:
            last = produced.is_set()
            try:
                processor = Recording(to)
                await box.process_batch(to, processor, max_events=7)
                if last and processor.batches == [()]:
                    return
            except ContentionError:
                pass

    async def produce_all() -> None:
        await asyncio.gather(*(produce() for _ in range(3)))
        produced.set()

    await asyncio.gather(produce_all(), *(consume() for _ in range(5)))
    state, _ = await Recording(to).load_state()
    assert sorted(state.applied) == sorted(ids)
    assert duplicates == {False: 100, True: 200}


async def test_of_eight_batches_at_once_one_commits_and_the_next_round_finds_what_is_left(
    box: EventBox, to: Recipient
) -> None:
    await box.emit_many([NewEvent(b"", id=str(n)) for n in range(40)], to)
    barrier = asyncio.Barrier(8)

    class Together(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Record) -> Mutation[Record]:
            await barrier.wait()
            return await super().prepare_mutation(events[:20], state)

    results = await asyncio.gather(
        *(box.process_batch(to, Together(to)) for _ in range(8)), return_exceptions=True
    )
    assert sum(result == [] for result in results) == 1
    assert sum(isinstance(result, ContentionError) for result in results) == 7
    assert len(await box.list_events(to)) == 20
    await box.process_batch(to, Recording(to))
    state, eversion = await Recording(to).load_state()
    assert sorted(state.applied) == sorted(str(n) for n in range(40))
    assert eversion == 2


async def test_batches_of_a_shared_processor_do_not_mix_what_they_have_loaded(
    box: EventBox, to: Recipient
) -> None:
    await box.emit_many([NewEvent(b"", id=str(n)) for n in range(40)], to)
    processor = Recording(to)
    while await box.list_events(to):
        results = await asyncio.gather(
            *(box.process_batch(to, processor, max_events=5) for _ in range(8)), return_exceptions=True
        )
        assert all(result == [] or isinstance(result, ContentionError) for result in results)
    state, _ = await processor.load_state()
    assert sorted(state.applied) == sorted(str(n) for n in range(40))


class Counting(DocumentProcessor[dict[str, Any]]):
    """Counts its events."""

    def __init__(self, recipient: Recipient) -> None:
        super().__init__(recipient, dict)

    async def prepare_mutation(
        self, events: Sequence[Event], state: dict[str, Any]
    ) -> Mutation[dict[str, Any]]:
        return Mutation([Transition({"n": state.get("n", 0) + len(events)}, events=events)])


class Growing:
    """A recipient of a database of its own, that gets a thousand events at a time."""

    def __init__(self) -> None:
        client = Emulator().client()
        self.box, self.to = EventBox(client), Recipient(client.document("orders/1"), "order")

    async def batch(self) -> float:
        """Consume another thousand; the CPU time that the batch took, in seconds."""
        emits = (self.box.emit_many([NewEvent(b"x") for _ in range(500)], self.to) for _ in range(2))
        await asyncio.gather(*emits)
        began = time.process_time()
        await self.box.process_batch(self.to, Counting(self.to))
        return time.process_time() - began


@pytest.mark.slow
@pytest.mark.timeout(600)
async def test_100_000_events_through_one_recipient_do_not_slow_it_down() -> None:
    old, young = Growing(), Growing()
    for _ in range(75):
        await old.batch()
    # in turns: what else the machine has to do, both meet alike
    durations = [(await old.batch(), await young.batch()) for _ in range(25)]
    snapshot = await old.to.ref.get()
    assert snapshot.get("n") == 100_000
    assert await old.box.list_events(old.to) == []
    of_old, of_young = map(statistics.median, zip(*durations, strict=True))
    assert of_old <= 1.5 * of_young
