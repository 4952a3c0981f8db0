from __future__ import annotations

from datetime import timedelta
from itertools import pairwise
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.tasks_v2 import CloudTasksAsyncClient

from emulator.manual_clock import ManualClock
from emulator.tasks import TasksEmulator
from tests.emulator.tasks.recording_worker import RecordingWorker, Request, http
from tests.emulator.tasks.waiting import until

SECOND = timedelta(seconds=1)


async def attempts(
    tasks: TasksEmulator, clock: ManualClock, worker: RecordingWorker, duration: timedelta
) -> list[float]:
    """When the worker is called meanwhile, in seconds from now."""
    start, times = clock.monotonic(), []

    async def note(_: Request) -> None:
        times.append(round(clock.monotonic() - start, 3))

    worker.before_answer = note
    end = clock.now() + duration
    async with tasks.running():
        while clock.now() < end:
            wake = await until(clock)
            clock.advance(min(end, wake or end) - clock.now())
        await until(clock)
    return times


async def test_the_interval_doubles_then_grows_linearly_up_to_its_maximum(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, worker: RecordingWorker, clock: ManualClock
) -> None:
    config = {"min_backoff": 10 * SECOND, "max_backoff": 300 * SECOND, "max_doublings": 3, "max_attempts": -1}
    queue = tasks.create_queue("q", retry_config=config)
    worker.statuses.extend([500] * 20)
    await client.create_task(parent=queue, task=http())
    times = await attempts(tasks, clock, worker, timedelta(seconds=1_300))
    gaps = [round(later - earlier) for earlier, later in pairwise(times)]
    assert gaps == [10, 20, 40, 80, 160, 240, 300, 300]


@pytest.mark.parametrize("status", [100, 301, 400, 404, 429, 500, 503])
async def test_whatever_is_no_success_is_tried_again(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
    status: int,
) -> None:
    worker.statuses.append(status)
    task = await client.create_task(parent=queue, task=http())
    assert await tasks.drain() == 1
    assert (await client.get_task(name=task.name)).response_count == 1
    assert await tasks.drain() == 0
    clock.advance(SECOND)
    assert await tasks.drain() == 1
    with pytest.raises(exceptions.NotFound):
        await client.get_task(name=task.name)


@pytest.mark.parametrize("status", [200, 201, 204, 299])
async def test_every_2xx_is_the_end_of_a_task(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker, status: int
) -> None:
    worker.statuses.append(status)
    await client.create_task(parent=queue, task=http())
    await tasks.drain()
    assert [task async for task in await client.list_tasks(parent=queue)] == []


async def test_attempts_are_recorded_in_the_task(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    start = clock.now()
    worker.statuses.extend([500, 404])
    task = await client.create_task(parent=queue, task=http())
    await tasks.drain()
    clock.advance(SECOND)
    await tasks.drain()

    task = await client.get_task(name=task.name)
    assert (task.dispatch_count, task.response_count) == (2, 2)
    assert task.first_attempt.dispatch_time == start
    assert "response_time" not in task.first_attempt
    assert task.last_attempt.schedule_time == start + timedelta(seconds=0.1)
    assert task.last_attempt.dispatch_time == task.last_attempt.response_time == start + SECOND
    assert task.last_attempt.response_status.code == 5
    assert task.last_attempt.response_status.message == "NOT_FOUND(5): HTTP status code 404"
    assert task.schedule_time == start + SECOND + timedelta(seconds=0.2)


async def test_a_task_is_dropped_once_it_was_tried_often_enough_and_long_enough(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, worker: RecordingWorker, clock: ManualClock
) -> None:
    config: dict[str, Any] = {"min_backoff": SECOND, "max_backoff": SECOND, "max_attempts": 3}
    few = tasks.create_queue("few", retry_config=config)
    long = tasks.create_queue("long", retry_config={**config, "max_retry_duration": 10 * SECOND})
    worker.statuses.extend([500] * 100)
    await client.create_task(parent=few, task=http("/few"))
    await client.create_task(parent=long, task=http("/long"))
    await attempts(tasks, clock, worker, 60 * SECOND)
    assert worker.paths.count("/few") == 3
    assert worker.paths.count("/long") == 11
    for queue in (few, long):
        assert [task async for task in await client.list_tasks(parent=queue)] == []


async def test_a_tasks_own_retries_go_before_its_queues(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    worker.statuses.extend([500] * 10)
    own = {"max_attempts": 2, "min_backoff": 5 * SECOND, "max_backoff": 5 * SECOND}
    await client.create_task(parent=queue, task=http(retry_config=own))
    assert await attempts(tasks, clock, worker, 60 * SECOND) == [0, 5]


async def test_a_retry_is_not_earlier_than_the_worker_asks_for(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    worker.statuses.append(503)
    worker.headers.append((b"Retry-After", b"120"))
    await client.create_task(parent=queue, task=http())
    assert await attempts(tasks, clock, worker, 200 * SECOND) == [0, 120]


async def test_an_update_of_the_queue_counts_from_the_next_failure_on(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    worker.statuses.extend([500, 500])
    await client.create_task(parent=queue, task=http())
    await tasks.drain()
    await client.update_queue(
        queue={"name": queue, "retry_config": {"min_backoff": 50 * SECOND, "max_backoff": 50 * SECOND}}
    )
    assert await attempts(tasks, clock, worker, 60 * SECOND) == [0.1, 50.1]


async def test_the_deadline_ends_an_attempt_and_not_the_task(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    async def hang(_: Request) -> None:
        await clock.sleep(timedelta(days=1))

    worker.before_answer = hang
    task = await client.create_task(parent=queue, task=http(dispatch_deadline=20 * SECOND))
    async with tasks.running():
        await until(clock)
        clock.advance(20 * SECOND - timedelta(microseconds=1))
        await until(clock)
        assert "response_time" not in (await client.get_task(name=task.name)).last_attempt
        clock.advance(timedelta(microseconds=1))
        await until(clock)
        task = await client.get_task(name=task.name)
        assert (task.dispatch_count, task.response_count) == (1, 0)
        assert task.last_attempt.response_status.code == 4
        assert "within 20 s" in task.last_attempt.response_status.message
        worker.before_answer = None
        clock.advance(SECOND)
        await until(clock)
    assert len(worker.requests) == 2
