"""Preconditions on a document's update time, and how they fail."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient

from emulator.firestore import protos
from emulator.firestore.versions import microseconds, timestamp


async def delete_at(client: AsyncClient, path: str, update_time: Any) -> None:
    """Delete a document if it has this update time (a Timestamp)."""
    ref = client.document(path)
    write = protos.Write(
        delete=ref._document_path, current_document=protos.Precondition(update_time=update_time)
    )
    await client._firestore_api.commit(request={"database": client._database_string, "writes": [write]})


@pytest.fixture
async def update_us(client: AsyncClient) -> int:
    result = await client.document("a/1").set({"x": 1})
    return microseconds(result.update_time.timestamp_pb())


async def test_the_document_s_own_update_time_holds(client: AsyncClient, update_us: int) -> None:
    await delete_at(client, "a/1", timestamp(update_us))
    assert not (await client.document("a/1").get()).exists


async def test_another_time_of_the_past_is_a_failed_precondition(client: AsyncClient, update_us: int) -> None:
    with pytest.raises(exceptions.FailedPrecondition, match="does not match the required base version"):
        await delete_at(client, "a/1", timestamp(update_us - 1))


@pytest.mark.parametrize("path", ["a/1", "a/none"])
async def test_a_time_in_the_future_is_an_invalid_argument(
    client: AsyncClient, update_us: int, path: str
) -> None:
    hour = timedelta(hours=1) // timedelta(microseconds=1)
    with pytest.raises(exceptions.InvalidArgument, match="future"):
        await delete_at(client, path, timestamp(update_us + hour))


async def test_a_time_finer_than_microseconds_is_an_invalid_argument(
    client: AsyncClient, update_us: int
) -> None:
    time = timestamp(update_us)
    time.nanos += 1
    with pytest.raises(exceptions.InvalidArgument, match="microsecond"):
        await delete_at(client, "a/1", time)


async def test_a_time_of_a_document_that_is_not_there_finds_none(client: AsyncClient, update_us: int) -> None:
    with pytest.raises(exceptions.NotFound, match="No document to update"):
        await delete_at(client, "a/none", timestamp(update_us))


async def test_an_update_time_holds_while_the_clock_stands(local_client: AsyncClient) -> None:
    # commits are a microsecond apart then: the document's time is ahead of the clock's
    for n in range(3):
        result = await local_client.document("a/1").set({"x": n})
    await delete_at(local_client, "a/1", result.update_time.timestamp_pb())
    assert not (await local_client.document("a/1").get()).exists


async def test_a_write_that_holds_while_the_clock_stands_waits_for_the_query_that_it_touches(
    local_client: AsyncClient,
) -> None:
    for n in range(3):
        result = await local_client.document("a/1").set({"x": n})
    transaction = local_client.transaction()
    await transaction._begin()
    assert len(await local_client.collection("a").get(transaction=transaction)) == 1
    deleting = asyncio.create_task(delete_at(local_client, "a/1", result.update_time.timestamp_pb()))
    for _ in range(10):
        await asyncio.sleep(0)
    assert len(await local_client.collection("a").get(transaction=transaction)) == 1
    assert not deleting.done()
    await transaction._rollback()
    await deleting
