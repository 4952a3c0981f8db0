"""The four ways to a Firestore that the table goes: each front, with the asynchronous and the synchronous client."""

from __future__ import annotations

import asyncio
import os
import re
import threading
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient, Client
from google.cloud.firestore_v1 import types

from emulator.firestore import Emulator
from tests.emulator.firestore.conformance.calls import Call

PROJECT = "conformance"
_VARIABLE = "FIRESTORE_EMULATOR_HOST"
_PAGED = {"ListDocuments", "ListCollectionIds", "PartitionQuery"}
_STREAMING = {"BatchGetDocuments", "ExecutePipeline", "RunAggregationQuery", "RunQuery"}


class Way:
    """google's generated client, of either kind, on an empty database."""

    def __init__(self, client: AsyncClient | Client) -> None:
        self._client = client

    async def call(self, call: Call, seen: list[list[Any]]) -> list[Any]:
        """The responses; the first page's, where there are pages."""
        request = call.request(seen) if callable(call.request) else call.request
        method = getattr(self._client._firestore_api, re.sub(r"(?<!^)(?=[A-Z])", "_", call.rpc).lower())
        wrapped = getattr(types, f"{call.rpc}Request").wrap(request)
        answer = method(request=wrapped, retry=None, timeout=None)
        if not isinstance(self._client, AsyncClient):
            return [_raw(one) for one in _first(call.rpc, answer)]
        answer = await answer
        if call.rpc in _PAGED:
            return [_raw(await anext(aiter(answer.pages)))]
        if call.rpc in _STREAMING:
            return [_raw(one) async for one in answer]
        return [_raw(answer)]


def _first(rpc: str, answer: Any) -> list[Any]:
    if rpc in _PAGED:
        return [next(iter(answer.pages))]
    return list(answer) if rpc in _STREAMING else [answer]


def _raw(message: Any) -> Any:
    return getattr(message, "_pb", message)


@contextmanager
def served(emulator: Emulator) -> Iterator[str]:
    """An emulator over gRPC, in a thread of its own; gives its address."""
    address: list[str] = []
    ready, done = threading.Event(), asyncio.Event()
    loop = asyncio.new_event_loop()

    async def serve() -> None:
        async with emulator.serving("127.0.0.1:0") as bound:
            address.append(bound)
            ready.set()
            await done.wait()

    def run() -> None:
        loop.run_until_complete(serve())
        loop.close()

    thread = threading.Thread(target=run)
    thread.start()
    assert ready.wait(30)
    try:
        yield address[0]
    finally:
        loop.call_soon_threadsafe(done.set)
        thread.join()


@asynccontextmanager
async def way_to(kind: str, emulator: Emulator, address: str) -> AsyncIterator[Way]:
    """One of the ways: "in process" or "grpc", "async" or "sync"."""
    if kind == "in process, async":
        yield Way(emulator.client(PROJECT))
    elif kind == "in process, sync":
        yield Way(emulator.sync_client(PROJECT))
    else:
        before = os.environ.get(_VARIABLE)
        os.environ[_VARIABLE] = address
        try:
            make = AsyncClient if kind == "grpc, async" else Client
            client = make(project=PROJECT, credentials=AnonymousCredentials())
            transport = client._firestore_api.transport  # made while the variable is set
        finally:
            if before is None:
                del os.environ[_VARIABLE]
            else:
                os.environ[_VARIABLE] = before
        yield Way(client)
        closed = transport.close()
        if closed is not None:
            await closed
