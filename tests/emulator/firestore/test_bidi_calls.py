"""How streams both ways end: by their deadline, by their requests, and as their code tells."""

from __future__ import annotations

import asyncio
import logging
import queue
from collections.abc import AsyncIterator, Iterator
from datetime import timedelta
from typing import Any

import grpc
import pytest
from google.cloud.firestore import AsyncClient, Client
from google.cloud.firestore_v1 import types

from emulator.firestore import Emulator, protos
from eventbox.testing import ManualClock

_SERVICE = "/google.firestore.v1.Firestore/"


def listen_request(client: Any) -> Any:
    document = f"{client._database_string}/documents/c/1"
    return types.ListenRequest(
        database=client._database_string, add_target={"target_id": 1, "documents": {"documents": [document]}}
    )


async def test_a_deadline_ends_a_listener_on_the_emulators_clock(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    call = local_client._firestore_api.transport.grpc_channel.stream_stream(
        _SERVICE + "Listen", types.ListenRequest.serialize, types.ListenResponse.deserialize
    )(timeout=5)
    await call.write(listen_request(local_client))
    for _ in range(3):
        await call.read()
    reading = asyncio.ensure_future(call.read())
    for _ in range(5):
        await asyncio.sleep(0)
    clock.advance(timedelta(seconds=4))
    assert not reading.done()
    clock.advance(timedelta(seconds=2))
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await reading
    assert caught.value.code() is grpc.StatusCode.DEADLINE_EXCEEDED


async def test_a_deadline_ends_a_synchronous_listener_too(emulator: Emulator, clock: ManualClock) -> None:
    sync = emulator.sync_client()
    requests: queue.Queue[Any] = queue.Queue()
    requests.put(listen_request(sync))
    call = sync._firestore_api.transport.listen(iter(requests.get, None), timeout=5)
    call = await asyncio.to_thread(lambda: [next(call) for _ in range(3)] and call)
    reading = asyncio.ensure_future(asyncio.to_thread(lambda: list(call)))
    clock.advance(timedelta(seconds=6))
    with pytest.raises(grpc.RpcError, match="DEADLINE_EXCEEDED"):
        await reading
    requests.put(None)


async def test_the_code_of_a_stream_is_known_at_its_end_whether_it_is_read_or_not(
    local_client: AsyncClient,
) -> None:
    client = local_client
    call = client._firestore_api.transport.grpc_channel.stream_stream(
        _SERVICE + "Write", protos.WriteRequest.SerializeToString, protos.WriteResponse.FromString
    )()
    name = f"{client._database_string}/documents/c/1"
    await call.write(protos.WriteRequest(database=client._database_string))
    opened = await call.read()
    write = protos.Write(update=protos.Document(name=name))
    await call.write(protos.WriteRequest(stream_token=opened.stream_token, writes=[write]))
    await call.done_writing()
    assert await call.code() is grpc.StatusCode.OK
    assert (await client.document("c/1").get()).exists
    assert (await call.read()).HasField("commit_time")
    assert await call.read() is grpc.aio.EOF


async def test_requests_that_fail_cancel_the_call(
    emulator: Emulator, local_client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    async def failing() -> AsyncIterator[Any]:
        yield listen_request(local_client)
        raise RuntimeError("no more of them")

    def failing_too() -> Iterator[Any]:
        yield listen_request(local_client)
        raise RuntimeError("no more of them")

    stub = local_client._firestore_api.transport.grpc_channel.stream_stream(
        _SERVICE + "Listen", types.ListenRequest.serialize, types.ListenResponse.deserialize
    )
    with caplog.at_level(logging.ERROR):
        for requests in (failing(), failing_too()):
            with pytest.raises(asyncio.CancelledError):
                async for _ in stub(requests):
                    pass
        sync: Client = emulator.sync_client()
        call = sync._firestore_api.transport.listen(failing_too())
        with pytest.raises(grpc.RpcError, match="CANCELLED"):
            await asyncio.to_thread(list, call)
    assert [record.getMessage() for record in caplog.records] == [
        "the requests of an RPC failed, which is cancelled"
    ] * 3
    assert not emulator._service._watchers._by_path
