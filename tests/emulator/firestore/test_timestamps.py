"""Timestamps: Firestore keeps microseconds, and rounds what is finer down."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core.datetime_helpers import DatetimeWithNanoseconds
from google.cloud import firestore
from google.cloud.firestore import AsyncClient, FieldFilter
from google.cloud.firestore_v1._helpers import encode_dict


def moment(nanosecond: int) -> Any:
    return DatetimeWithNanoseconds.from_rfc3339(f"2017-03-20T01:02:03.{nanosecond:09}Z")


FINE = moment(456_789)
KEPT = moment(456_000)


@pytest.mark.parametrize(
    ("written", "kept"),
    [
        ({"x": FINE}, {"x": KEPT}),
        ({"m": {"deep": [FINE, {"x": FINE}]}}, {"m": {"deep": [KEPT, {"x": KEPT}]}}),
        ({"x": firestore.ArrayUnion([FINE])}, {"x": [KEPT]}),
        ({"x": moment(999_999_999)}, {"x": moment(999_999_000)}),
        ({"x": KEPT}, {"x": KEPT}),
    ],
)
async def test_a_timestamp_is_kept_in_microseconds(
    client: AsyncClient, written: dict[str, Any], kept: dict[str, Any]
) -> None:
    ref = client.document("a/1")
    await ref.set(written)
    # the client itself forgets nanoseconds, so look at what the server sent
    document = await client._firestore_api.get_document(request={"name": ref._document_path})
    assert {key: value._pb for key, value in encode_dict(kept).items()} == dict(document._pb.fields)


async def test_a_finer_timestamp_than_the_one_that_is_kept_changes_nothing(client: AsyncClient) -> None:
    ref = client.document("a/1")
    first = await ref.set({"x": KEPT})
    second = await ref.set({"x": FINE})
    assert second.update_time == first.update_time


async def test_a_query_by_the_timestamp_that_was_written_finds_the_document(client: AsyncClient) -> None:
    await client.document("a/1").set({"x": FINE, "list": [FINE]})
    times = client.collection("a")
    assert len(await times.where(filter=FieldFilter("x", "==", FINE)).get()) == 1
    assert len(await times.where(filter=FieldFilter("list", "array_contains", FINE)).get()) == 1
    assert len(await times.order_by("x").start_at({"x": FINE}).get()) == 1
    assert not await times.where(filter=FieldFilter("x", ">", FINE)).get()
