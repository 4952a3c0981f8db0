"""A worker under uvicorn, called over HTTP, with real signals."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
import sys
import time
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import Any

import aiohttp
import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator
from emulator.tasks import TasksEmulator
from eventbox import EventBox, Recipient
from eventbox.listening import listen
from eventbox.tasks import TaskQueue

ACCOUNT = "tasks@demo.iam.gserviceaccount.com"
APP = "tests.eventbox.tasks.worker.worker_process:app"


class Town:
    """Emulators that are served, and a socket on which workers take turns."""

    def __init__(
        self, client: AsyncClient, queue: TaskQueue, environment: dict[str, str], listener: socket.socket
    ):
        self.client = client
        self.queue = queue
        self.box = queue.box
        self.order = Recipient(client.document("orders/1"), "order")
        self.target = queue.target
        self._environment = environment
        self._listener = listener

    @asynccontextmanager
    async def worker(
        self, *, grace_s: float = 7, hurry: bool = False
    ) -> AsyncIterator[asyncio.subprocess.Process]:
        """A worker's process; killed at the end where it lives still."""
        environment = {**self._environment, "GRACE_S": str(grace_s)}
        if hurry:
            environment["HURRY"] = "1"
        fd = self._listener.fileno()
        command = [sys.executable, "-m", "uvicorn", APP, "--fd", str(fd), "--log-level", "warning"]
        process = await asyncio.create_subprocess_exec(*command, pass_fds=[fd], env=environment)
        try:
            yield process
        finally:
            if process.returncode is None:
                process.kill()
            await process.wait()

    async def until(self, path: str, **fields: Any) -> dict[str, Any]:
        """What the document holds once it is there, with these fields."""
        async with aclosing(listen(self.client.document(path))) as snapshots:
            async for snapshot in snapshots:
                for document in snapshot.documents.values():
                    data: dict[str, Any] = document.to_dict() or {}
                    if data.items() >= fields.items():
                        return data
        raise AssertionError("a listener does not end")


@pytest.fixture
async def town() -> AsyncIterator[Town]:
    tasks = TasksEmulator()
    queue = tasks.create_queue("orders")
    firestore = Emulator()
    with socket.create_server(("127.0.0.1", 0)) as listener:
        target = f"http://127.0.0.1:{listener.getsockname()[1]}"
        async with firestore.serving("127.0.0.1:0") as firestore_address, tasks.serving() as tasks_address:
            client = firestore.client("demo")
            environment = {
                **os.environ,
                "FIRESTORE_EMULATOR_HOST": firestore_address,
                "CLOUD_TASKS_EMULATOR_HOST": tasks_address,
                "CERTS_URL": tasks.certs_url or "",
                "QUEUE": queue,
                "TARGET": target,
                "ACCOUNT": ACCOUNT,
                "GRPC_VERBOSITY": "NONE",
            }
            queue_here = TaskQueue(
                tasks.client(), queue, target=target, service_account=ACCOUNT, box=EventBox(client)
            )
            async with queue_here:
                yield Town(client, queue_here, environment, listener)


async def ended(process: asyncio.subprocess.Process) -> None:
    """Wait for its end. Cloud Run waits 10 s."""
    async with asyncio.timeout(10):
        await process.wait()


async def test_a_worker_that_is_told_to_stop_finishes_its_batch_and_leaves_the_rest(town: Town) -> None:
    async with town.worker() as first:
        await town.queue.send(b"", town.order, id="slow")
        await town.until("reached/slow")
        await town.queue.send(b"", town.order, id="next", wake=False)
        first.send_signal(signal.SIGTERM)
        await ended(first)

        assert first.returncode == -signal.SIGTERM, "as uvicorn ends by itself"
        assert [event.id for event in await town.box.list_events(town.order)] == ["next"]
    async with town.worker():
        await town.until("orders/1", applied=["slow", "next"])


async def test_a_worker_that_is_told_to_stop_lets_go_of_a_batch_that_does_not_end(town: Town) -> None:
    async with town.worker(grace_s=0.5) as first:
        await town.queue.send(b"", town.order, id="stuck")
        await town.until("reached/stuck")
        began = time.monotonic()
        first.send_signal(signal.SIGTERM)
        await ended(first)
        assert time.monotonic() - began >= 0.5
    async with town.worker(hurry=True):
        await town.until("orders/1", applied=["stuck"])


async def test_a_worker_that_is_killed_loses_nothing_and_does_nothing_twice(town: Town) -> None:
    async with town.worker() as first:
        await town.queue.send(b"", town.order, id="a")
        await town.until("orders/1", applied=["a"])
        await town.queue.send(b"", town.order, id="stuck")
        await town.until("reached/stuck")
        first.kill()
        await ended(first)
    async with town.worker(hurry=True):
        await town.queue.send(b"", town.order, id="b")
        data = await town.until("orders/1", eventbox_eversion=3)

    assert sorted(data["applied"]) == ["a", "b", "stuck"]


async def test_strangers_get_nowhere_over_http(town: Town) -> None:
    async with town.worker(), aiohttp.ClientSession() as session:
        async with session.post(f"{town.target}/eventbox/wake", data=b"{}") as response:
            assert response.status == 401
        async with session.get(f"{town.target}/healthz") as response:
            assert response.status == 200
