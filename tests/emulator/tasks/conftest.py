from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest
from google.cloud.tasks_v2 import CloudTasksAsyncClient, CloudTasksClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from emulator.grpc_server import serve
from emulator.manual_clock import ManualClock
from emulator.tasks import TasksEmulator
from emulator.tasks.limits import MAX_REQUEST_BYTES
from tests.emulator.tasks.recording_worker import WORKER, RecordingWorker


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def worker() -> RecordingWorker:
    """An application that is mounted at WORKER."""
    return RecordingWorker()


@pytest.fixture
def tasks(clock: ManualClock, worker: RecordingWorker) -> TasksEmulator:
    """An emulator in process, on `clock`."""
    emulator = TasksEmulator(clock=clock)
    emulator.mount(WORKER, worker)
    return emulator


@pytest.fixture
def queue(tasks: TasksEmulator) -> str:
    return tasks.create_queue("default")


@pytest.fixture
def client(tasks: TasksEmulator) -> CloudTasksAsyncClient:
    return tasks.client()


@pytest.fixture(params=["in_process", "grpc"])
async def either_client(
    request: pytest.FixtureRequest, tasks: TasksEmulator
) -> AsyncIterator[CloudTasksAsyncClient]:
    """A client of `tasks`, over each of its fronts for asyncio; nothing is dispatched in the background."""
    if request.param == "in_process":
        yield tasks.client()
        return
    async with serve(tasks._front, "127.0.0.1:0", max_request_bytes=MAX_REQUEST_BYTES) as address:
        transport = CloudTasksGrpcAsyncIOTransport(channel=grpc.aio.insecure_channel(address))
        yield CloudTasksAsyncClient(transport=transport)
        await transport.close()


@pytest.fixture
def sync(tasks: TasksEmulator) -> CloudTasksClient:
    return tasks.sync_client()
