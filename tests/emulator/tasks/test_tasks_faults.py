"""Faults, as a test orders them: of RPCs, and of the delivery of a task."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.tasks_v2 import CloudTasksAsyncClient

from emulator.manual_clock import ManualClock
from emulator.tasks import Fault, Latency, TasksEmulator
from tests.emulator.tasks.recording_worker import RecordingWorker, http
from tests.emulator.tasks.waiting import until

SECOND = timedelta(seconds=1)


async def names(client: CloudTasksAsyncClient, queue: str) -> list[str]:
    return [task.name async for task in await client.list_tasks(parent=queue)]


# RPCs -------------------------------------------------------------------------------------------------------


async def test_an_rpc_fails_before_anything_is_done(
    either_client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str
) -> None:
    tasks.faults.add(Fault(rpc="CreateTask", error="UNAVAILABLE"))
    with pytest.raises(exceptions.ServiceUnavailable, match="fault injected"):
        await either_client.create_task(parent=queue, task=http())
    assert await names(either_client, queue) == []
    await either_client.create_task(parent=queue, task=http())


async def test_an_answer_is_lost_after_the_task_was_created(
    either_client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str
) -> None:
    tasks.faults.add(Fault(rpc="CreateTask", error="UNAVAILABLE", when="after"))
    named = http(name=f"{queue}/tasks/t")
    with pytest.raises(exceptions.ServiceUnavailable):
        await either_client.create_task(parent=queue, task=named)
    with pytest.raises(exceptions.AlreadyExists):
        await either_client.create_task(parent=queue, task=named)


async def test_a_task_is_created_late(
    either_client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, clock: ManualClock
) -> None:
    tasks.faults.add(Fault(rpc="CreateTask", error="DEADLINE_EXCEEDED", when="late", latency=5 * SECOND))
    with pytest.raises(exceptions.DeadlineExceeded):
        await either_client.create_task(parent=queue, task=http())
    assert await names(either_client, queue) == []
    await until(clock)
    clock.advance(5 * SECOND)
    await until(clock)
    assert len(await names(either_client, queue)) == 1


async def test_a_request_that_the_network_doubles_creates_two_tasks_without_a_name_and_one_with(
    either_client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str
) -> None:
    tasks.faults.add(Fault(rpc="CreateTask", when="twice", times=2))
    await either_client.create_task(parent=queue, task=http())
    await either_client.create_task(parent=queue, task=http(name=f"{queue}/tasks/t"))
    assert len(await names(either_client, queue)) == 3
    assert tasks.counts.rpcs["CreateTask"] == 4


async def test_a_fault_can_be_about_one_queue(
    either_client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str
) -> None:
    other = tasks.create_queue("other")
    tasks.faults.add(Fault(error="ABORTED", queue="other", times=None))
    created = await either_client.create_task(parent=queue, task=http())
    await either_client.get_task(name=created.name)
    await either_client.get_queue(name=queue)
    location = queue.partition("/queues/")[0]
    await either_client.list_queues(parent=location)
    for call in (
        either_client.create_task(parent=other, task=http()),
        either_client.get_queue(name=other),
        either_client.get_task(name=f"{other}/tasks/t"),
        either_client.update_queue(queue={"name": other}),
        either_client.create_queue(parent=location, queue={"name": other}),
    ):
        with pytest.raises(exceptions.Aborted):
            await call


async def test_a_fault_of_any_rpc_is_none_of_dispatches(
    client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str
) -> None:
    await client.create_task(parent=queue, task=http())
    pending = tasks.faults.add(Fault(error="UNAVAILABLE"))
    assert await tasks.drain() == 1
    assert pending.remaining == 1
    pending.remove()
    assert await names(client, queue) == []


# Dispatches -------------------------------------------------------------------------------------------------


async def test_a_task_is_not_delivered_and_tried_again(
    client: CloudTasksAsyncClient,
    tasks: TasksEmulator,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    tasks.faults.add(Fault(rpc="Dispatch"))
    task = await client.create_task(parent=queue, task=http())
    assert await tasks.drain() == 1
    assert worker.requests == []
    attempt = (await client.get_task(name=task.name)).last_attempt
    assert attempt.response_status.code == 14
    assert "fault injected" in attempt.response_status.message
    clock.advance(SECOND)
    assert await tasks.drain() == 1
    assert worker.requests[0].headers["x-cloudtasks-taskretrycount"] == "1"


async def test_an_answer_of_the_worker_is_lost_and_the_task_delivered_again(
    client: CloudTasksAsyncClient,
    tasks: TasksEmulator,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    tasks.faults.add(Fault(rpc="Dispatch", error="DEADLINE_EXCEEDED", when="after"))
    task = await client.create_task(parent=queue, task=http())
    assert await tasks.drain() == 1
    assert (await client.get_task(name=task.name)).response_count == 0
    clock.advance(SECOND)
    assert await tasks.drain() == 1
    assert len(worker.requests) == 2
    assert await names(client, queue) == []


async def test_a_lost_answer_needs_no_name_for_its_loss(
    client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, worker: RecordingWorker
) -> None:
    tasks.faults.add(Fault(rpc="Dispatch", when="after"))
    task = await client.create_task(parent=queue, task=http())
    assert await tasks.drain() == 1
    assert len(worker.requests) == 1
    assert (await client.get_task(name=task.name)).last_attempt.response_status.code == 14


async def test_a_task_is_delivered_twice_at_once(
    client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, worker: RecordingWorker
) -> None:
    tasks.faults.add(Fault(rpc="Dispatch", when="twice"))
    await client.create_task(parent=queue, task=http(body=b"x"))
    assert await tasks.drain() == 2
    first, second = worker.requests
    assert (first.headers, first.body) == (second.headers, second.body)
    assert tasks.counts.dispatches == 2
    assert await names(client, queue) == []


async def test_a_task_is_delivered_a_second_time_long_after_it_was_done(
    client: CloudTasksAsyncClient,
    tasks: TasksEmulator,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    tasks.faults.add(Fault(rpc="Dispatch", when="twice", latency=60 * SECOND))
    await client.create_task(parent=queue, task=http())
    assert await tasks.drain() == 1
    assert await names(client, queue) == []
    clock.advance(59 * SECOND)
    assert await tasks.drain() == 0
    clock.advance(SECOND)
    assert await tasks.drain() == 1
    assert len(worker.requests) == 2


@pytest.mark.parametrize("when", ["late", "before"])
async def test_a_task_is_delivered_late(
    client: CloudTasksAsyncClient,
    tasks: TasksEmulator,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
    when: Any,
) -> None:
    tasks.faults.add(Fault(rpc="Dispatch", when=when, latency=60 * SECOND))
    eta = f"{clock.now().timestamp():.6f}"
    task = await client.create_task(parent=queue, task=http())
    assert await tasks.drain() == 0
    assert (await client.get_task(name=task.name)).dispatch_count == 0
    clock.advance(60 * SECOND)
    assert await tasks.drain() == 1
    assert worker.requests[0].headers["x-cloudtasks-tasketa"] == eta
    assert await names(client, queue) == []


async def test_a_task_that_was_given_up_is_delivered_after_its_retry(
    client: CloudTasksAsyncClient,
    tasks: TasksEmulator,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    tasks.faults.add(Fault(rpc="Dispatch", error="DEADLINE_EXCEEDED", when="late", latency=60 * SECOND))
    await client.create_task(parent=queue, task=http())
    assert await tasks.drain() == 1
    clock.advance(SECOND)
    assert await tasks.drain() == 1
    assert await names(client, queue) == []
    clock.advance(60 * SECOND)
    await tasks.drain()
    counts = [request.headers["x-cloudtasks-taskretrycount"] for request in worker.requests]
    assert counts == ["1", "0"]


async def test_a_slow_failure_fails_once_the_time_has_come(
    client: CloudTasksAsyncClient,
    tasks: TasksEmulator,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    tasks.faults.add(Fault(rpc="Dispatch", error="UNAVAILABLE", latency=60 * SECOND))
    task = await client.create_task(parent=queue, task=http())
    assert await tasks.drain() == 0
    clock.advance(60 * SECOND)
    assert await tasks.drain() == 1
    assert worker.requests == []
    assert (await client.get_task(name=task.name)).dispatch_count == 1


async def test_tasks_are_delivered_out_of_order(
    client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, worker: RecordingWorker
) -> None:
    tasks.faults.add(Fault(rpc="Dispatch", when="reordered", times=None))
    for number in range(5):
        await client.create_task(parent=queue, task=http(f"/{number}"))
    assert await tasks.drain() == 5
    assert worker.paths == ["/1", "/0", "/3", "/2", "/4"]


async def test_dispatches_of_other_queues_are_spared(
    client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, worker: RecordingWorker
) -> None:
    other = tasks.create_queue("other")
    tasks.faults.add(Fault(rpc="Dispatch", error="UNAVAILABLE", queue="other", times=None))
    await client.create_task(parent=other, task=http("/other"))
    await client.create_task(parent=queue, task=http("/default"))
    assert await tasks.drain() == 2
    assert worker.paths == ["/default"]


async def test_latency_can_be_left_to_chance(
    client: CloudTasksAsyncClient,
    tasks: TasksEmulator,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    latency = Latency.uniform(SECOND, 100 * SECOND)
    tasks.faults.add(Fault(rpc="Dispatch", latency=latency, times=None, probability=0.5))
    for _ in range(40):
        await client.create_task(parent=queue, task=http())
    at_once = await tasks.drain()
    assert 5 < at_once < 35
    clock.advance(50 * SECOND)
    assert 0 < await tasks.drain() < 40 - at_once
    clock.advance(50 * SECOND)
    await tasks.drain()
    assert len(worker.requests) == 40


async def test_clearing_takes_what_was_held_up_with_it(
    client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, clock: ManualClock
) -> None:
    tasks.faults.add(Fault(rpc="Dispatch", when="twice", latency=SECOND))
    await client.create_task(parent=queue, task=http())
    await tasks.drain()
    tasks.clear()
    clock.advance(SECOND)
    assert await tasks.drain() == 0


async def test_the_background_delivers_what_was_held_up(
    client: CloudTasksAsyncClient,
    tasks: TasksEmulator,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    tasks.faults.add(Fault(rpc="Dispatch", when="twice", latency=SECOND))
    await client.create_task(parent=queue, task=http())
    async with tasks.running():
        await until(clock)
        assert len(worker.requests) == 1
        clock.advance(SECOND)
        await until(clock)
        assert len(worker.requests) == 2


@pytest.mark.parametrize(
    "arguments",
    [
        {"rpc": "Commit"},
        {"rpc": 3},
        {"error": "OK"},
        {"error": "NONSENSE"},
        {"when": "cut"},
        {"when": "late"},
        {"when": "twice", "error": "ABORTED"},
        {"when": "reordered"},
        {"rpc": "Dispatch", "when": "reordered", "error": "ABORTED"},
        {"rpc": "Dispatch", "when": "reordered", "latency": SECOND},
        {"times": 0},
        {"times": True},
        {"latency": -SECOND},
        {"latency": 3},
        {"probability": 0},
        {"queue": ""},
        {"queue": "projects/p/locations/l/queues/q"},
        {"queue": 3},
    ],
)
def test_a_fault_that_makes_no_sense_is_refused(arguments: dict[str, Any]) -> None:
    with pytest.raises((ValueError, TypeError)):
        Fault(**arguments)


def test_a_fault_of_another_emulator_is_refused(tasks: TasksEmulator) -> None:
    from emulator.firestore import Fault as FirestoreFault

    with pytest.raises(TypeError, match="expected a Fault"):
        tasks.faults.add(FirestoreFault(rpc="Commit"))  # type: ignore[arg-type]


async def test_the_deadline_of_an_rpc_holds_in_process(
    client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, clock: ManualClock
) -> None:
    tasks.faults.add(Fault(rpc="CreateTask", latency=60 * SECOND))
    call = asyncio.ensure_future(client.create_task(parent=queue, task=http(), timeout=5))
    await until(clock)
    clock.advance(5 * SECOND)
    with pytest.raises(exceptions.DeadlineExceeded):
        await call
    assert await names(client, queue) == []
