"""count, sum and average: which documents they see, and what malformed ones are told."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient, FieldFilter
from google.cloud.firestore_v1.async_aggregation import AsyncAggregationQuery


async def results(query: Any) -> dict[str, Any]:
    return {one.alias: one.value for one in (await query.get())[0]}


@pytest.fixture
async def books(client: AsyncClient) -> Any:
    shelf = client.collection("books")
    for title, fields in {
        "a": {"pages": 50, "year": 1980},
        "b": {"pages": 10, "year": 2020},
        "c": {"pages": 30, "year": 2021},
        "d": {"pages": 20},
        "e": {"year": 2000},
        "f": {"pages": "unknown", "year": 2001},
    }.items():
        await shelf.document(title).set(fields)
    return shelf


async def test_a_count_sees_every_document(books: Any) -> None:
    assert await results(books.count("n")) == {"n": 6}


async def test_what_is_asked_beside_a_sum_sees_the_documents_with_its_field(books: Any) -> None:
    query = books.sum("pages", "pages").count("n").avg("pages", "mean")
    assert await results(query) == {"pages": 110, "n": 5, "mean": 27.5}


async def test_sums_of_several_fields_see_the_documents_with_all_of_them(books: Any) -> None:
    assert await results(books.sum("pages", "pages").avg("year", "year").count("n")) == {
        "pages": 90,
        "year": 2005.5,
        "n": 4,
    }


async def test_a_limit_cuts_by_the_order_of_the_field_where_nothing_else_orders(books: Any) -> None:
    assert await results(books.limit(2).sum("pages", "least")) == {"least": 30}
    assert await results(books.limit(2).avg("pages", "least")) == {"least": 15}
    assert await results(books.order_by("pages", direction="DESCENDING").limit(3).sum("pages", "x")) == {
        "x": 80
    }
    assert await results(books.order_by("year").limit(2).sum("pages", "x")) == {"x": 50}
    assert await results(books.limit(2).count("n").sum("pages", "x")) == {"n": 2, "x": 30}


async def test_a_filter_on_another_field_goes_before_the_summed_one(books: Any) -> None:
    recent = books.where(filter=FieldFilter("year", ">", 1990))
    assert await results(recent.limit(3).sum("pages", "x")) == {"x": 40}
    assert await results(books.where(filter=FieldFilter("year", "==", 2021)).sum("year", "x")) == {"x": 2021}


async def test_no_aggregations_are_refused(books: Any) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="Aggregations can not be empty"):
        await AsyncAggregationQuery(books.order_by("pages")).get()


async def test_more_than_five_aggregations_are_refused(books: Any) -> None:
    query = books.count("n0")
    for n in range(1, 5):
        query = query.count(f"n{n}")
    assert len(await results(query)) == 5
    with pytest.raises(
        exceptions.InvalidArgument,
        match=r"The maximum number of aggregations allowed in an aggregation query is 5\. Received: 6",
    ):
        await query.count("n5").get()


async def test_one_alias_for_two_aggregations_is_refused(books: Any) -> None:
    with pytest.raises(exceptions.InvalidArgument, match="Aggregation aliases contain duplicate alias"):
        await books.count("n").sum("pages", "n").get()
