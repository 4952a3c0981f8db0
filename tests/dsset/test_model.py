"""A DSSet against a model, whatever the order of adds, pops, deletes, time, TTL, and transactions."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import hypothesis.strategies as st
from google.api_core.exceptions import FailedPrecondition, NotFound
from google.cloud.firestore import async_transactional
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from dsset import DSSet, Item, Listing, documents
from emulator.firestore import Emulator, Fault
from eventbox.testing import ManualClock
from tests.advancing import while_advancing

DELAY = timedelta(hours=24)
IDS = st.sampled_from(["a", "b/c", "__x__", "é\0"])
INDEXES = Path(__file__).parents[2] / "firestore.indexes.json"


@dataclass
class Entry:
    """What the model knows of an ID: in the set (of which generation), or gone since a time, and until TTL takes it."""

    generation: int
    gone_since: timedelta | None = None
    taken_at: timedelta = timedelta(0)
    added_since: bool = False  # in a transaction: the tombstone bears the value again


class DSSetMachine(RuleBasedStateMachine):
    """Rules are what may happen; the invariant is that the set lists what the model holds.

    With `ttl`, tombstones go as soon as their time is up; without, they stay for ever. Both must look the same, but for
    an add in a transaction, which sees tombstones that TTL has left.
    """

    ttl = False

    def __init__(self) -> None:
        super().__init__()
        self.loop = asyncio.new_event_loop()
        self.clock = ManualClock()
        self.emulator = Emulator(clock=self.clock, indexes=INDEXES if self.ttl else None)
        self.client = self.emulator.client()
        self.dsset = DSSet(
            self.client.document("queues/1"), tombstones_delay=DELAY, clock=self.clock, rng=Random(0)
        )
        self.now = timedelta(0)
        self.generation = 0
        self.model: dict[str, Entry] = {}
        self.listings: list[tuple[Listing, dict[str, int]]] = []

    def run(self, coroutine: Coroutine[Any, Any, Any]) -> Any:
        return self.loop.run_until_complete(while_advancing_nothing(coroutine))

    def teardown(self) -> None:
        self.loop.close()

    def put(self, item_id: str) -> None:
        self.generation += 1
        self.model[item_id] = Entry(self.generation)

    def is_new(self, item_id: str) -> bool:
        entry = self.model.get(item_id)
        return entry is None or (entry.gone_since is not None and self.now - entry.gone_since >= DELAY)

    @rule(item_id=IDS, copies=st.integers(1, 2))
    def add(self, item_id: str, copies: int) -> None:
        expected = self.is_new(item_id)
        result = self.run(self.dsset.add([Item(item_id, item_id.encode())] * copies))
        assert result == [expected, False][:copies]
        if expected:
            self.put(item_id)

    @rule(
        item_id=IDS,
        when=st.sampled_from(["before", "after", "late"]),
        error=st.sampled_from(["UNAVAILABLE", "ABORTED"]),
    )
    def add_with_a_lost_answer(self, item_id: str, when: Any, error: str) -> None:
        expected = self.is_new(item_id)
        self.emulator.faults.add(
            Fault(rpc="BatchWrite", error=error, when=when, latency=timedelta(milliseconds=when == "late"))
        )
        before = self.clock.monotonic()
        add = self.dsset.add([Item(item_id, item_id.encode())])
        assert self.loop.run_until_complete(while_advancing(self.clock, add)) == [expected]
        self.now += timedelta(seconds=self.clock.monotonic() - before)
        if expected:
            self.put(item_id)

    @rule(item_id=IDS)
    def add_in_a_transaction(self, item_id: str) -> None:
        entry = self.model.get(item_id)
        self.transact(
            lambda transaction: self.dsset.add([Item(item_id, item_id.encode())], transaction=transaction)
        )
        if entry is None:
            self.put(item_id)
        elif entry.gone_since is not None:
            if not entry.added_since:  # a second time changes nothing, and so neither does its time
                entry.gone_since = self.now  # its delay counts anew, but TTL takes it when it would have
            entry.added_since = True

    @rule(max_items=st.integers(1, 5))
    def list_some(self, max_items: int) -> None:
        listing = self.run(self.dsset.list(max_items))
        held = {key: entry.generation for key, entry in self.model.items() if entry.gone_since is None}
        assert len(listing.items) == min(max_items, len(held))
        self.listings.append((listing, {item.id: held[item.id] for item in listing.items}))

    @precondition(lambda self: self.listings)
    @rule(data=st.data())
    def pop(self, data: st.DataObject) -> None:
        listing, generations = data.draw(st.sampled_from(self.listings))
        ids = data.draw(st.sets(st.sampled_from(sorted(generations)))) if generations else set()
        current = [
            item_id in self.model
            and self.model[item_id].gone_since is None
            and self.model[item_id].generation == generations[item_id]
            for item_id in ids
        ]

        async def pop(transaction: Any) -> None:
            self.dsset.pop(transaction, listing, ids)

        try:
            self.transact(pop)
        except (FailedPrecondition, NotFound):
            assert not all(current)
        else:
            assert all(current)
            for item_id in ids:
                self.model[item_id].gone_since = self.now
                self.model[item_id].taken_at = self.now + DELAY + documents.TTL_MARGIN
                self.model[item_id].added_since = False

    @rule(item_id=IDS)
    def delete(self, item_id: str) -> None:
        self.run(self.dsset.delete([item_id]))
        self.generation += 1
        self.model[item_id] = Entry(self.generation, self.now, self.now + DELAY + documents.TTL_MARGIN)

    @rule(hours=st.sampled_from([1, 23, 24, 25, 100]))
    def time_passes(self, hours: int) -> None:
        # a second more: commit times run ahead of a clock that stands still by microseconds
        passed = timedelta(hours=hours, seconds=1)
        self.clock.advance(passed)
        self.now += passed
        if self.ttl:
            for item_id, entry in list(self.model.items()):
                if entry.gone_since is not None and self.now >= entry.taken_at:
                    del self.model[item_id]

    @invariant()
    def the_set_lists_what_the_model_holds(self) -> None:
        listing = self.run(self.dsset.list(100))
        held = {key for key, entry in self.model.items() if entry.gone_since is None}
        assert {item.id for item in listing.items} == held
        assert all(item.value == item.id.encode() for item in listing.items)

    def transact(self, fn: Any) -> None:
        @async_transactional
        async def body(transaction: Any) -> None:
            await fn(transaction)

        self.run(body(self.client.transaction()))


class DSSetMachineWithTTL(DSSetMachine):
    ttl = True


async def while_advancing_nothing(coroutine: Coroutine[Any, Any, Any]) -> Any:
    """Without a fault nothing sleeps: whatever would, hangs the test."""
    return await coroutine


TestWithoutTTL = DSSetMachine.TestCase
TestWithTTL = DSSetMachineWithTTL.TestCase
TestWithoutTTL.settings = TestWithTTL.settings = settings(
    max_examples=40, stateful_step_count=25, deadline=None
)
