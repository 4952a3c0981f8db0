"""Listings of more items than are taken in at once."""

from __future__ import annotations

import pytest
from google.cloud.firestore import AsyncClient

from dsset import DSSet, Item
from emulator.firestore import Emulator, Fault
from eventbox.testing import ManualClock
from tests.advancing import while_advancing

ITEMS = 150


@pytest.fixture
async def dsset(client: AsyncClient) -> DSSet:
    full = DSSet(client.document("queues/1"))
    await full.add(Item(f"{n}", bytes(10)) for n in range(ITEMS))
    return full


async def test_each_item_is_listed_once_and_the_next_listing_goes_on_behind_the_cursor(dsset: DSSet) -> None:
    first = await dsset.list(100)
    second = await dsset.list(100, after=first.cursor)
    assert [len(first.items), first.complete] == [100, False]
    assert [len(second.items), second.complete] == [50, True]
    assert {item.id for item in (*first.items, *second.items)} == {str(n) for n in range(ITEMS)}


async def test_bytes_bound_it_wherever_they_are_used_up(dsset: DSSet) -> None:
    for fit in (1, 63, 64, 65, 130):
        listing = await dsset.list(1_000, max_bytes=10 * fit + 9)
        assert (len(listing.items), listing.complete) == (fit, False)
        behind = await dsset.list(1_000, after=listing.cursor)
        assert len(behind.items) == ITEMS - fit
        assert not {item.id for item in listing.items} & {item.id for item in behind.items}


async def test_what_is_left_out_bounds_nothing(dsset: DSSet) -> None:
    listing = await dsset.list(100, without={str(n) for n in range(100)})
    assert {item.id for item in listing.items} == {str(n) for n in range(100, ITEMS)}
    assert listing.complete


async def test_one_that_breaks_off_is_listed_anew_as_a_whole(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock
) -> None:
    dsset = DSSet(local_client.document("queues/1"), clock=clock)
    await dsset.add(Item(f"{n}", b"x") for n in range(ITEMS))
    emulator.faults.add(Fault(rpc="RunQuery", error="UNAVAILABLE", when="after", times=1))
    listing = await while_advancing(clock, dsset.list(1_000))
    assert (len(listing.items), listing.complete) == (ITEMS, True)
    assert emulator.counts.rpcs["RunQuery"] == 2
