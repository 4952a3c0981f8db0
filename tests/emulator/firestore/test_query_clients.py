"""Vector searches, explanations and partitions as applications ask for them: by google's high-level clients."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient, Client, FieldFilter
from google.cloud.firestore_v1.base_vector_query import DistanceMeasure
from google.cloud.firestore_v1.query_profile import ExplainOptions, QueryExplainError
from google.cloud.firestore_v1.vector import Vector

from emulator.firestore import Emulator

PLAN, ANALYZE = ExplainOptions(analyze=False), ExplainOptions(analyze=True)
COFFEES = {
    "a": {"embedding": Vector([1.0, 2.0, 3.0]), "color": "red"},
    "b": {"embedding": Vector([2.0, 2.0, 3.0]), "color": "red"},
    "c": {"embedding": Vector([3.0, 4.0, 5.0]), "color": "yellow"},
    "d": {"embedding": Vector([-1.0, -2.0, -3.0]), "color": "green"},
}


@pytest.fixture
def sync() -> Client:
    client = Emulator().sync_client()
    for id, fields in COFFEES.items():
        client.document(f"coffees/{id}").set(fields)
    return client


@pytest.fixture
async def coffees(client: AsyncClient) -> Any:
    for id, fields in COFFEES.items():
        await client.document(f"coffees/{id}").set(fields)
    return client.collection("coffees")


def nearest(query: Any, measure: DistanceMeasure = DistanceMeasure.EUCLIDEAN, **rest: Any) -> Any:
    arguments = {"limit": 3, "distance_measure": measure, **rest}
    return query.find_nearest("embedding", Vector([1.0, 2.0, 3.0]), **arguments)


async def test_a_vector_search_finds_the_nearest_with_their_distances(coffees: Any) -> None:
    found = await nearest(coffees, distance_result_field="far", distance_threshold=1.0).get()
    assert [one.to_dict() for one in found] == [
        {**COFFEES["a"], "far": 0.0},
        {**COFFEES["b"], "far": 1.0},
    ]
    red = nearest(coffees.where(filter=FieldFilter("color", "==", "red")), DistanceMeasure.DOT_PRODUCT)
    assert [one.id async for one in red.stream()] == ["b", "a"]
    with pytest.raises(exceptions.InvalidArgument, match="no more than 1000"):
        await nearest(coffees, limit=1_001).get()


def test_the_synchronous_client_searches_too(sync: Client) -> None:
    cosine = nearest(
        sync.collection_group("coffees"),
        DistanceMeasure.COSINE,
        distance_result_field="far",
        distance_threshold=0.02,
    )
    assert [(one.id, one.get("far")) for one in cosine.stream()] == [("a", 0.0), ("c", 0.017292370176009153)]


async def test_a_vector_search_in_a_transaction_sees_its_snapshot(client: AsyncClient, coffees: Any) -> None:
    transaction = client.transaction(read_only=True)
    await transaction._begin()
    assert [one.id for one in await nearest(coffees, limit=1).get(transaction=transaction)] == ["a"]
    await coffees.document("a").delete()
    assert [one.id for one in await nearest(coffees, limit=1).get(transaction=transaction)] == ["a"]
    assert [one.id for one in await nearest(coffees, limit=1).get()] == ["b"]


async def test_a_query_is_explained_when_it_is_asked_to_be(coffees: Any) -> None:
    red = coffees.where(filter=FieldFilter("color", "==", "red"))
    plan = [{"query_scope": "Collection", "properties": "(color ASC, __name__ ASC)"}]
    planned = (await red.get(explain_options=PLAN)).get_explain_metrics()
    assert planned.plan_summary.indexes_used == plan
    with pytest.raises(QueryExplainError, match="not available"):
        planned.execution_stats  # noqa: B018 - it raises

    run = await red.get(explain_options=ANALYZE)
    stats = run.get_explain_metrics().execution_stats
    assert [one.id for one in run] == ["a", "b"]
    assert (stats.results_returned, stats.read_operations) == (2, 2)
    assert stats.execution_duration.total_seconds() > 0
    assert stats.debug_stats["documents_scanned"] == "2"
    assert stats.debug_stats["billing_details"]["documents_billable"] == "2"

    stream = red.stream(explain_options=ANALYZE)
    assert [one.id async for one in stream] == ["a", "b"]
    assert (await stream.get_explain_metrics()).plan_summary.indexes_used == plan
    counted = await red.count(alias="n").get(explain_options=ANALYZE)
    assert counted[0][0].value == 2
    assert counted.get_explain_metrics().execution_stats.read_operations == 1
    searched = await nearest(red).get(explain_options=PLAN)
    (index,) = searched.get_explain_metrics().plan_summary.indexes_used
    assert index["properties"] == "(color ASC, __name__ ASC, embedding VECTOR<3>)"


def test_the_synchronous_client_explains_too(sync: Client) -> None:
    red = sync.collection("coffees").where(filter=FieldFilter("color", "==", "red"))
    stream = red.stream(explain_options=ANALYZE)
    with pytest.raises(QueryExplainError, match="not available until query is complete"):
        stream.get_explain_metrics()
    assert len(list(stream)) == 2
    assert stream.get_explain_metrics().execution_stats.results_returned == 2
    planned = red.sum("size").stream(explain_options=PLAN)
    (index,) = planned.get_explain_metrics().plan_summary.indexes_used
    assert index["properties"] == "(color ASC, size ASC, __name__ ASC)"
    assert list(planned) == []
    with pytest.raises(QueryExplainError, match="explain_options not set"):
        red.get().get_explain_metrics()


def test_planning_alone_is_billed_as_one_read() -> None:
    emulator = Emulator()
    emulator.sync_client().collection("c").get(explain_options=PLAN)
    emulator.sync_client().collection("c").count().get(explain_options=PLAN)
    assert emulator.counts.reads == 2


async def test_a_group_is_read_in_partitions(client: AsyncClient) -> None:
    batch = client.batch()
    for n in range(40):
        batch.set(client.document(f"a/{n % 3}/items/{n:02}"), {"n": n})
    await batch.commit()
    partitions = [one async for one in client.collection_group("items").get_partitions(7)]
    parts = [[document.get("n") for document in await one.query().get()] for one in partitions]
    assert [len(part) for part in parts] == [5] * 8
    assert sorted(n for part in parts for n in part) == list(range(40))


def test_the_synchronous_client_reads_in_partitions_too() -> None:
    client = Emulator().sync_client()
    for n in range(10):
        client.document(f"items/{n}").set({})

    def parts(count: int) -> Iterator[list[str]]:
        for partition in client.collection_group("items").get_partitions(count):
            yield [one.id for one in partition.query().stream()]

    assert list(parts(2)) == [["0", "1", "2"], ["3", "4", "5"], ["6", "7", "8", "9"]]
    assert len(list(parts(100))) == 10


async def test_pipelines_say_what_to_use_in_their_place(client: AsyncClient) -> None:
    with pytest.raises(exceptions.MethodNotImplemented, match="Use queries"):
        await client.pipeline().collection("coffees").execute()
