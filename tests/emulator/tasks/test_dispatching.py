from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from google.cloud.tasks_v2 import CloudTasksAsyncClient

from emulator.manual_clock import ManualClock
from emulator.tasks import TasksEmulator
from tests.emulator.tasks.recording_worker import WORKER, RecordingWorker, Request, http
from tests.emulator.tasks.waiting import until


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
        await until(clock)
        clock.advance(timedelta(seconds=9))
        await called.wait()
    assert len(worker.requests) == 2


async def test_a_paused_queue_dispatches_nothing_until_it_is_resumed(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    other = tasks.create_queue("other")
    await client.pause_queue(name=queue)
    await client.create_task(parent=queue, task=http("/paused"))
    await client.create_task(parent=other, task=http("/other"))
    assert await tasks.drain() == 1
    async with tasks.running():
        assert worker.paths == ["/other"]
        await client.resume_queue(name=queue)
        assert await tasks.drain() == 1
    assert worker.paths == ["/other", "/paused"]


@pytest.mark.parametrize("way", ["delete_task", "purge_queue", "delete_queue"])
async def test_a_task_that_goes_while_it_runs_is_not_tried_again(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
    way: str,
) -> None:
    task = await client.create_task(parent=queue, task=http())

    async def end(_: Request) -> None:
        await getattr(client, way)(name=task.name if way == "delete_task" else queue)

    worker.before_answer = end
    worker.statuses.append(500)
    assert await tasks.drain() == 1
    clock.advance(timedelta(days=1))
    assert await tasks.drain() == 0


async def test_the_end_of_a_deleted_task_is_not_that_of_another_with_its_name(
    clock: ManualClock, worker: RecordingWorker
) -> None:
    tasks = TasksEmulator(clock=clock, dedup_window=timedelta(0))
    tasks.mount(WORKER, worker)
    queue, client = tasks.create_queue("q"), tasks.client()
    named = http(name=f"{queue}/tasks/t", schedule_time=clock.now())

    async def replace(_: Request) -> None:
        worker.before_answer = None
        await client.delete_task(name=named["name"])
        await client.create_task(
            parent=queue, task={**named, "schedule_time": clock.now() + timedelta(hours=1)}
        )

    worker.before_answer = replace
    await client.create_task(parent=queue, task=named)
    await tasks.drain()
    assert (await client.get_task(name=named["name"])).dispatch_count == 0
    clock.advance(timedelta(hours=1))
    assert await tasks.drain() == 1


async def test_a_task_that_goes_before_its_turn_is_not_dispatched(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    await client.create_task(parent=queue, task=http("/stays"))
    gone = await client.create_task(parent=queue, task=http("/gone"))
    await client.delete_task(name=gone.name)
    assert await tasks.drain() == 1
    assert worker.paths == ["/stays"]


async def test_a_queue_has_no_more_under_way_than_it_allows(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, worker: RecordingWorker
) -> None:
    queue = tasks.create_queue("narrow", rate_limits={"max_concurrent_dispatches": 3})
    under_way, most = 0, 0

    async def count(_: Request) -> None:
        nonlocal under_way, most
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        under_way -= 1

    worker.before_answer = count
    for _ in range(20):
        await client.create_task(parent=queue, task=http())
    assert await tasks.drain() == 20
    assert most == 3


async def test_drain_knows_no_rates_and_the_background_does(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, worker: RecordingWorker, clock: ManualClock
) -> None:
    queue = tasks.create_queue("slow", rate_limits={"max_dispatches_per_second": 2})
    for _ in range(10):
        await client.create_task(parent=queue, task=http())
    assert await tasks.drain() == 10

    worker.requests.clear()
    clock.advance(timedelta(minutes=1))
    for _ in range(10):
        await client.create_task(parent=queue, task=http())
    async with tasks.running():
        told = []
        for _ in range(5):
            await until(clock)
            told.append(len(worker.requests))
            clock.advance(timedelta(seconds=1))
    assert told == [2, 4, 6, 8, 10]


async def test_a_queue_whose_worker_is_overloaded_slows_down_and_recovers(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, worker: RecordingWorker, clock: ManualClock
) -> None:
    queue = tasks.create_queue("q", rate_limits={"max_dispatches_per_second": 10})
    other = tasks.create_queue("other", rate_limits={"max_dispatches_per_second": 10})
    for _ in range(1_000):
        await client.create_task(parent=queue, task=http("/overloaded"))
        await client.create_task(parent=other, task=http("/other"))
    worker.statuses.append(429)

    async def a_second() -> tuple[int, int]:
        before = list(worker.paths)
        for _ in range(20):
            clock.advance(timedelta(seconds=0.05))
            await until(clock)
        new = worker.paths[len(before) :]
        return new.count("/overloaded"), new.count("/other")

    async with tasks.running():
        await until(clock)
        slowed, whole = await a_second()
        assert slowed <= 6
        assert whole == 10
        for _ in range(40):
            recovered, whole = await a_second()
        assert recovered == whole == 10


async def test_queues_take_turns(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, worker: RecordingWorker
) -> None:
    first, second = tasks.create_queue("first"), tasks.create_queue("second")
    for _ in range(100):
        await client.create_task(parent=first, task=http("/first"))
    for _ in range(3):
        await client.create_task(parent=second, task=http("/second"))
    await tasks.drain()
    assert worker.paths[:6] == ["/first", "/second"] * 3


async def test_a_drain_that_is_cancelled_gives_its_tasks_back(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    async def hang(_: Request) -> None:
        await clock.sleep(timedelta(minutes=1))

    worker.before_answer = hang
    task = await client.create_task(parent=queue, task=http())
    drain = asyncio.ensure_future(tasks.drain())
    await until(clock)
    drain.cancel()
    with pytest.raises(asyncio.CancelledError):
        await drain

    worker.before_answer = None
    assert await tasks.drain() == 1
    assert [request.task for request in worker.requests] == [task.name.rpartition("/")[2]] * 2


async def test_what_is_under_way_when_the_background_ends_is_due_again(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    async def hang(_: Request) -> None:
        await clock.sleep(timedelta(minutes=1))

    worker.before_answer = hang
    await client.create_task(parent=queue, task=http())
    async with tasks.running():
        await until(clock)
    worker.before_answer = None
    assert await tasks.drain() == 1
    assert len(worker.requests) == 2


async def test_a_drain_waits_for_what_the_background_has_begun(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    async def hang(_: Request) -> None:
        await clock.sleep(timedelta(seconds=9))

    worker.before_answer = hang
    await client.create_task(parent=queue, task=http())
    async with tasks.running():
        await until(clock)
        drain = asyncio.ensure_future(tasks.drain())
        await until(clock)
        assert not drain.done()
        clock.advance(timedelta(seconds=9))
        assert await drain == 1


async def test_what_goes_elsewhere_than_to_a_mounted_application_goes_over_http(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str
) -> None:
    task = await client.create_task(
        parent=queue, task={"http_request": {"url": "http://127.0.0.1:9/nobody-listens-here"}}
    )
    assert await tasks.drain() == 1
    attempt = (await client.get_task(name=task.name)).last_attempt
    assert attempt.response_status.code == 14


async def test_tasks_of_many_loops_one_after_the_other_are_dispatched(
    tasks: TasksEmulator, queue: str, worker: RecordingWorker
) -> None:
    def in_a_loop_of_its_own() -> int:
        async def once() -> int:
            await tasks.client().create_task(parent=queue, task=http())
            return await tasks.drain()

        return asyncio.run(once())

    assert [await asyncio.to_thread(in_a_loop_of_its_own) for _ in range(3)] == [1, 1, 1]


async def test_a_drain_by_an_application_that_is_being_called_is_refused_and_not_waited_for_for_ever(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    refused = []

    async def drain(_: Request) -> None:
        worker.before_answer = None
        try:
            await tasks.drain()
        except RuntimeError as error:
            refused.append(str(error))

    worker.before_answer = drain
    await client.create_task(parent=queue, task=http())
    async with asyncio.timeout(60):
        assert await tasks.drain() == 1
    assert len(refused) == 1
    assert "drain() was called by an application" in refused[0]


async def test_what_an_application_has_left_running_may_drain_once_it_has_answered(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    answered, later = asyncio.Event(), []

    async def drain() -> int:
        await answered.wait()
        return await tasks.drain()

    async def leave_running(_: Request) -> None:
        worker.before_answer = None
        later.append(asyncio.ensure_future(drain()))

    worker.before_answer = leave_running
    await client.create_task(parent=queue, task=http())
    await tasks.drain()
    await client.create_task(parent=queue, task=http())
    answered.set()
    assert await later[0] == 1


async def test_what_was_under_way_in_a_loop_that_was_closed_is_due_again(
    tasks: TasksEmulator,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    async def hang(_: Request) -> None:
        await clock.sleep(timedelta(minutes=1))

    async def begin() -> None:
        await tasks.client().create_task(parent=queue, task=http())
        drains.append(asyncio.ensure_future(tasks.drain()))
        await until(clock)

    async def end() -> None:
        left = asyncio.all_tasks() - {asyncio.current_task()}  # also what was given up, and ends for nobody
        for task in left:
            task.cancel()
        await asyncio.wait(left)

    drains: list[asyncio.Future[int]] = []  # kept, or the garbage collector might end one
    worker.before_answer = hang
    loop = asyncio.new_event_loop()
    await asyncio.to_thread(loop.run_until_complete, begin())
    worker.before_answer = None
    with monkeypatch.context() as patched:
        # one that is really closed would leave its coroutines to the garbage collector, in some later test
        patched.setattr(loop, "is_closed", lambda: True)
        async with asyncio.timeout(60):
            assert await tasks.drain() == 2  # the one that was lost has ended too
    assert len(worker.requests) == 2
    await asyncio.to_thread(loop.run_until_complete, end())
    loop.close()
