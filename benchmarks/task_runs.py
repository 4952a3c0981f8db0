"""The runs of `benchmarks.tasks`: each returns one figure."""

from __future__ import annotations

import asyncio
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import grpc
from google.cloud import tasks_v2

from benchmarks.pinned_emulator import PinnedEmulator
from benchmarks.pipelining import IN_FLIGHT, pipelined
from emulator.tasks import TasksEmulator

TARGETS = {
    "startup_s": "< 1",
    "tasks_per_s": ">= 1,000",
    "in_process_tasks_per_s": ">= 10,000",
}
SERVICE = "/google.cloud.tasks.v2.CloudTasks/"
PARENT = "projects/demo/locations/local"
QUEUES = [f"{PARENT}/queues/q-{n}" for n in range(8)]
"""Each of them dispatches 500 tasks a second, as in production: fewer would be what is measured."""

_ROOT = Path(__file__).parents[1]
_IN_PROCESS = "http://worker.test"


class Server(PinnedEmulator):
    """A Cloud Tasks with all queues, on the first core that this process may use; this process moves to the others."""

    def __init__(self, *arguments: str) -> None:
        queues = [argument for queue in QUEUES for argument in ("--queue", queue)]
        super().__init__("tasks", "CLOUD_TASKS_EMULATOR_HOST", *queues, *arguments)


def startup() -> float:
    """Seconds from the command to the first answer."""
    request = tasks_v2.GetQueueRequest.pb()(name=QUEUES[0]).SerializeToString()
    begin = time.perf_counter()
    with Server() as server, grpc.insecure_channel(server.address) as channel:
        channel.unary_unary(SERVICE + "GetQueue")(request, wait_for_ready=True)
        return time.perf_counter() - begin


def tasks(address: str, count: int, times: int = 1) -> list[float]:
    """Tasks a second, created over gRPC and dispatched over HTTP, from the first creation to the last delivery."""
    with _worker(count) as (url, done):
        requests = _creations(f"{url}/", count)
        rates = []
        with grpc.insecure_channel(address) as channel:
            create = channel.unary_unary(SERVICE + "CreateTask")
            for _ in range(times):
                begin = time.perf_counter()
                pipelined(create, requests)
                done()
                rates.append(count / (time.perf_counter() - begin))
        return rates


def in_process_tasks(count: int) -> float:
    """Tasks a second, created by raw RPCs on the in-process channel, and run by `drain` through a mounted ASGI app."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def run() -> float:
        emulator = TasksEmulator()
        emulator.mount(_IN_PROCESS, app)
        for queue in QUEUES:
            emulator.create_queue(queue)
        create = emulator.client().transport.grpc_channel.unary_unary(
            SERVICE + "CreateTask",
            request_serializer=lambda data: data,
            response_deserializer=lambda data: data,
        )
        requests = _creations(f"{_IN_PROCESS}/", count)

        async def creator(mine: Iterator[bytes]) -> None:
            for request in mine:
                await create(request)

        shared = iter(requests)
        begin = time.perf_counter()
        await asyncio.gather(*(creator(shared) for _ in range(IN_FLIGHT)))
        dispatched = await emulator.drain()
        seconds = time.perf_counter() - begin
        if dispatched != count:
            raise RuntimeError(f"{dispatched} of {count} tasks were dispatched")
        return count / seconds

    return asyncio.run(run())


def _creations(url: str, count: int) -> list[bytes]:
    task = tasks_v2.Task(http_request={"url": url})
    encoded = [
        tasks_v2.CreateTaskRequest.pb(tasks_v2.CreateTaskRequest(parent=queue, task=task)).SerializeToString()
        for queue in QUEUES
    ]
    return [encoded[n % len(QUEUES)] for n in range(count)]


@contextmanager
def _worker(count: int) -> Iterator[tuple[str, Any]]:
    """A worker in a process of its own: its URL, and what returns each time it has had `count` more tasks."""
    process = subprocess.Popen(
        [sys.executable, "-m", "benchmarks.task_worker", str(count)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=_ROOT,
    )
    assert process.stdout is not None
    output = process.stdout
    try:
        yield f"http://127.0.0.1:{output.readline().strip()}", output.readline
    finally:
        process.kill()
        process.wait()
        output.close()
