"""The runs of `benchmarks.emulator`: each returns one figure."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from typing import Any

import grpc
from google.cloud.firestore import AsyncClient

from benchmarks.pinned_emulator import PinnedEmulator
from benchmarks.pipelining import IN_FLIGHT, pipelined
from emulator.firestore import Emulator, protos

TARGETS = {
    "startup_s": "< 0.5",
    "commits_per_s": ">= 3,500",
    "batched_writes_per_s": ">= 15,000",
    "streamed_docs_per_s": ">= 20,000",
    "data_dir_commits_per_s": ">= 2,000",
    "in_process_commits_per_s": ">= 1.5 x commits_per_s",
    "indexed_query_ms": "< 5",
    "bytes_per_doc": "<= 2,000",
}
ROOT = "projects/demo/databases/(default)/documents"
DATABASE = "projects/demo/databases/(default)"
SERVICE = "/google.firestore.v1.Firestore/"


class Server(PinnedEmulator):
    """A Firestore on the first core that this process may use; this process moves to the others."""

    def __init__(self, *arguments: str) -> None:
        super().__init__("firestore", "FIRESTORE_EMULATOR_HOST", *arguments)


def startup() -> float:
    """Seconds from the command to the first answer."""
    request = protos.GetDocumentRequest(name=f"{ROOT}/a/1").SerializeToString()
    begin = time.perf_counter()
    with Server() as server, grpc.insecure_channel(server.address) as channel:
        try:
            channel.unary_unary(SERVICE + "GetDocument")(request, wait_for_ready=True)
        except grpc.RpcError as error:
            if error.code() is not grpc.StatusCode.NOT_FOUND:
                raise
        return time.perf_counter() - begin


def document(name: str, n: int) -> Any:
    """A document of four fields and about 200 bytes."""
    fields = {
        "n": protos.Value(integer_value=n),
        "name": protos.Value(string_value=f"document {n:08}" + "x" * 60),
        "note": protos.Value(string_value="y" * 70),
        "done": protos.Value(boolean_value=n % 2 == 0),
    }
    return protos.Document(name=name, fields=fields)


def commits(address: str, count: int) -> float:
    """Single-write commits a second, to documents that are new at first and then overwritten."""
    requests = [
        protos.CommitRequest(
            database=DATABASE, writes=[protos.Write(update=document(f"{ROOT}/commits/{n % 5_000}", n))]
        ).SerializeToString()
        for n in range(count)
    ]
    with grpc.insecure_channel(address) as channel:
        return count / pipelined(channel.unary_unary(SERVICE + "Commit"), requests)


def batched_writes(address: str, count: int) -> float:
    """Writes a second, in commits of 100, of documents that a query's index holds."""
    query = protos.StructuredQuery()
    query.from_.add(collection_id="batched")
    query.order_by.add().field.field_path = "n"
    query.limit.value = 1
    ask = protos.RunQueryRequest(parent=ROOT, structured_query=query).SerializeToString()
    requests = [
        protos.CommitRequest(
            database=DATABASE,
            writes=[
                protos.Write(update=document(f"{ROOT}/batched/{(begin + n) % 20_000}", begin + n))
                for n in range(100)
            ],
        ).SerializeToString()
        for begin in range(0, count, 100)
    ]
    with grpc.insecure_channel(address) as channel:
        list(channel.unary_stream(SERVICE + "RunQuery")(ask))
        return count / pipelined(channel.unary_unary(SERVICE + "Commit"), requests, in_flight=4)


def streamed(address: str, count: int) -> float:
    """Documents a second that a query streams."""
    with grpc.insecure_channel(address) as channel:
        query = protos.StructuredQuery()
        query.from_.add(collection_id="batched")
        query.limit.value = 10_000
        request = protos.RunQueryRequest(parent=ROOT, structured_query=query).SerializeToString()
        stub = channel.unary_stream(SERVICE + "RunQuery")
        found, begin = 0, time.perf_counter()
        while found < count:
            found += sum(1 for _ in stub(request))
        return found / (time.perf_counter() - begin)


def in_process_commits(count: int) -> float:
    """Single-write commits a second by raw RPCs on the in-process channel, side by side as over gRPC."""

    async def run() -> float:
        client: AsyncClient = Emulator().client()
        commit = client._firestore_api.transport.grpc_channel.unary_unary(
            SERVICE + "Commit",
            request_serializer=lambda data: data,
            response_deserializer=lambda data: data,
        )
        requests = [
            protos.CommitRequest(
                database=DATABASE, writes=[protos.Write(update=document(f"{ROOT}/commits/{n % 5_000}", n))]
            ).SerializeToString()
            for n in range(count)
        ]

        async def worker(mine: Iterator[bytes]) -> None:
            for request in mine:
                await commit(request)

        shared = iter(requests)
        begin = time.perf_counter()
        await asyncio.gather(*(worker(shared) for _ in range(IN_FLIGHT)))
        return count / (time.perf_counter() - begin)

    return asyncio.run(run())


def large_store(count: int) -> dict[str, float]:
    """What so many documents take in memory, and how fast a query finds ten of them; in a process of its own."""
    bytes_per_doc, milliseconds = _in_another_process(f"large_store({count})")
    return {"bytes_per_doc": bytes_per_doc, "indexed_query_ms": milliseconds}


def overwriting(count: int) -> float:
    """By how many bytes each overwrite makes the process larger, once there were as many as an hour brings."""
    (growth,) = _in_another_process(f"overwriting({count})")
    return growth


def _in_another_process(call: str) -> list[float]:
    code = f"import asyncio; from benchmarks import large_store; asyncio.run(large_store.{call})"
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True)
    return [float(figure) for figure in done.stdout.split()]
