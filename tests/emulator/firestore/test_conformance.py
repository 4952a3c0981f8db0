"""google's own clients, asynchronous over each front and synchronous, doing what applications do."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore import AsyncClient, Client, FieldFilter, Or, async_transactional, transactional

from emulator.firestore import Emulator


@pytest.fixture
def sync() -> Client:
    return Emulator().sync_client()


EVERYTHING = {
    "null": None,
    "bool": True,
    "int": -(2**63),
    "float": 1.5,
    "text": "é\0",
    "bytes": b"\0\xff",
    "time": datetime(2030, 1, 2, 3, 4, 5, 678901, tzinfo=UTC),
    "geo": firestore.GeoPoint(47.0, 8.5),
    "list": [1, {"deep": [None]}],
    "map": {"odd key.`": {"x": 1}},
}


async def test_values_of_every_kind_come_back(client: AsyncClient) -> None:
    ref = client.document("a/1")
    await ref.set({**EVERYTHING, "ref": client.document("b/2")})
    data = (await ref.get()).to_dict() or {}
    assert data.pop("ref").path == "b/2"
    assert data == EVERYTHING


async def test_documents_are_created_set_merged_updated_and_deleted(client: AsyncClient) -> None:
    ref = client.document("a/1")
    await ref.create({"x": 1, "m": {"a": 1}})
    with pytest.raises(exceptions.AlreadyExists):
        await ref.create({})
    await ref.set({"m": {"b": 2}}, merge=True)
    await ref.update({"m.c": 3, "x": firestore.DELETE_FIELD})
    assert (await ref.get()).to_dict() == {"m": {"a": 1, "b": 2, "c": 3}}
    assert (await ref.get(["m.a"])).to_dict() == {"m": {"a": 1}}
    with pytest.raises(exceptions.NotFound, match="No document to update"):
        await client.document("a/2").update({"x": 1})
    await ref.delete()
    assert not (await ref.get()).exists
    await ref.delete()


async def test_preconditions_of_the_high_level_client_work(client: AsyncClient) -> None:
    ref = client.document("a/1")
    first = await ref.set({"x": 1})
    await ref.set({"x": 2})
    with pytest.raises(exceptions.FailedPrecondition):
        await ref.update({"x": 3}, option=client.write_option(last_update_time=first.update_time))
    with pytest.raises(exceptions.NotFound):
        await client.document("a/2").delete(option=client.write_option(exists=True))


async def test_many_documents_are_read_at_once(client: AsyncClient) -> None:
    for n in range(3):
        await client.document(f"a/{n}").set({"n": n})
    references = [client.document(f"a/{n}") for n in range(5)]
    found = {snapshot.id: snapshot.exists async for snapshot in client.get_all(references)}
    assert found == {"0": True, "1": True, "2": True, "3": False, "4": False}


async def test_queries_of_the_high_level_client_work(client: AsyncClient) -> None:
    cells = client.collection("cells")
    for n in range(10):
        await cells.document(str(n)).set({"n": n, "even": n % 2 == 0, "tags": ["all", str(n)]})

    async def ids(query: Any) -> list[str]:
        return [snapshot.id for snapshot in await query.get()]

    assert await ids(cells.where(filter=FieldFilter("n", ">", 7))) == ["8", "9"]
    assert await ids(
        cells.where(filter=FieldFilter("even", "==", True)).order_by("n", direction="DESCENDING").limit(2)
    ) == ["8", "6"]
    assert await ids(cells.order_by("n").start_after({"n": 7})) == ["8", "9"]
    assert await ids(cells.order_by("n").start_at(await cells.document("8").get())) == ["8", "9"]
    assert await ids(cells.order_by("n").end_before({"n": 2})) == ["0", "1"]
    assert await ids(cells.order_by("n").limit_to_last(2)) == ["8", "9"]
    assert await ids(cells.order_by("n").offset(8)) == ["8", "9"]
    assert await ids(cells.where(filter=FieldFilter("n", "in", [1, 3]))) == ["1", "3"]
    assert await ids(cells.where(filter=FieldFilter("tags", "array_contains", "4"))) == ["4"]
    assert await ids(cells.where(filter=Or([FieldFilter("n", "==", 1), FieldFilter("n", "==", 9)]))) == [
        "1",
        "9",
    ]
    (selected,) = await cells.where(filter=FieldFilter("n", "==", 3)).select(["even"]).get()
    assert selected.to_dict() == {"even": False}
    assert (await cells.count().get())[0][0].value == 10
    sums = await cells.sum("n", "total").avg("n", "mean").get()
    assert {one.alias: one.value for one in sums[0]} == {"total": 45, "mean": 4.5}
    assert await ids(client.collection_group("cells").where(filter=FieldFilter("n", "<", 2))) == ["0", "1"]


async def test_documents_and_collections_are_listed(client: AsyncClient) -> None:
    for path in ("a/1", "a/2/deep/x", "b/1"):
        await client.document(path).set({"n": 1})
    collections = client.collections()
    assert [one.id async for one in collections] == ["a", "b"]
    assert [one.id async for one in client.document("a/2").collections()] == ["deep"]
    assert [one.id async for one in client.collection("a").list_documents()] == ["1", "2"]
    assert [one.id async for one in client.collection("a").list_documents(page_size=1)] == ["1", "2"]


async def test_a_read_in_the_past_shows_what_was(client: AsyncClient) -> None:
    ref = client.document("a/1")
    await ref.set({"n": 1})
    then = (await ref.get()).read_time
    await ref.set({"n": 2})
    assert (await ref.get(read_time=then)).to_dict() == {"n": 1}
    old = await client.collection("a").where(filter=FieldFilter("n", "==", 1)).get(read_time=then)
    assert len(old) == 1


async def test_a_transaction_of_googles_own_reads_and_writes(client: AsyncClient) -> None:
    ref = client.document("a/1")
    await ref.set({"n": 1})

    @async_transactional
    async def body(transaction: Any) -> None:
        snapshot = await ref.get(transaction=transaction)
        found = [one async for one in client.collection("a").stream(transaction=transaction)]
        transaction.update(ref, {"n": snapshot.get("n") + len(found)})

    await body(client.transaction())
    assert (await ref.get()).to_dict() == {"n": 2}


async def test_batches_commit_at_once(client: AsyncClient) -> None:
    async with client.batch() as batch:
        for n in range(5):
            batch.set(client.document(f"a/{n}"), {"n": n})
    assert (await client.collection("a").count().get())[0][0].value == 5


async def test_a_create_without_an_id_makes_one(client: AsyncClient) -> None:
    _, ref = await client.collection("a").add({"n": 1})
    assert (await ref.get()).to_dict() == {"n": 1}


def test_whole_trees_are_deleted(sync: Client) -> None:
    for path in ("a/1", "a/1/b/2", "a/1/b/2/c/3", "a/1/bb/4", "d/1"):
        sync.document(path).set({})
    assert [one.reference.path for one in sync.collection("a/1/b").recursive().stream()] == [
        "a/1/b/2",
        "a/1/b/2/c/3",
    ]
    sync.recursive_delete(sync.document("a/1"))
    assert [one.id for one in sync.collections()] == ["d"]


def test_the_synchronous_client_does_the_same(sync: Client) -> None:
    ref = sync.document("a/1")
    ref.create(EVERYTHING)
    with pytest.raises(exceptions.AlreadyExists):
        ref.create({})
    assert ref.get().to_dict() == EVERYTHING
    ref.update({"int": firestore.Increment(1)})
    assert [
        one.id for one in sync.collection("a").where(filter=FieldFilter("bool", "==", True)).stream()
    ] == ["1"]
    assert sync.collection("a").count().get()[0][0].value == 1
    assert [one.id for one in sync.collections()] == ["a"]
    with pytest.raises(exceptions.NotFound):
        sync.document("a/2").update({"x": 1})

    @transactional
    def body(transaction: Any) -> None:
        n = ref.get(transaction=transaction).get("float")
        transaction.update(ref, {"float": n + 1})

    body(sync.transaction())
    assert ref.get().get("float") == 2.5
    batch = sync.batch()
    batch.delete(ref)
    batch.commit()
    assert not ref.get().exists


def test_the_synchronous_client_writes_in_bulk(sync: Client) -> None:
    writer = sync.bulk_writer()
    for n in range(50):
        writer.set(sync.document(f"a/{n}"), {"n": n})
    writer.close()
    assert sync.collection("a").count().get()[0][0].value == 50


def test_both_clients_see_the_same_data_and_other_databases_do_not() -> None:
    emulator = Emulator()
    emulator.sync_client().document("a/1").set({"n": 1})
    assert emulator.sync_client(database="other").document("a/1").get().exists is False
    assert emulator.sync_client(project="other").document("a/1").get().exists is False


@pytest.fixture
def threads() -> Iterator[Any]:
    from concurrent.futures import ThreadPoolExecutor

    with ThreadPoolExecutor(8) as pool:
        yield pool


def test_transactions_of_threads_wait_for_each_other(sync: Client, threads: Any) -> None:
    ref = sync.document("a/1")
    ref.set({"n": 0})

    @transactional
    def increment(transaction: Any) -> None:
        transaction.update(ref, {"n": ref.get(transaction=transaction).get("n") + 1})

    for done in [threads.submit(increment, sync.transaction()) for _ in range(24)]:
        done.result()
    assert ref.get().to_dict() == {"n": 24}


async def test_missing_documents_come_behind_those_that_are_found(client: AsyncClient) -> None:
    for n in (1, 3):
        await client.document(f"a/{n}").set({})
    references = [client.document(f"a/{n}") for n in (0, 3, 2, 1)]
    found = [(snapshot.id, snapshot.exists) async for snapshot in client.get_all(references)]
    assert found == [("3", True), ("1", True), ("0", False), ("2", False)]
