"""The promises of a DSSet, one by one, over each front."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition, NotFound
from google.cloud.firestore import AsyncClient, async_transactional

from dsset import DSSet, Item, ListedItem, Listing
from dsset.wire import Wire


@pytest.fixture
def dsset(client: AsyncClient) -> DSSet:
    return DSSet(client.document("queues/1"))


async def ids(dsset: DSSet, max_items: int = 1_000) -> set[str]:
    return {item.id for item in (await dsset.list(max_items)).items}


async def pop(dsset: DSSet, client: AsyncClient, *wanted: str, listing: Any = None) -> None:
    listing = listing or await dsset.list(1_000)

    @async_transactional
    async def body(transaction: Any) -> None:
        dsset.pop(transaction, listing, wanted)

    await body(client.transaction())


async def add_in_transaction(dsset: DSSet, client: AsyncClient, *items: Item) -> list[bool]:
    @async_transactional
    async def body(transaction: Any) -> list[bool]:
        return await dsset.add(items, transaction=transaction)

    result: list[bool] = await body(client.transaction())
    return result


async def test_add_tells_which_were_new_and_the_first_of_equal_ids_counts(dsset: DSSet) -> None:
    assert await dsset.add([Item("a", b"1")]) == [True]
    assert await dsset.add([Item("a", b"2"), Item("b", b"3"), Item("b", b"4")]) == [False, True, False]
    assert {item.id: item.value for item in (await dsset.list(9)).items} == {"a": b"1", "b": b"3"}


async def test_adding_nothing_is_nothing(dsset: DSSet) -> None:
    assert await dsset.add([]) == []


async def test_a_set_under_another_document_has_the_same_settings_and_items_of_its_own(
    client: AsyncClient,
) -> None:
    moment = timedelta(microseconds=1)
    one = DSSet(client.document("queues/1"), name="tasks", tombstones_delay=moment)
    other = one.under(client.document("queues/2"))
    assert (await one.add([Item("a", b"1")]), await other.add([Item("a", b"2")])) == ([True], [True])
    await pop(other, client, "a")
    assert await other.add([Item("a", b"3")]) == [True]  # its delay has passed
    assert [item.value for item in (await one.list(9)).items] == [b"1"]
    stored = {ref.parent.id async for ref in client.document("queues/2").collection("tasks").list_documents()}
    assert stored == {"tasks"}


async def test_a_listed_item_is_as_it_was_added_with_the_servers_time(
    dsset: DSSet, client: AsyncClient
) -> None:
    await dsset.add([Item("a", b"1", metadata={"k": "v"})])
    (item,) = (await dsset.list(9)).items
    assert (item.id, item.value, item.process_after, dict(item.metadata)) == ("a", b"1", None, {"k": "v"})
    assert isinstance(item, Item)
    (document,) = [snapshot async for snapshot in client.collection_group("dsset").stream()]
    assert item.created_at == document.create_time.ToDatetime(tzinfo=UTC)


async def test_a_listing_has_a_read_time_that_is_not_before_its_items(dsset: DSSet) -> None:
    await dsset.add([Item("a", b"")])
    listing = await dsset.list(9)
    assert listing.read_time >= listing.items[0].created_at
    assert isinstance(listing.read_time, datetime)


async def test_an_empty_set_lists_nothing_and_has_a_read_time(dsset: DSSet) -> None:
    listing = await dsset.list(9)
    assert (list(listing.items), listing.complete) == ([], True)
    assert listing.read_time.utcoffset() == timedelta(0)


async def test_list_is_bounded_and_says_whether_it_is_complete(dsset: DSSet) -> None:
    await dsset.add([Item(str(n), b"x" * 100) for n in range(10)])
    assert len((await dsset.list(3)).items) == 3
    assert not (await dsset.list(3)).complete
    assert (await dsset.list(11)).complete
    by_bytes = await dsset.list(10, max_bytes=250)
    assert (len(by_bytes.items), by_bytes.complete) == (2, False)
    assert len((await dsset.list(10, max_bytes=1)).items) == 1


async def test_a_popped_item_is_gone_and_its_id_is_used(dsset: DSSet, client: AsyncClient) -> None:
    await dsset.add([Item("a", b""), Item("b", b"")])
    await pop(dsset, client, "a")
    assert await ids(dsset) == {"b"}
    assert await dsset.add([Item("a", b"")]) == [False]
    assert await add_in_transaction(dsset, client, Item("a", b"again")) == []
    assert await ids(dsset) == {"b"}


async def test_of_two_that_pop_the_same_item_one_commits(dsset: DSSet, client: AsyncClient) -> None:
    await dsset.add([Item("a", b""), Item("b", b"")])
    listing = await dsset.list(9)
    await pop(dsset, client, "a", listing=listing)
    with pytest.raises(FailedPrecondition):
        await pop(dsset, client, "a", "b", listing=listing)
    assert await ids(dsset) == {"b"}


async def test_a_failed_transaction_pops_nothing(dsset: DSSet, client: AsyncClient) -> None:
    await dsset.add([Item("a", b"")])
    listing = await dsset.list(9)

    @async_transactional
    async def body(transaction: Any) -> None:
        dsset.pop(transaction, listing, ["a"])
        raise KeyError

    with pytest.raises(KeyError):
        await body(client.transaction())
    assert await ids(dsset) == {"a"}


async def test_what_another_set_has_listed_is_not_popped_there(dsset: DSSet, client: AsyncClient) -> None:
    below = DSSet(client.document(f"{dsset._prefix.split('/documents/')[1]}a"))
    await below.add([Item("a", b"")])
    with pytest.raises((FailedPrecondition, NotFound)):
        await pop(dsset, client, "a", listing=await below.list(9))
    assert await ids(below) == {"a"}


async def test_an_item_under_another_id_is_not_popped_by_the_one_that_it_was_made_of(
    dsset: DSSet, client: AsyncClient
) -> None:
    await dsset.add([Item("a", b"")])
    listing = await dsset.list(9)
    listing = replace(listing, items=[replace(listing.items[0], id="other")])
    with pytest.raises((FailedPrecondition, NotFound)):
        await pop(dsset, client, "other", listing=listing)
    assert await ids(dsset) == {"a"}


async def test_pop_refuses_an_item_that_was_not_listed(dsset: DSSet, client: AsyncClient) -> None:
    by_hand = Listing([ListedItem("a", b"")], datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(ValueError, match="'a': its listing was made by hand"):
        dsset.pop(client.transaction(), by_hand, ["a"])


async def test_pop_refuses_what_is_not_in_the_listing(dsset: DSSet, client: AsyncClient) -> None:
    await dsset.add([Item("a", b"")])
    listing = await dsset.list(9)
    transaction = client.transaction()
    with pytest.raises(ValueError, match="'b': it is not in the listing"):
        dsset.pop(transaction, listing, ["b"])
    with pytest.raises(ValueError, match="twice"):
        dsset.pop(transaction, listing, ["a", "a"])
    assert transaction._write_pbs == []


async def test_an_add_in_a_transaction_reads_nothing_and_takes_part_in_its_commit(
    dsset: DSSet, client: AsyncClient
) -> None:
    assert await add_in_transaction(dsset, client, Item("a", b"1"), Item("b", b"2")) == []
    assert await ids(dsset) == {"a", "b"}
    await add_in_transaction(dsset, client, Item("a", b"1"))
    assert await dsset.add([Item("a", b"")]) == [False]


async def test_of_equal_ids_in_a_transaction_the_first_counts(dsset: DSSet, client: AsyncClient) -> None:
    await add_in_transaction(dsset, client, Item("a", b"1"), Item("a", b"2"))
    assert [item.value for item in (await dsset.list(9)).items] == [b"1"]


async def test_deleted_items_are_gone_and_their_ids_are_used(dsset: DSSet) -> None:
    await dsset.add([Item(str(n), b"") for n in range(1_100)])
    await dsset.delete(str(n) for n in range(1_099))
    assert await ids(dsset, 2_000) == {"1099"}
    assert await dsset.add([Item("7", b"")]) == [False]
    await dsset.delete(["7", "7"])
    await dsset.delete([])


async def test_an_id_that_was_deleted_before_its_add_arrived_stays_deleted(dsset: DSSet) -> None:
    await dsset.delete(["a"])
    assert await dsset.add([Item("a", b"")]) == [False]
    assert await ids(dsset) == set()


async def test_a_delete_between_list_and_pop_makes_the_pop_fail(dsset: DSSet, client: AsyncClient) -> None:
    await dsset.add([Item("a", b"")])
    listing = await dsset.list(9)
    await dsset.delete(["a"])
    with pytest.raises(FailedPrecondition):
        await pop(dsset, client, "a", listing=listing)


async def test_list_all_has_also_what_is_not_due_and_pages(dsset: DSSet) -> None:
    later = datetime(2090, 1, 1, tzinfo=UTC)
    await dsset.add([Item(str(n), b"", later if n % 2 else None) for n in range(2_010)])
    assert len((await dsset.list_all()).items) == 2_010
    assert len((await dsset.list(5_000)).items) == 1_005


async def test_sets_of_other_names_and_parents_are_apart(client: AsyncClient) -> None:
    one = DSSet(client.document("queues/1"))
    other = DSSet(client.document("queues/1"), name="eventbox_other")
    below = DSSet(client.document("queues/1/dsset/x"))
    await one.add([Item("a", b"")])
    assert await ids(other) == set()
    assert await ids(below) == set()


async def test_the_states_tell_who_popped_what(dsset: DSSet, client: AsyncClient) -> None:
    await dsset.add([Item("a", b""), Item("b", b""), Item("c", b"")])
    listing = await dsset.list(9)

    @async_transactional
    async def body(transaction: Any) -> None:
        dsset.pop(transaction, listing, ["a"], token=b"me")

    await body(client.transaction())
    await dsset.delete(["a", "b"])
    states = await dsset.states(["a", "b", "c", "d"])
    assert states["d"] is None
    told = {key: (state.gone, state.popped_by) for key, state in states.items() if state is not None}
    assert told == {"a": (True, b"me"), "b": (True, b""), "c": (False, b"")}


async def test_items_that_are_left_out_of_a_listing_bound_nothing(dsset: DSSet) -> None:
    await dsset.add([Item(str(n), b"x" * 10) for n in range(10)])
    first = {item.id for item in (await dsset.list(4)).items}
    listing = await dsset.list(4, without=first)
    assert (len(listing.items), listing.complete) == (4, False)
    assert not first & listing.by_id.keys()
    listing = await dsset.list(7, without=first)
    assert (len(listing.items), listing.complete) == (6, True)
    assert len((await dsset.list(9, without=first, max_bytes=25)).items) == 2
    assert len((await dsset.list(9, without=["unknown"])).items) == 9
    assert listing.only({"unknown", listing.items[0].id}).items == listing.items[:1]


async def test_an_item_is_put_back_in_spite_of_its_tombstone_and_once(
    dsset: DSSet, client: AsyncClient
) -> None:
    async def put_back(item: ListedItem) -> None:
        state = (await dsset.states([item.id]))[item.id]
        await Wire.of(client).commit([dsset.restoring(item, state)])

    await dsset.add([Item("a", b"1", metadata={"k": "v"})])
    (item,) = (await dsset.list(9)).items
    with pytest.raises(ValueError, match="it is in the set"):
        await put_back(item)
    await pop(dsset, client, "a")
    state = (await dsset.states(["a"]))["a"]
    await put_back(item)
    assert (await dsset.list(9)).items == (item,)
    assert await dsset.add([Item("a", b"2")]) == [False]
    with pytest.raises(FailedPrecondition):
        await Wire.of(client).commit([dsset.restoring(item, state)])
    await pop(dsset, client, "a")
    assert await dsset.add([Item("a", b"3")]) == [False]
    assert await ids(dsset) == set()
