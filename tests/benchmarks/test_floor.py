"""The floors make the RPCs that ours makes, are billed the same, and leave the same behind: the comparison is fair."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from benchmarks.drain import Drains, batches
from benchmarks.emit import EMITTERS, Emits
from benchmarks.filling import INBOX
from benchmarks.process_batch import Batches
from emulator.firestore import Emulator

Prepare = Callable[[AsyncClient], Awaitable[Callable[[], Awaitable[Any]]]]
Left = dict[str, Any]

CHANGING = {"token", "popped_by", "expire_at", "created_at", "eventbox_token"}
"""What is another in each run."""


async def ran(prepare: Prepare) -> tuple[dict[str, int], int, int, list[Left], list[Left]]:
    """The RPCs, reads and writes of what was prepared; and the states and the inboxes that it leaves."""
    emulator = Emulator()
    client = emulator.client()
    work = await prepare(client)
    emulator.counts.reset()
    await work()
    counts = emulator.counts
    rpcs, reads, writes = dict(counts.rpcs), counts.reads, counts.writes
    states = [shape(one.to_dict()) async for one in client.collection("accounts").stream()]
    inbox = [shape(one.to_dict()) async for one in client.collection_group(INBOX).stream()]
    return rpcs, reads, writes, states, inbox


def shape(fields: Left) -> Left:
    return {name: type(value) if name in CHANGING else value for name, value in sorted(fields.items())}


@pytest.mark.parametrize("events", [1, 7])
async def test_a_batch(events: int) -> None:
    ours = await ran(lambda client: Batches(client).ours(events))
    floor = await ran(lambda client: Batches(client).raw(events))
    assert (
        floor[:3]
        == ours[:3]
        == (
            {"GetDocument": 1, "RunQuery": 1, "Commit": 1},
            events + 1,
            events + 1,
        )
    )
    assert floor[4] == ours[4]
    assert floor[3][0].keys() == ours[3][0].keys()


async def test_a_drain() -> None:
    ours = await ran(lambda client: Drains(client).ours(3, 0))
    floor = await ran(lambda client: Drains(client).raw(3, 0))
    assert (
        floor[:3]
        == ours[:3]
        == (
            {"GetDocument": 1, "RunQuery": batches(3), "Commit": batches(3)},
            3 * batches(3) + 1,
            4 * batches(3),
        )
    )
    assert floor[4] == ours[4]


async def test_an_emit() -> None:
    ours = await ran(lambda client: (emits := Emits(client)).ours(emits.box, 1, 2, 0))
    floor = await ran(lambda client: Emits(client).raw(1, 2, 0))
    assert floor[:3] == ours[:3] == ({"BatchWrite": 2}, 0, 2)
    assert floor[4] == ours[4]


async def test_emits_that_share_take_no_more_of_the_floor_than_of_ours() -> None:
    ours = await ran(lambda client: (emits := Emits(client)).ours(emits.sharing, EMITTERS, 2, 0))
    floor = await ran(lambda client: Emits(client).raw_shared(EMITTERS, 2, 0))
    assert floor[:3] == ({"BatchWrite": 4}, 0, 2 * EMITTERS)
    assert ours[0]["BatchWrite"] >= 4
    assert ours[1:3] == floor[1:3]


@pytest.mark.parametrize("way", ["outside", "in_one"])
async def test_the_plain_ways_consume_as_many(way: str) -> None:
    _, reads, _, states, _ = await ran(lambda client: getattr(Batches(client), way)(7))
    assert states[0]["total"] == 1 + 7 * 200
    assert states[0]["version"] == 2
    assert reads == {"outside": 9, "in_one": 8}[way]
