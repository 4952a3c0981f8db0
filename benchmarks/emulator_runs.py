"""The runs of `benchmarks.emulator`: each returns one figure."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

import grpc
from google.cloud.firestore import AsyncClient

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
_ROOT = "projects/demo/databases/(default)/documents"
_DATABASE = "projects/demo/databases/(default)"
_SERVICE = "/google.firestore.v1.Firestore/"
_IN_FLIGHT = 32
_READY = "export FIRESTORE_EMULATOR_HOST="


class Server:
    """An emulator process on the first core that this process may use; this process moves to the others."""

    def __init__(self, *arguments: str) -> None:
        self._arguments = arguments

    def __enter__(self) -> Server:
        cores = sorted(os.sched_getaffinity(0))
        self._cores = set(cores)
        self._process = subprocess.Popen(
            [sys.executable, "-m", "emulator", "firestore", "--port", "0", *self._arguments],
            stdout=subprocess.PIPE,
            text=True,
        )
        if len(cores) > 1:
            os.sched_setaffinity(self._process.pid, {cores[0]})
            os.sched_setaffinity(0, set(cores[1:]))
        assert self._process.stdout is not None
        while not (line := self._process.stdout.readline()).startswith(_READY):
            if not line:
                raise RuntimeError("the emulator did not come up")
        self.address = line.strip().removeprefix(_READY)
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._process.terminate()
        self._process.wait()
        os.sched_setaffinity(0, self._cores)


def startup() -> float:
    """Seconds from the command to the first answer."""
    request = protos.GetDocumentRequest(name=f"{_ROOT}/a/1").SerializeToString()
    begin = time.perf_counter()
    with Server() as server, grpc.insecure_channel(server.address) as channel:
        try:
            channel.unary_unary(_SERVICE + "GetDocument")(request, wait_for_ready=True)
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
            database=_DATABASE, writes=[protos.Write(update=document(f"{_ROOT}/commits/{n % 5_000}", n))]
        ).SerializeToString()
        for n in range(count)
    ]
    with grpc.insecure_channel(address) as channel:
        return count / _pipelined(channel.unary_unary(_SERVICE + "Commit"), requests)


def batched_writes(address: str, count: int) -> float:
    """Writes a second, in commits of 100, of documents that a query's index holds."""
    query = protos.StructuredQuery()
    query.from_.add(collection_id="batched")
    query.order_by.add().field.field_path = "n"
    query.limit.value = 1
    ask = protos.RunQueryRequest(parent=_ROOT, structured_query=query).SerializeToString()
    requests = [
        protos.CommitRequest(
            database=_DATABASE,
            writes=[
                protos.Write(update=document(f"{_ROOT}/batched/{(begin + n) % 20_000}", begin + n))
                for n in range(100)
            ],
        ).SerializeToString()
        for begin in range(0, count, 100)
    ]
    with grpc.insecure_channel(address) as channel:
        list(channel.unary_stream(_SERVICE + "RunQuery")(ask))
        return count / _pipelined(channel.unary_unary(_SERVICE + "Commit"), requests, in_flight=4)


def streamed(address: str, count: int) -> float:
    """Documents a second that a query streams."""
    with grpc.insecure_channel(address) as channel:
        query = protos.StructuredQuery()
        query.from_.add(collection_id="batched")
        query.limit.value = 10_000
        request = protos.RunQueryRequest(parent=_ROOT, structured_query=query).SerializeToString()
        stub = channel.unary_stream(_SERVICE + "RunQuery")
        found, begin = 0, time.perf_counter()
        while found < count:
            found += sum(1 for _ in stub(request))
        return found / (time.perf_counter() - begin)


def in_process_commits(count: int) -> float:
    """Single-write commits a second by raw RPCs on the in-process channel, side by side as over gRPC."""

    async def run() -> float:
        client: AsyncClient = Emulator().client()
        commit = client._firestore_api.transport.grpc_channel.unary_unary(
            _SERVICE + "Commit",
            request_serializer=lambda data: data,
            response_deserializer=lambda data: data,
        )
        requests = [
            protos.CommitRequest(
                database=_DATABASE, writes=[protos.Write(update=document(f"{_ROOT}/commits/{n % 5_000}", n))]
            ).SerializeToString()
            for n in range(count)
        ]

        async def worker(mine: Iterator[bytes]) -> None:
            for request in mine:
                await commit(request)

        shared = iter(requests)
        begin = time.perf_counter()
        await asyncio.gather(*(worker(shared) for _ in range(_IN_FLIGHT)))
        return count / (time.perf_counter() - begin)

    return asyncio.run(run())


def large_store(count: int) -> dict[str, float]:
    """What many documents take, how fast a query finds ten of them, and what overwriting them adds, in one process."""
    code = f"from benchmarks import emulator_runs; emulator_runs.print_large_store({count})"
    output = subprocess.run(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, check=True
    ).stdout
    names = ("bytes_per_doc", "indexed_query_ms", "overwrites_growth_bytes_per_write")
    return dict(zip(names, map(float, output.split()), strict=True))


def print_large_store(count: int) -> None:
    """Print the three figures of `large_store`."""
    asyncio.run(_large_store(count))


async def _large_store(count: int) -> None:
    clock = _HourlyClock()
    client = Emulator(clock=clock).client()
    channel = client._firestore_api.transport.grpc_channel
    commit = channel.unary_unary(_SERVICE + "Commit", None, None)
    before = _resident_bytes()
    for begin in range(0, count, 500):
        writes = [
            protos.Write(update=document(f"{_ROOT}/large/{n:08}", n)) for n in range(begin, begin + 500)
        ]
        await commit(protos.CommitRequest(database=_DATABASE, writes=writes).SerializeToString())
    query = protos.StructuredQuery()
    query.from_.add(collection_id="large")
    query.order_by.add().field.field_path = "n"
    query.limit.value = 10
    run_query = channel.unary_stream(_SERVICE + "RunQuery", None, None)

    async def ask(n: int) -> float:
        query.start_at.CopyFrom(protos.Cursor(values=[protos.Value(integer_value=n)], before=True))
        request = protos.RunQueryRequest(parent=_ROOT, structured_query=query).SerializeToString()
        begin = time.perf_counter()
        found = [one async for one in run_query(request)]
        assert len(found) == 10
        return time.perf_counter() - begin

    await ask(0)  # which makes the index
    times = sorted([await ask(n) for n in range(0, count - 10, count // 100)])
    print((_resident_bytes() - before) / count, times[len(times) // 2] * 1_000)
    # ten hours of overwriting a few documents: what is over an hour old is let go
    grown = []
    for _ in range(10):
        for n in range(20_000):
            writes = [protos.Write(update=document(f"{_ROOT}/large/{n % 100:08}", n))]
            await commit(protos.CommitRequest(database=_DATABASE, writes=writes).SerializeToString())
            clock.seconds += 3_600 / 20_000
        grown.append(_resident_bytes())
    print((grown[-1] - grown[1]) / (8 * 20_000))


class _HourlyClock:
    """A clock that is moved by hand."""

    def __init__(self) -> None:
        self.seconds = 1.8e9

    def now(self) -> Any:
        from datetime import UTC, datetime

        return datetime.fromtimestamp(self.seconds, UTC)

    def monotonic(self) -> float:
        return self.seconds

    async def sleep(self, duration: Any) -> None:
        raise NotImplementedError


def _resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")


def _pipelined(stub: Any, requests: Sequence[bytes], in_flight: int = _IN_FLIGHT) -> float:
    """Seconds that the requests take, so many at a time."""
    room = threading.Semaphore(in_flight)
    failed: list[Any] = []

    def done(call: Any) -> None:
        if call.code() is not grpc.StatusCode.OK:
            failed.append(call)
        room.release()

    begin = time.perf_counter()
    for request in requests:
        room.acquire()
        stub.future(request).add_done_callback(done)
    for _ in range(in_flight):
        room.acquire()
    if failed:
        raise RuntimeError(f"{len(failed)} RPCs failed: {failed[0].details()}")
    return time.perf_counter() - begin
