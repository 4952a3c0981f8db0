"""Adds that share RPCs, whatever comes between: lost answers, cancellations, consumption, and items that are refused.

Each add has to come out as it would have alone: what it says is so, and nobody else's fate shows in it.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

import hypothesis.strategies as st
import pytest
from google.api_core.exceptions import FailedPrecondition
from hypothesis import given

from dsset import AddError, DSSet, Item
from dsset.shared_adds import SharedAdds
from emulator.firestore import Emulator, Fault
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.dsset.test_dsset import pop

BAD = "refused"  # whatever is added to this set, the whole request is refused
SETS = ["one", "two", BAD]
IDS = ["a", "b", "c"]


@dataclass(frozen=True)
class Add:
    """Some items for a set, in one call."""

    to: str
    ids: tuple[str, ...]
    size: int


@dataclass(frozen=True)
class Cancel:
    """Give up an add that was begun."""

    add: int


@dataclass(frozen=True)
class Consume:
    """Pop all items of a set that are there now."""

    of: str


@dataclass(frozen=True)
class Go:
    """Let what is under way go on, for so many turns of the event loop."""

    turns: int


@dataclass(frozen=True)
class Lose:
    """Let a write fail, or its answer be lost."""

    error: str
    when: Any


ADDS = st.builds(
    Add,
    to=st.sampled_from(SETS),
    ids=st.lists(st.sampled_from(IDS), min_size=1, max_size=3, unique=True).map(tuple),
    size=st.sampled_from([1, 1, 1, 900_000]),
)
STEPS = st.one_of(
    ADDS,
    ADDS,
    st.builds(Cancel, add=st.integers(0, 9)),
    st.builds(Consume, of=st.sampled_from(["one", "two"])),
    st.builds(Go, turns=st.sampled_from([1, 2, 5, 30])),
    st.builds(
        Lose,
        error=st.sampled_from(["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED"]),
        when=st.sampled_from(["before", "after", "late"]),
    ),
)


class World:
    """The sets, what was begun, and what was consumed."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.emulator = Emulator(clock=self.clock)
        self.client = self.emulator.client()
        shared = SharedAdds(
            self.client, tombstones_delay=timedelta(hours=24), clock=self.clock, rng=Random(1)
        )
        self.sets = {
            name: DSSet(self.client.document(f"sets/{name}"), clock=self.clock, shared_adds=shared)
            for name in SETS
        }
        self.emulator.faults.add(
            Fault(rpc="BatchWrite", error="INVALID_ARGUMENT", path=f"sets/{BAD}/dsset/*", times=None)
        )
        self.begun: list[tuple[Add, asyncio.Task[list[bool]]]] = []
        self.cancelled: set[int] = set()
        self.consumed: dict[tuple[str, str], list[bytes]] = {}

    def value(self, number: int, add: Add) -> bytes:
        """That of all its items; another one for each add."""
        return bytes([number]) * add.size

    async def take(self, step: Any) -> None:
        match step:
            case Add():
                value = self.value(len(self.begun), step)
                adding = self.sets[step.to].add([Item(item_id, value) for item_id in step.ids])
                self.begun.append((step, asyncio.create_task(adding)))
            case Cancel(number) if number < len(self.begun) and not self.begun[number][1].done():
                self.begun[number][1].cancel()
                self.cancelled.add(number)
            case Consume(name):
                await self.consume(name)
            case Go(turns):
                for _ in range(turns):
                    await asyncio.sleep(0)
            case Lose(error, when):
                self.emulator.faults.add(
                    Fault(
                        rpc="BatchWrite",
                        error=error,
                        when=when,
                        latency=timedelta(milliseconds=50 if when == "late" else 0),
                    )
                )

    async def consume(self, name: str) -> None:
        listing = await self.sets[name].list(100)
        try:
            await pop(self.sets[name], self.client, *(item.id for item in listing.items), listing=listing)
        except FailedPrecondition:
            return
        for item in listing.items:
            self.consumed.setdefault((name, item.id), []).append(item.value)

    def check(self, results: list[Any]) -> None:
        new: dict[tuple[str, str], list[bytes]] = {}
        unsure: set[tuple[str, str]] = set()
        for number, ((add, _), result) in enumerate(zip(self.begun, results, strict=True)):
            if number in self.cancelled:
                assert isinstance(result, asyncio.CancelledError | list | AddError)
            if isinstance(result, asyncio.CancelledError):
                unsure.update((add.to, item_id) for item_id in add.ids)
            elif add.to == BAD:
                assert isinstance(result, AddError)
            else:
                assert isinstance(result, list), result
                for item_id, was_new in zip(add.ids, result, strict=True):
                    found = self.consumed.get((add.to, item_id), [])
                    assert len(found) == 1, "lost, or there twice"
                    if was_new:
                        new.setdefault((add.to, item_id), []).append(self.value(number, add))
        for key, values in self.consumed.items():
            assert len(values) == 1, "back after it was consumed"
            if key in new:
                assert new[key] == values, "new to another than the one whose value was stored"
            else:
                assert key in unsure, "there, and new to nobody"


async def run(steps: list[Any]) -> None:
    world = World()

    async def history() -> list[Any]:
        for step in steps:
            await world.take(step)
        results = await asyncio.gather(*(task for _, task in world.begun), return_exceptions=True)
        await world.clock.sleep(timedelta(seconds=1))  # what is late has come by then
        for name in ("one", "two"):
            await world.consume(name)
        return results

    world.check(await while_advancing(world.clock, history()))


@pytest.mark.slow
@given(steps=st.lists(STEPS, max_size=25))
def test_each_add_comes_out_as_it_would_alone(steps: list[Any]) -> None:
    asyncio.run(run(steps))
