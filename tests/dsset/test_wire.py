"""What an RPC by the wire goes through on its way: interceptors on the client's channel."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.api_core.exceptions import PermissionDenied
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import grpc_asyncio

from dsset import DSSet, Item
from dsset.wire import Wire
from emulator.firestore import Emulator, Fault
from tests.fronts import connect

BATCH_WRITE = "/google.firestore.v1.Firestore/BatchWrite"


class Seen(grpc.aio.UnaryUnaryClientInterceptor):  # type: ignore[misc] # Any in its stubs
    """A user's own."""

    def __init__(self) -> None:
        self.methods: list[str] = []

    async def intercept_unary_unary(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        method = client_call_details.method
        self.methods.append(method.decode() if isinstance(method, bytes) else method)
        return await continuation(client_call_details, request)


@pytest.fixture
async def address() -> AsyncIterator[str]:
    async with Emulator().serving("127.0.0.1:0") as address:
        yield address


async def test_the_users_interceptors_see_each_rpc(address: str) -> None:
    seen = Seen()
    async with grpc.aio.insecure_channel(address, interceptors=[seen]) as channel:
        client = AsyncClient(project="demo", credentials=AnonymousCredentials())
        client._firestore_api_internal = FirestoreAsyncClient(
            transport=grpc_asyncio.FirestoreGrpcAsyncIOTransport(channel=channel)
        )
        assert await DSSet(client.document("a/b")).add([Item("1", b"")]) == [True]
    assert seen.methods == [BATCH_WRITE]


@pytest.mark.parametrize("level", [logging.DEBUG, logging.INFO])
async def test_google_logs_each_rpc_where_it_is_to_at_the_first(address: str, level: int) -> None:
    logger = logging.getLogger(grpc_asyncio.__name__)
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    before = logger.level
    logger.addHandler(handler)
    logger.setLevel(level)
    try:
        async with connect(address) as client:
            assert await DSSet(client.document("a/b")).add([Item("1", b"")]) == [True]
            logger.setLevel(logging.DEBUG)  # its interceptor is gone, or it would log now
            assert await DSSet(client.document("a/b")).add([Item("2", b"")]) == [True]
    finally:
        logger.setLevel(before)
        logger.removeHandler(handler)
    told = [record.getMessage() for record in records]
    assert [text for text in told if BATCH_WRITE in text] == told
    assert len(told) == (4 if level == logging.DEBUG else 0)  # the requests and the answers


async def test_a_document_is_got_by_its_name_and_a_mask_leaves_out_the_rest(client: AsyncClient) -> None:
    ref = client.document("a/b")
    written = await ref.set({"kept": 1, "left out": 2})
    found = await Wire.of(client).get(ref._document_path, mask=["kept"])
    assert found is not None
    assert (found.name, dict(found.fields).keys()) == (ref._document_path, {"kept"})
    assert found.update_time == written.update_time.timestamp_pb()
    assert await Wire.of(client).get(client.document("a/none")._document_path) is None


async def test_to_get_a_document_fails_as_googles_client_does(
    local_client: AsyncClient, emulator: Emulator
) -> None:
    emulator.faults.add(Fault(rpc="GetDocument", error="PERMISSION_DENIED"))
    with pytest.raises(PermissionDenied):
        await Wire.of(local_client).get(local_client.document("a/b")._document_path)
    assert await Wire.of(local_client).get(local_client.document("a/b")._document_path) is None
    assert (dict(emulator.counts.rpcs), emulator.counts.reads) == ({"GetDocument": 2}, 1)
