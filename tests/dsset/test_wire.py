"""What an RPC by the wire goes through on its way: interceptors on the client's channel."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import grpc_asyncio

from dsset import DSSet, Item
from emulator.firestore import Emulator
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
