from __future__ import annotations

import asyncio
import threading
from datetime import timedelta

import pytest
from google.cloud.tasks_v2 import CloudTasksAsyncClient, CloudTasksClient, Task

from emulator.manual_clock import ManualClock
from emulator.tasks import Fault, TasksEmulator
from tests.emulator.tasks.recording_worker import RecordingWorker, Request, http
from tests.emulator.tasks.waiting import until

LATER = timedelta(hours=1)


async def test_a_task_is_run_before_its_time_and_only_once(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    task = await client.create_task(parent=queue, task=http(schedule_time=clock.now() + LATER, body=b"x"))
    run = await client.run_task(request={"name": task.name, "response_view": Task.View.FULL})
    assert run.http_request.body == b"x"
    assert await tasks.drain() == 1
    clock.advance(LATER)
    assert await tasks.drain() == 0
    assert len(worker.requests) == 1


async def test_a_task_is_run_at_once_though_nobody_dispatches(
    client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker, clock: ManualClock
) -> None:
    task = await client.create_task(parent=queue, task=http(schedule_time=clock.now() + LATER))
    await client.run_task(name=task.name)
    await until(clock)
    assert len(worker.requests) == 1


async def test_a_task_of_a_paused_queue_is_run(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    await client.pause_queue(name=queue)
    task = await client.create_task(parent=queue, task=http())
    other = await client.create_task(parent=queue, task=http("/other"))
    assert await tasks.drain() == 0
    await client.run_task(name=task.name)
    assert await tasks.drain() == 1
    await client.resume_queue(name=queue)
    assert await tasks.drain() == 1
    assert worker.requests[1].task == other.name.rpartition("/")[2]


async def test_a_task_is_run_though_the_queue_has_no_place_left(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, worker: RecordingWorker, clock: ManualClock
) -> None:
    queue = tasks.create_queue("narrow", rate_limits={"max_concurrent_dispatches": 1})
    release = asyncio.Event()

    async def hold(request: Request) -> None:
        if request.path == "/hold":
            await release.wait()

    worker.before_answer = hold
    await client.create_task(parent=queue, task=http("/hold"))
    second = await client.create_task(parent=queue, task=http("/second"))
    await client.create_task(parent=queue, task=http("/third"))
    async with tasks.running():
        await until(clock)
        assert worker.paths == ["/hold"]
        await client.run_task(name=second.name)
        await until(clock)
        assert worker.paths == ["/hold", "/second"]
        release.set()
        await until(clock)
        assert worker.paths == ["/hold", "/second", "/third"]


async def test_a_task_that_fails_when_it_is_run_waits_from_then_on(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, worker: RecordingWorker, clock: ManualClock
) -> None:
    config = {"min_backoff": 2 * LATER, "max_backoff": 2 * LATER}
    queue = tasks.create_queue("patient", retry_config=config)
    start = clock.now()

    async def take_a_minute(_: Request) -> None:
        await clock.sleep(timedelta(minutes=1))

    worker.before_answer = take_a_minute
    worker.statuses.extend([500, 500])
    task = await client.create_task(parent=queue, task=http(schedule_time=start + LATER))
    async with tasks.running():
        await client.run_task(name=task.name)
        await until(clock)
        clock.advance(timedelta(minutes=1))
        await until(clock)
        task = await client.get_task(name=task.name)
        assert task.schedule_time == start + 2 * LATER  # reckoned from the call
        assert task.dispatch_count == 1

        clock.advance(LATER)
        await until(clock)
        assert len(worker.requests) == 1  # when it was to run first, it does not
        clock.advance(LATER - timedelta(minutes=1))
        await until(clock)
        clock.advance(timedelta(minutes=1))
        await until(clock)
        task = await client.get_task(name=task.name)
        assert task.dispatch_count == 2
        assert task.schedule_time == clock.now() + 2 * LATER  # and this one from its failure


async def test_a_task_that_is_running_is_run_once_more(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    async def hold(request: Request) -> None:
        if len(worker.requests) == 1:
            await clock.sleep(timedelta(seconds=5))

    worker.before_answer = hold
    worker.statuses.extend([500, 500])
    task = await client.create_task(parent=queue, task=http())
    async with tasks.running():
        await until(clock)
        await client.run_task(name=task.name)
        await until(clock)
        assert len(worker.requests) == 2
        assert (await client.get_task(name=task.name)).dispatch_count == 2
        clock.advance(timedelta(seconds=5))
        await until(clock)
        clock.advance(timedelta(seconds=5))
        await until(clock)
    assert len(worker.requests) == 3  # one retry for both


async def test_a_thread_without_event_loop_can_ask_for_it(
    tasks: TasksEmulator, sync: CloudTasksClient, queue: str, worker: RecordingWorker, clock: ManualClock
) -> None:
    called = asyncio.Event()
    loop = asyncio.get_running_loop()

    async def tell(_: Request) -> None:
        loop.call_soon(called.set)

    worker.before_answer = tell

    def ask() -> None:
        task = sync.create_task(parent=queue, task=http(schedule_time=clock.now() + LATER))
        sync.run_task(name=task.name)

    async with tasks.running():
        await until(clock)
        thread = threading.Thread(target=ask)
        thread.start()
        await called.wait()
        await asyncio.to_thread(thread.join)
    assert len(worker.requests) == 1


async def test_a_task_that_is_deleted_before_it_could_be_run_is_not_run(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    task = await client.create_task(parent=queue, task=http())
    await client.run_task(name=task.name)
    await client.delete_task(name=task.name)
    assert await tasks.drain() == 0


@pytest.mark.parametrize(
    ("fault", "calls"),
    [
        (Fault("Dispatch", when="late", latency=timedelta(seconds=9)), 1),
        (Fault("Dispatch", latency=timedelta(seconds=9)), 1),
        (Fault("Dispatch", error="INTERNAL", latency=timedelta(seconds=9)), 0),
        (Fault("Dispatch", when="after", latency=timedelta(seconds=9)), 1),
    ],
    ids=lambda value: f"{value.when}-{value.error}" if isinstance(value, Fault) else "",
)
async def test_a_fault_holds_up_what_is_run_by_hand_too_even_in_a_paused_queue(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
    fault: Fault,
    calls: int,
) -> None:
    await client.pause_queue(name=queue)
    task = await client.create_task(parent=queue, task=http(schedule_time=clock.now() + LATER))
    tasks.faults.add(fault)
    await client.run_task(name=task.name)
    assert await tasks.drain() == 0
    clock.advance(timedelta(seconds=9) - timedelta(microseconds=1))
    assert await tasks.drain() == 0
    clock.advance(timedelta(microseconds=1))
    assert await tasks.drain() == 1
    assert len(worker.requests) == calls


async def test_a_fault_holds_up_what_is_run_by_hand_in_the_background_until_its_time_has_come(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    task = await client.create_task(parent=queue, task=http(schedule_time=clock.now() + LATER))
    tasks.faults.add(Fault("Dispatch", when="late", latency=timedelta(seconds=9)))
    async with tasks.running():
        await client.run_task(name=task.name)
        await until(clock)
        assert worker.requests == []
        clock.advance(timedelta(seconds=9))
        await until(clock)
        assert len(worker.requests) == 1
