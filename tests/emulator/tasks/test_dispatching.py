from __future__ import annotations

import asyncio
from datetime import timedelta

from google.cloud.tasks_v2 import CloudTasksAsyncClient

from emulator.manual_clock import ManualClock
from emulator.tasks import TasksEmulator
from tests.emulator.tasks.recording_worker import RecordingWorker, Request, http


async def turns() -> None:
    """Let whoever can go on go on."""
    for _ in range(20):
        await asyncio.sleep(0)


async def test_drain_dispatches_what_is_due_and_tells_how_much(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    for number in range(3):
        await client.create_task(parent=queue, task=http(f"/{number}", body=b"%d" % number))

    assert await tasks.drain() == 3
    assert [(request.path, request.body) for request in worker.requests] == [
        ("/0", b"0"), ("/1", b"1"), ("/2", b"2"),
    ]  # fmt: skip
    assert await tasks.drain() == 0
    assert tasks.counts.dispatches == 3


async def test_a_task_is_dispatched_when_its_time_has_come_and_not_before(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    await client.create_task(parent=queue, task=http(schedule_time=clock.now() + timedelta(minutes=5)))
    assert await tasks.drain() == 0
    clock.advance(timedelta(minutes=5) - timedelta(microseconds=1))
    assert await tasks.drain() == 0
    clock.advance(timedelta(microseconds=1))
    assert await tasks.drain() == 1


async def test_drain_runs_what_workers_create_meanwhile(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    async def create_another(request: Request) -> None:
        left = int(request.body)
        if left:
            await client.create_task(parent=queue, task=http(body=b"%d" % (left - 1)))

    worker.before_answer = create_another
    await client.create_task(parent=queue, task=http(body=b"4"))

    assert await tasks.drain() == 5


async def test_running_dispatches_in_the_background(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    called = asyncio.Event()

    async def tell(request: Request) -> None:
        called.set()

    worker.before_answer = tell
    async with tasks.running():
        await client.create_task(parent=queue, task=http())
        await called.wait()
        called.clear()
        await client.create_task(parent=queue, task=http(schedule_time=clock.now() + timedelta(seconds=9)))
        await turns()
        clock.advance(timedelta(seconds=9))
        await called.wait()
    assert len(worker.requests) == 2
