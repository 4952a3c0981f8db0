"""The Write RPC: a stream of commits."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import AsyncIterator
from typing import Any

import grpc
import pytest
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1 import types as firestore_types

from emulator.firestore import Emulator, protos
from tests.emulator.firestore.sessions import PESSIMISTIC, Session
from tests.fronts import connect


class Writing:
    """One stream."""

    def __init__(self, client: AsyncClient) -> None:
        self.database = client._database_string
        self.token = b""
        self.call: Any = client._firestore_api.transport.grpc_channel.stream_stream(
            "/google.firestore.v1.Firestore/Write",
            request_serializer=protos.WriteRequest.SerializeToString,
            response_deserializer=protos.WriteResponse.FromString,
        )()

    async def ask(self, **request: Any) -> Any:
        await self.call.write(protos.WriteRequest(**request))
        response = await self.call.read()
        self.token = response.stream_token
        return response

    async def write(self, *writes: Any) -> Any:
        return await self.ask(stream_token=self.token, writes=writes)

    def set(self, id: str, n: int, **rest: Any) -> Any:
        name = f"{self.database}/documents/c/{id}"
        document = protos.Document(name=name, fields={"n": protos.Value(integer_value=n)})
        return protos.Write(update=document, **rest)


@pytest.fixture
async def writing(client: AsyncClient) -> AsyncIterator[Writing]:
    writing = Writing(client)
    yield writing
    writing.call.cancel()


async def test_writes_are_committed_in_order_each_request_whole(
    writing: Writing, client: AsyncClient
) -> None:
    opened = await writing.ask(database=writing.database)
    assert opened.stream_id
    assert not opened.HasField("commit_time")
    first = await writing.write(writing.set("1", 1), writing.set("2", 2))
    second = await writing.write(writing.set("1", 3))
    assert len(first.write_results) == 2
    assert first.commit_time == first.write_results[0].update_time
    assert second.commit_time.ToNanoseconds() > first.commit_time.ToNanoseconds()
    assert first.stream_token != second.stream_token
    assert [one.get("n") for one in await client.collection("c").get()] == [3, 2]
    await writing.call.done_writing()
    assert await writing.call.read() is grpc.aio.EOF
    assert await writing.call.code() is grpc.StatusCode.OK


async def test_a_write_that_fails_ends_the_stream_and_changes_nothing(
    writing: Writing, client: AsyncClient
) -> None:
    await writing.ask(database=writing.database)
    missing = writing.set("2", 2, current_document=protos.Precondition(exists=True))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await writing.write(writing.set("1", 1), missing)
    assert caught.value.code() is grpc.StatusCode.NOT_FOUND
    assert await client.collection("c").get() == []


@pytest.mark.parametrize(
    ("request_", "message"),
    [
        ({}, "database name"),
        ({"database": "d", "writes": [protos.Write(delete="x")]}, "database name"),
        ({"stream_id": "x"}, "its last token"),
        ({"writes": [protos.Write(delete="x")]}, "cannot have writes"),
    ],
)
async def test_a_malformed_first_request_ends_the_stream(
    writing: Writing, request_: Any, message: str
) -> None:
    if request_ and "database" not in request_:
        request_ = {**request_, "database": writing.database}
    with pytest.raises(grpc.aio.AioRpcError, match=message) as caught:
        await writing.ask(**request_)
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT


@pytest.mark.parametrize("token", [b"", b"x", (99).to_bytes(8, "big")])
async def test_a_token_that_the_stream_has_not_sent_is_refused(writing: Writing, token: bytes) -> None:
    await writing.ask(database=writing.database)
    with pytest.raises(grpc.aio.AioRpcError, match="token"):
        await writing.ask(stream_token=token, writes=[writing.set("1", 1)])


async def test_a_stream_can_be_resumed_by_its_id(client: AsyncClient) -> None:
    first = Writing(client)
    opened = await first.ask(database=first.database)
    first.call.cancel()
    second = Writing(client)
    again = await second.ask(
        database=second.database, stream_id=opened.stream_id, stream_token=opened.stream_token
    )
    assert again.stream_id == opened.stream_id
    await second.write(second.set("1", 1))
    second.call.cancel()


async def test_a_write_waits_for_a_pessimistic_transaction_and_is_then_done(emulator: Emulator) -> None:
    client = emulator.client()
    writing = Writing(client)
    await writing.ask(database=writing.database)
    transaction = client.transaction()
    await transaction._begin()
    await client.document("c/1").get(transaction=transaction)
    await writing.call.write(protos.WriteRequest(stream_token=writing.token, writes=[writing.set("1", 1)]))
    transaction.set(client.document("c/1"), {"n": 0})
    await transaction._commit()
    await writing.call.read()
    assert (await client.document("c/1").get()).get("n") == 1
    writing.call.cancel()


async def test_what_is_sent_while_a_write_waits_stays_with_its_sender(emulator: Emulator) -> None:
    streams: list[Any] = []
    converse = emulator._service.converse
    emulator._service.converse = lambda rpc: streams.append(converse(rpc)) or streams[-1]  # type: ignore[func-returns-value,method-assign]
    async with emulator.serving("127.0.0.1:0") as address, connect(address) as client:
        session = await Session(client, PESSIMISTIC).begin()
        await session.get("c/0")
        writing = Writing(client)
        opened = await writing.ask(database=writing.database)
        for _ in range(50):
            await writing.call.write(
                protos.WriteRequest(stream_token=opened.stream_token, writes=[writing.set("0", 1)])
            )
        await client.document("c/1").get()
        assert 0 < streams[0].backlog <= 5
        await session.rollback()
        for _ in range(50):
            await writing.call.read()
        writing.call.cancel()


async def test_a_write_whose_synchronous_caller_goes_away_while_it_waits_is_not_done(
    emulator: Emulator,
) -> None:
    client, sync = emulator.client(), emulator.sync_client()
    session = await Session(client, PESSIMISTIC).begin()
    await session.get("c/1")
    requests: queue.Queue[Any] = queue.Queue()
    call = sync._firestore_api.transport.write(iter(requests.get, None))
    requests.put(firestore_types.WriteRequest(database=sync._database_string))
    opened = await asyncio.to_thread(next, call)
    write = firestore_types.Write({"update": {"name": sync.document("c/1")._document_path}})
    requests.put(firestore_types.WriteRequest(stream_token=opened.stream_token, writes=[write]))
    reading = asyncio.ensure_future(asyncio.to_thread(lambda: list(call)))
    while not emulator._service._locks.waiting:
        await asyncio.to_thread(emulator.tick)
    call.cancel()
    with pytest.raises(grpc.RpcError):
        await reading
    requests.put(None)
    await session.rollback()
    assert not (await client.document("c/1").get()).exists
