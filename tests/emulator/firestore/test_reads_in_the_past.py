"""What can be read at a time of the past, and which times cannot be read at."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient

from eventbox.testing import ManualClock


async def collections(parent: Any, read_time: Any = None) -> list[str]:
    return [one.id async for one in parent.collections(read_time=read_time)]


async def documents(client: AsyncClient, read_time: Any = None) -> list[str]:
    return [one.id async for one in client.collection("a").list_documents(read_time=read_time)]


async def test_collections_are_listed_as_they_were(client: AsyncClient) -> None:
    before = (await client.document("a/1").create({})).update_time
    await client.document("b/1").create({})
    await client.document("b/2/deep/1").create({})
    between = (await client.document("b/2/deeper/1").create({})).update_time
    await client.document("b/1").delete()
    await client.document("b/2/deep/1").delete()
    await client.document("a/1").delete()
    assert await collections(client, before) == ["a"]
    assert await collections(client, between) == ["a", "b"]
    assert await collections(client.document("b/2"), between) == ["deep", "deeper"]
    assert await collections(client.document("b/2"), before) == []
    assert await collections(client) == ["b"]
    assert await collections(client.document("b/2")) == ["deeper"]


async def test_documents_that_have_only_collections_are_listed_as_they_were(client: AsyncClient) -> None:
    first = (await client.document("a/1").create({})).update_time
    second = (await client.document("a/2/deep/1").create({})).update_time
    await client.document("a/2").create({})
    third = (await client.document("a/1").delete()).timestamp_pb()
    await client.document("a/2/deep/1").delete()
    await client.document("a/3/deep/1").create({})
    assert await documents(client, first) == ["1"]
    assert await documents(client, second) == ["1", "2"]
    assert await documents(client, third) == ["2"]
    assert await documents(client) == ["2", "3"]


async def begin(client: AsyncClient, time: datetime) -> bytes:
    options = {"read_only": {"read_time": time}}
    response = await client._firestore_api.begin_transaction(
        request={"database": client._database_string, "options": options}
    )
    return bytes(response.transaction)


async def test_the_future_cannot_be_read(local_client: AsyncClient, clock: ManualClock) -> None:
    await local_client.document("a/1").create({})
    ahead = clock.now() + timedelta(seconds=1)
    for attempt in (
        local_client.document("a/1").get(read_time=ahead),
        collections(local_client, ahead),
        documents(local_client, ahead),
        begin(local_client, ahead),
    ):
        with pytest.raises(exceptions.InvalidArgument, match="read_time cannot be in the future"):
            await attempt


async def test_what_is_older_than_an_hour_cannot_be_read(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    await local_client.document("a/1").create({})
    long_ago = clock.now()
    clock.advance(timedelta(hours=1, seconds=1))
    await local_client.document("a/2").create({})
    for attempt in (
        local_client.document("a/1").get(read_time=long_ago),
        collections(local_client, long_ago),
        begin(local_client, long_ago),
    ):
        with pytest.raises(exceptions.FailedPrecondition, match="The requested snapshot version is too old"):
            await attempt


async def test_a_transaction_that_reads_the_past_ends_with_it(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    ref = local_client.document("a/1")
    await ref.create({})
    then = clock.now()
    clock.advance(timedelta(minutes=59))
    await local_client.document("a/2").create({})
    transaction = await begin(local_client, then)
    request = {
        "database": local_client._database_string,
        "documents": [ref._document_path],
        "transaction": transaction,
    }

    async def read() -> list[Any]:
        stream = await local_client._firestore_api.batch_get_documents(request=request)
        return [one async for one in stream]

    clock.advance(timedelta(seconds=50))
    assert (await read())[0].found.name == ref._document_path
    clock.advance(timedelta(seconds=50))
    await local_client.document("a/2").set({"x": 1})
    with pytest.raises(exceptions.FailedPrecondition, match="too old"):
        await read()
