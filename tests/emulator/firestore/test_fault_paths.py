"""Faults that are about some documents only."""

from __future__ import annotations

from typing import Any

import grpc
import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient, Client
from google.cloud.firestore_v1.types import firestore

from dsset import protos
from dsset.wire import Wire
from emulator.firestore import Emulator, Fault
from tests.emulator.firestore.failing import fails


async def requests(client: AsyncClient) -> dict[str, Any]:
    """Requests of each kind, each about other documents."""
    shop = client.document("shops/1")
    batch = client.batch()
    batch.set(client.document("a/1"), {})
    batch.set(client.document("b/1"), {})
    bulk = Wire.of(client).batch_write
    write = protos.Write(update=protos.Document(name=f"{client._database_string}/documents/bulk/1"))
    listing = client.collection("listed").list_documents
    return {
        "set orders/1": lambda: client.document("orders/1").set({}),
        "delete orders/2": lambda: client.document("orders/2").delete(),
        "get orders/1/items/1": lambda: client.document("orders/1/items/1").get(),
        "commit a/1 b/1": batch.commit,
        "batch_write bulk/1": lambda: bulk([write]),
        "query orders": client.collection("orders").get,
        "query shops/1/orders": shop.collection("orders").get,
        "count orders": client.collection("orders").count().get,
        "group orders": client.collection_group("orders").get,
        "group items": client.collection_group("items").get,
        "list listed": lambda: listing().__anext__(),
        "collections of shops/1": lambda: shop.collections().__anext__(),
    }


QUERIES = ["query orders", "count orders", "group orders"]


@pytest.mark.parametrize(
    ("path", "met"),
    [
        ("orders/1", ["set orders/1"]),
        ("orders/*", ["set orders/1", "delete orders/2", *QUERIES]),
        ("orders", QUERIES),
        ("orders/2*", ["delete orders/2"]),
        (
            "orders/**",
            ["set orders/1", "delete orders/2", "get orders/1/items/1", *QUERIES, "group items"],
        ),
        ("shops/1", ["collections of shops/1"]),
        ("shops/*/orders/*", ["query shops/1/orders", "group orders"]),
        ("shops/**/orders/*", ["query shops/1/orders", "group orders"]),
        (
            "**/orders/*",
            ["set orders/1", "delete orders/2", "query orders", "query shops/1/orders", *QUERIES[1:]],
        ),
        ("b/*", ["commit a/1 b/1"]),
        ("bulk/1", ["batch_write bulk/1"]),
        ("listed/*", ["list listed"]),
        ("items/*", ["group items"]),
        ("**/items/**/**", ["get orders/1/items/1", "group orders", "group items"]),
        ("order", []),
        ("a/items", []),
        ("orders/1/items/2", []),
    ],
)
async def test_a_path_chooses_the_requests_that_are_about_its_documents(
    emulator: Emulator, local_client: AsyncClient, path: str, met: list[str]
) -> None:
    emulator.faults.add(Fault(path=path, error="PERMISSION_DENIED", times=None))
    failed = []
    for name, call in (await requests(local_client)).items():
        try:
            if await fails(call()):
                failed.append(name)
        except StopAsyncIteration:
            pass
    assert failed == met


async def test_two_stars_alone_are_any_request_that_is_about_documents(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    emulator.faults.add(Fault(path="**", error="PERMISSION_DENIED", times=None))
    for name, call in (await requests(local_client)).items():
        assert await fails(call()), name
    wire = Wire.of(local_client)
    transaction = await wire.begin(protos.TransactionOptions())
    await wire.rollback(transaction)


@pytest.mark.parametrize(("parent", "met"), [("/orders/1", True), ("/shops/1", False), ("", False)])
async def test_a_query_without_a_collection_is_about_all_that_lies_under_its_parent(
    emulator: Emulator, local_client: AsyncClient, parent: str, met: bool
) -> None:
    emulator.faults.add(Fault(path="orders/**", error="PERMISSION_DENIED"))
    query = protos.StructuredQuery()
    query.from_.add(all_descendants=True)
    root = f"{local_client._database_string}/documents"

    async def run() -> None:
        async for _ in Wire.of(local_client).run_query(f"{root}{parent}", query):
            pass

    assert await fails(run()) == met


ROOT = "projects/p/databases/(default)/documents"
STREAMS: dict[str, Any] = {
    "listen to a document": firestore.ListenRequest(
        add_target={"documents": {"documents": [f"{ROOT}/orders/1"]}}
    ),
    "listen to a query": firestore.ListenRequest(
        add_target={"query": {"parent": ROOT, "structured_query": {"from_": [{"collection_id": "orders"}]}}}
    ),
    "listen to a group": firestore.ListenRequest(
        add_target={
            "query": {
                "parent": ROOT,
                "structured_query": {"from_": [{"collection_id": "orders", "all_descendants": True}]},
            }
        }
    ),
    "listen no more": firestore.ListenRequest(remove_target=1),
    "write": firestore.WriteRequest(writes=[{"delete": f"{ROOT}/orders/1"}]),
    "begin to write": firestore.WriteRequest(stream_id=""),
    "partition": firestore.PartitionQueryRequest(
        parent=ROOT, structured_query={"from_": [{"collection_id": "orders", "all_descendants": True}]}
    ),
}


@pytest.mark.parametrize(
    ("path", "met"),
    [
        ("orders/1", ["listen to a document", "write"]),
        (
            "orders/*",
            ["listen to a document", "listen to a query", "listen to a group", "write", "partition"],
        ),
        ("shops/*/orders/*", ["listen to a group", "partition"]),
        ("items/*", []),
    ],
)
def test_a_path_chooses_among_the_requests_of_streams_too(path: str, met: list[str]) -> None:
    fault = Fault(path=path, error="ABORTED")
    assert [name for name, request in STREAMS.items() if fault.is_about("Listen", request._pb)] == met


class Listening:
    """A Listen stream of either client, as grpc gives it."""

    def __init__(self, client: AsyncClient) -> None:
        listen = client._firestore_api.transport.grpc_channel.stream_stream(
            "/google.firestore.v1.Firestore/Listen",
            request_serializer=firestore.ListenRequest.serialize,
            response_deserializer=firestore.ListenResponse.deserialize,
        )
        self._client = client
        self._call = listen()

    async def to(self, path: str) -> None:
        name = f"{self._client._database_string}/documents/{path}"
        await self._call.write(
            firestore.ListenRequest(
                database=self._client._database_string,
                add_target={"target_id": 1, "documents": {"documents": [name]}},
            )
        )

    async def read(self) -> Any:
        return await self._call.read()

    def close(self) -> None:
        self._call.cancel()


@pytest.mark.parametrize("when", ["before", "after"])
async def test_a_stream_of_requests_fails_when_it_is_opened(
    emulator: Emulator, either_client: AsyncClient, when: Any
) -> None:
    emulator.faults.add(Fault(rpc="Listen", error="PERMISSION_DENIED", when=when))
    with pytest.raises(grpc.aio.AioRpcError, match="PERMISSION_DENIED"):
        await Listening(either_client).read()
    listening = Listening(either_client)
    await listening.to("a/1")
    assert (await listening.read()).target_change
    listening.close()


@pytest.mark.parametrize("when", ["before", "after", "cut"])
async def test_a_stream_of_requests_fails_at_the_request_that_is_about_a_path(
    emulator: Emulator, either_client: AsyncClient, when: Any
) -> None:
    fault = emulator.faults.add(Fault(path="b/*", error="PERMISSION_DENIED", when=when))
    listening = Listening(either_client)
    await listening.to("a/1")
    await listening.read()
    assert fault.remaining == 1
    await listening.to("b/1")
    with pytest.raises(grpc.aio.AioRpcError, match="PERMISSION_DENIED"):
        for _ in range(10):
            await listening.read()


@pytest.mark.parametrize("path", [None, "a/*"])
async def test_a_stream_of_requests_breaks_after_so_many_responses(
    emulator: Emulator, either_client: AsyncClient, path: str | None
) -> None:
    emulator.faults.add(
        Fault(rpc="Listen", error="PERMISSION_DENIED", when="cut", after_messages=2, path=path)
    )
    listening = Listening(either_client)
    await listening.to("a/1")
    read = 0
    with pytest.raises(grpc.aio.AioRpcError, match="PERMISSION_DENIED"):
        while True:
            await listening.read()
            read += 1
    assert read == 2


def test_a_stream_of_requests_of_the_synchronous_client_breaks(emulator: Emulator, sync: Client) -> None:
    emulator.faults.add(Fault(rpc="Listen", error="PERMISSION_DENIED", when="cut", after_messages=1))
    name = f"{sync._database_string}/documents/a/1"
    request = firestore.ListenRequest(
        database=sync._database_string, add_target={"target_id": 1, "documents": {"documents": [name]}}
    )
    responses = sync._firestore_api.listen(iter([request]))
    assert next(responses).target_change
    with pytest.raises(exceptions.PermissionDenied):
        next(responses)
