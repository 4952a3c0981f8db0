"""Listings of more items than are taken in at once."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from typing import Any

import grpc
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import grpc_asyncio

from dsset import DSSet, Item, protos
from dsset.wire import Wire
from emulator.firestore import Emulator, Fault
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.fronts import connect

ITEMS = 150


@pytest.fixture
async def dsset(client: AsyncClient) -> DSSet:
    full = DSSet(client.document("queues/1"))
    await full.add(Item(f"{n}", bytes(10)) for n in range(ITEMS))
    return full


async def test_each_item_is_listed_once_and_the_next_listing_goes_on_behind_the_cursor(dsset: DSSet) -> None:
    first = await dsset.list(100)
    second = await dsset.list(100, after=first.cursor)
    assert [len(first.items), first.complete] == [100, False]
    assert [len(second.items), second.complete] == [50, True]
    assert {item.id for item in (*first.items, *second.items)} == {str(n) for n in range(ITEMS)}


async def test_bytes_bound_it_wherever_they_are_used_up(dsset: DSSet) -> None:
    for fit in (1, 63, 64, 65, 130):
        listing = await dsset.list(1_000, max_bytes=10 * fit + 9)
        assert (len(listing.items), listing.complete) == (fit, False)
        behind = await dsset.list(1_000, after=listing.cursor)
        assert len(behind.items) == ITEMS - fit
        assert not {item.id for item in listing.items} & {item.id for item in behind.items}


async def test_what_is_left_out_bounds_nothing(dsset: DSSet) -> None:
    listing = await dsset.list(100, without={str(n) for n in range(100)})
    assert {item.id for item in listing.items} == {str(n) for n in range(100, ITEMS)}
    assert listing.complete


async def test_one_that_breaks_off_is_listed_anew_as_a_whole(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock
) -> None:
    dsset = DSSet(local_client.document("queues/1"), clock=clock)
    await dsset.add(Item(f"{n}", b"x") for n in range(ITEMS))
    emulator.faults.add(Fault(rpc="RunQuery", error="UNAVAILABLE", when="after", times=1))
    listing = await while_advancing(clock, dsset.list(1_000))
    assert (len(listing.items), listing.complete) == (ITEMS, True)
    assert emulator.counts.rpcs["RunQuery"] == 2


@pytest.mark.parametrize(("arrive", "queries"), [(0, 2), (64, 2), (ITEMS - 1, 2), (ITEMS, 1)])
async def test_only_a_stream_that_breaks_off_before_all_that_was_asked_for_is_here_is_asked_for_anew(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, arrive: int, queries: int
) -> None:
    dsset = DSSet(local_client.document("queues/1"), clock=clock)
    await dsset.add(Item(f"{n}", b"x") for n in range(ITEMS))
    emulator.faults.add(
        Fault(rpc="RunQuery", error="UNAVAILABLE", when="cut", after_messages=arrive, times=1)
    )
    listing = await while_advancing(clock, dsset.list(ITEMS))
    assert (len({item.id for item in listing.items}), listing.complete) == (ITEMS, False)
    assert emulator.counts.rpcs["RunQuery"] == queries


class Ends(grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc] # Any in its stubs
    """How streams ended, in order."""

    def __init__(self) -> None:
        self.codes: asyncio.Queue[grpc.StatusCode] = asyncio.Queue()

    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        call = await continuation(client_call_details, request)
        code = asyncio.ensure_future(call.code())
        code.add_done_callback(lambda done: self.codes.put_nowait(done.result()))
        return call


@pytest.mark.parametrize(
    ("max_items", "max_bytes", "end"),
    [
        (ITEMS, 10_000, grpc.StatusCode.OK),
        (ITEMS + 1, 10_000, grpc.StatusCode.OK),
        (ITEMS, 10, grpc.StatusCode.CANCELLED),
    ],
)
async def test_a_stream_is_cancelled_only_where_more_would_come(
    max_items: int, max_bytes: int, end: grpc.StatusCode
) -> None:
    ends = Ends()
    async with (
        Emulator().serving("127.0.0.1:0") as address,
        grpc.aio.insecure_channel(address, interceptors=[ends]) as channel,
    ):
        dsset = DSSet(client_on(channel).document("queues/1"))
        await dsset.add(Item(f"{n}", bytes(10)) for n in range(ITEMS))
        await dsset.list(max_items, max_bytes=max_bytes)
        assert await ends.codes.get() is end


class EndsLate(grpc.GenericRpcHandler):  # type: ignore[misc] # Any in its stubs
    """Answers each query with two documents, and ends the stream once it is told to."""

    def __init__(self) -> None:
        self.may_end = asyncio.Event()
        self.ends: asyncio.Queue[str] = asyncio.Queue()

    def service(self, details: Any) -> Any:
        return grpc.unary_stream_rpc_method_handler(self.answer)

    async def answer(self, request: bytes, context: Any) -> AsyncIterator[bytes]:
        at = protos.Timestamp(seconds=1)
        try:
            for n in range(2):
                document = protos.Document(name=f"{n}", fields={"id": protos.Value(string_value=f"{n}")})
                yield protos.RunQueryResponse(document=document, read_time=at).SerializeToString()
            await self.may_end.wait()
        except asyncio.CancelledError:
            self.ends.put_nowait("cancelled")
            raise
        self.ends.put_nowait("by itself")


async def test_a_stream_that_brought_all_is_neither_waited_for_nor_cancelled_nor_left_open() -> None:
    handler = EndsLate()
    server = grpc.aio.server()
    server.add_generic_rpc_handlers([handler])
    address = f"127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    await server.start()
    async with connect(address) as client:
        listing = await DSSet(client.document("queues/1")).list(2)
        assert [item.id for item in listing.items] == ["0", "1"]
        (left,) = Wire.of(client)._left
        handler.may_end.set()
        assert await handler.ends.get() == "by itself"
        await left
        assert not Wire.of(client)._left
    await server.stop(None)


class Breaks(grpc.aio.UnaryStreamClientInterceptor):  # type: ignore[misc] # Any in its stubs
    """Fails behind the last message."""

    async def intercept_unary_stream(
        self, continuation: Callable[..., Any], client_call_details: Any, request: Any
    ) -> Any:
        call = await continuation(client_call_details, request)

        async def messages() -> AsyncIterator[Any]:
            async for message in call:
                yield message
            raise ValueError("an interceptor's own")

        return messages()


async def test_what_fails_behind_all_that_was_asked_for_fails_nobody(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.DEBUG, "dsset")
    async with (
        Emulator().serving("127.0.0.1:0") as address,
        grpc.aio.insecure_channel(address, interceptors=[Breaks()]) as channel,
    ):
        dsset = DSSet(client_on(channel).document("queues/1"))
        await dsset.add(Item(f"{n}", b"") for n in range(3))
        assert len((await dsset.list(3)).items) == 3
        with pytest.raises(ValueError, match="own"):
            await dsset.list(4)
        (record,) = [record for record in caplog.records if "own" in record.getMessage()]
        assert record.name == "dsset"


def client_on(channel: Any) -> AsyncClient:
    client = AsyncClient(project="demo", credentials=AnonymousCredentials())
    client._firestore_api_internal = FirestoreAsyncClient(
        transport=grpc_asyncio.FirestoreGrpcAsyncIOTransport(channel=channel)
    )
    return client
