"""Tombstones that expire, adds that are sent again, and statuses that differ from item to item."""

from __future__ import annotations

import asyncio
import pickle
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import GoogleAPICallError, PermissionDenied, ServiceUnavailable
from google.cloud.firestore import AsyncClient
from grpc import StatusCode

from dsset import AddError, DSSet, Item
from dsset.adding import Adding
from emulator.firestore import Emulator, Fault
from eventbox.testing import ManualClock
from tests.advancing import sent, while_advancing
from tests.dsset.test_dsset import add_in_transaction, ids, pop

DAY = timedelta(hours=24)


@pytest.fixture
def dsset(local_client: AsyncClient, clock: ManualClock) -> DSSet:
    return DSSet(local_client.document("queues/1"), clock=clock)


@pytest.mark.parametrize("how", ["pop", "delete"])
async def test_an_id_may_be_used_again_once_the_delay_has_passed_though_its_tombstone_lies_there(
    dsset: DSSet, local_client: AsyncClient, clock: ManualClock, how: str
) -> None:
    await dsset.add([Item("a", b"1")])
    first = (await dsset.list(9)).items[0].created_at
    clock.advance(timedelta(hours=1))
    await (pop(dsset, local_client, "a") if how == "pop" else dsset.delete(["a"]))
    clock.advance(DAY - timedelta(seconds=1))
    assert await dsset.add([Item("a", b"2")]) == [False]
    clock.advance(timedelta(seconds=1))
    assert await dsset.add([Item("a", b"3")]) == [True]
    (item,) = (await dsset.list(9)).items
    assert item.value == b"3"
    assert item.created_at - first >= DAY + timedelta(hours=1)
    (document,) = [snapshot async for snapshot in local_client.collection_group("dsset").stream()]
    assert "expire_at" not in document.to_dict()
    await pop(dsset, local_client, "a")
    assert await dsset.add([Item("a", b"4")]) == [False]


async def test_in_a_transaction_an_id_counts_as_used_for_as_long_as_its_tombstone_lies_there(
    dsset: DSSet, local_client: AsyncClient, clock: ManualClock
) -> None:
    await dsset.add([Item("a", b"1")])
    await pop(dsset, local_client, "a")
    clock.advance(2 * DAY)
    await add_in_transaction(dsset, local_client, Item("a", b"2"))
    assert await ids(dsset) == set()


async def test_a_tombstone_expires_by_the_servers_times_and_not_by_ours(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    fast = DSSet(local_client.document("queues/1"), clock=ManualClock(clock.now() + 2 * DAY))
    await fast.add([Item("a", b"1")])
    await pop(fast, local_client, "a")
    assert await fast.add([Item("a", b"2")]) == [False]


async def test_a_clock_that_lags_does_not_let_ttl_take_a_tombstone_early(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    slow = DSSet(local_client.document("queues/1"), clock=ManualClock(clock.now() - timedelta(hours=5)))
    await DSSet(local_client.document("queues/1"), clock=clock).add([Item("a", b"1")])
    listing = await DSSet(local_client.document("queues/1"), clock=clock).list(9)
    await pop(slow, local_client, "a", listing=listing)
    (document,) = [snapshot async for snapshot in local_client.collection_group("dsset").stream()]
    assert document.get("expire_at") - clock.now() >= DAY - timedelta(seconds=1)


async def test_nor_does_it_for_a_deleted_item_whose_listing_is_known(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    slow = DSSet(local_client.document("queues/1"), clock=ManualClock(clock.now() - timedelta(hours=5)))
    await slow.delete(["a"], not_before=clock.now())
    (document,) = [snapshot async for snapshot in local_client.collection_group("dsset").stream()]
    assert document.get("expire_at") - clock.now() >= DAY


async def test_ttl_leaves_a_tombstone_for_longer_than_its_pop_may_have_been_under_way(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    """It counts from when the pop is carried out, and TTL by what was written when it was sent."""
    dsset = DSSet(local_client.document("queues/1"), clock=clock)
    await dsset.add([Item("a", b"1")])
    transaction = local_client.transaction()
    dsset.pop(transaction, await dsset.list(9), ["a"])
    clock.advance(timedelta(minutes=5))
    await transaction._begin()
    await transaction._commit()
    (document,) = [snapshot async for snapshot in local_client.collection_group("dsset").stream()]
    assert document.get("expire_at") - clock.now() >= DAY


async def test_a_late_add_in_a_transaction_leaves_the_token_so_that_a_resend_knows_its_own_work(
    emulator: Emulator, dsset: DSSet, local_client: AsyncClient, clock: ManualClock
) -> None:
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", when="after"))
    adding = asyncio.create_task(dsset.add([Item("a", b"1")]))
    await sent(emulator, "BatchWrite")
    await asyncio.sleep(0)
    assert await ids(dsset) == {"a"}
    await pop(dsset, local_client, "a")
    await add_in_transaction(dsset, local_client, Item("a", b"1"))
    assert await while_advancing(clock, adding) == [True]
    assert await ids(dsset) == set()


async def test_a_request_that_arrives_late_adds_nothing_twice(
    emulator: Emulator, dsset: DSSet, local_client: AsyncClient, clock: ManualClock
) -> None:
    emulator.faults.add(
        Fault(rpc="BatchWrite", error="UNAVAILABLE", when="late", latency=timedelta(seconds=9))
    )
    assert await while_advancing(clock, dsset.add([Item("a", b"1")])) == [True]
    await pop(dsset, local_client, "a")
    clock.advance(timedelta(seconds=20))
    await asyncio.sleep(0)
    assert await ids(dsset) == set()


@pytest.mark.parametrize("rpc", ["BatchWrite", "BatchGetDocuments"])
async def test_what_cannot_be_added_is_told_item_by_item(
    emulator: Emulator, dsset: DSSet, clock: ManualClock, rpc: str
) -> None:
    await dsset.add([Item("old", b"")])
    emulator.faults.add(Fault(rpc=rpc, error="PERMISSION_DENIED", times=None))
    items = [Item("old", b""), Item("new", b""), Item("old", b"")]
    with pytest.raises(AddError, match="adding them again") as caught:
        await dsset.add(items)
    if rpc == "BatchWrite":
        assert caught.value.results == (None, None, None)
    else:
        assert caught.value.results == (None, True, None)
    assert all(isinstance(error, PermissionDenied) for error in caught.value.errors.values())
    assert isinstance(caught.value.__cause__, PermissionDenied)
    copy = pickle.loads(pickle.dumps(caught.value))
    assert copy.results == caught.value.results


async def test_transient_errors_are_retried_until_the_timeout(
    emulator: Emulator, dsset: DSSet, clock: ManualClock
) -> None:
    for rpc in ("BatchWrite", "BatchGetDocuments", "RunQuery"):
        emulator.faults.add(Fault(rpc=rpc, error="UNAVAILABLE", times=3))
    assert await while_advancing(clock, dsset.add([Item("a", b"")])) == [True]
    assert await while_advancing(clock, dsset.add([Item("a", b"")])) == [False]
    assert len((await while_advancing(clock, dsset.list(9))).items) == 1
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", times=2))
    await while_advancing(clock, dsset.delete(["a"]))
    emulator.faults.add(Fault(error="UNAVAILABLE", times=None))
    calls: list[Any] = [dsset.list(9), dsset.delete(["a"]), dsset.list_all(), dsset.states(["a"])]
    for call in calls:
        began = clock.monotonic()
        with pytest.raises(ServiceUnavailable):
            await while_advancing(clock, call)
        assert 30 < clock.monotonic() - began <= 60


async def test_an_rpc_that_hangs_is_given_up_in_time_for_another(
    emulator: Emulator, dsset: DSSet, clock: ManualClock
) -> None:
    emulator.faults.add(Fault(rpc="BatchWrite", latency=timedelta(hours=1)))
    assert await while_advancing(clock, dsset.add([Item("a", b"")])) == [True]
    assert clock.monotonic() < 60


async def test_a_tombstone_that_ttl_takes_while_it_is_looked_at_does_not_stop_the_add(
    emulator: Emulator, dsset: DSSet, local_client: AsyncClient, clock: ManualClock
) -> None:
    await dsset.add([Item("a", b"1")])
    await pop(dsset, local_client, "a")
    clock.advance(DAY)
    (document,) = [snapshot async for snapshot in local_client.collection_group("dsset").stream()]
    # the look is slow; meanwhile the tombstone goes, so that first it is missing, then there is nothing to revive
    for rpc in ("BatchGetDocuments", "BatchWrite"):
        emulator.faults.add(Fault(rpc="BatchGetDocuments", latency=timedelta(seconds=5)))
        if rpc == "BatchWrite":
            await document.reference.set(document.to_dict())
            clock.advance(DAY)
        adding = asyncio.create_task(dsset.add([Item("a", b"2")]))
        emulator.counts.reset()
        await sent(emulator, "BatchGetDocuments")
        await document.reference.delete()
        assert await while_advancing(clock, adding) == [True]
        await document.reference.delete()


def test_statuses_that_google_does_not_know_are_retried() -> None:
    adding = Adding("name", Item("a", b""))
    assert adding.written(StatusCode.UNKNOWN, "?") is True
    assert adding.written(StatusCode.PERMISSION_DENIED, "no") is False
    assert isinstance(adding.outcome, GoogleAPICallError)
