"""`TasksEmulator(data_dir=...)`: the queues and tasks of an emulator are those of the next one."""

from __future__ import annotations

import asyncio
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import pytest
from google.api_core import exceptions
from google.cloud.tasks_v2 import Queue, Task

from emulator.manual_clock import ManualClock
from emulator.tasks import TasksEmulator
from tests.emulator.tasks.recording_worker import WORKER, RecordingWorker, http

QUEUE = "projects/demo/locations/us-central1/queues/default"


@contextmanager
def opened(folder: Path, clock: ManualClock, worker: RecordingWorker) -> Iterator[TasksEmulator]:
    emulator = TasksEmulator(data_dir=folder, clock=clock)
    emulator.mount(WORKER, worker)
    try:
        yield emulator
    finally:
        emulator.close()


def named(name: str, **fields: object) -> dict[str, object]:
    return {"name": f"{QUEUE}/tasks/{name}", **http(**fields)}


async def test_queues_survive_with_their_settings_and_state(
    tmp_path: Path, clock: ManualClock, worker: RecordingWorker
) -> None:
    with opened(tmp_path, clock, worker) as emulator:
        client = emulator.client()
        emulator.create_queue("default", retry_config={"max_attempts": 3})
        await client.pause_queue(name=QUEUE)
        await client.purge_queue(name=QUEUE)
        before = await client.get_queue(name=QUEUE)
        emulator.create_queue("gone")
        await client.delete_queue(name=QUEUE.replace("default", "gone"))
    with opened(tmp_path, clock, worker) as emulator:
        client = emulator.client()
        after = await client.get_queue(name=QUEUE)
        assert after == before
        assert (after.state, after.retry_config.max_attempts) == (Queue.State.PAUSED, 3)
        with pytest.raises(exceptions.FailedPrecondition):
            await client.create_queue(
                parent=QUEUE.partition("/queues/")[0], queue={"name": QUEUE.replace("default", "gone")}
            )


async def test_tasks_survive_with_their_attempts_and_go_on_with_their_retries(
    tmp_path: Path, clock: ManualClock, worker: RecordingWorker
) -> None:
    worker.statuses.extend([404, 503])
    with opened(tmp_path, clock, worker) as emulator:
        emulator.create_queue("default", retry_config={"min_backoff": {"seconds": 10}, "max_attempts": 3})
        client = emulator.client()
        await client.create_task(parent=QUEUE, task=named("t", body=b"\x00payload", headers={"A": "b"}))
        assert await emulator.drain() == 1
        before = await client.get_task(name=f"{QUEUE}/tasks/t", timeout=1)
    clock.advance(timedelta(seconds=10))
    with opened(tmp_path, clock, worker) as emulator:
        assert await emulator.client().get_task(name=f"{QUEUE}/tasks/t") == before
        assert await emulator.drain() == 1
    clock.advance(timedelta(seconds=20))
    with opened(tmp_path, clock, worker) as emulator:
        assert await emulator.drain() == 1
        with pytest.raises(exceptions.NotFound):
            await emulator.client().get_task(name=f"{QUEUE}/tasks/t")
    counts = [
        (one.headers["x-cloudtasks-taskretrycount"], one.headers["x-cloudtasks-taskexecutioncount"])
        for one in worker.requests
    ]
    assert counts == [("0", "0"), ("1", "1"), ("2", "1")]
    assert worker.requests[2].headers["x-cloudtasks-taskpreviousresponse"] == "503"
    assert {(one.body, one.headers["a"]) for one in worker.requests} == {(b"\x00payload", "b")}


async def test_names_stay_taken_while_queued_and_for_the_window_after(
    tmp_path: Path, clock: ManualClock, worker: RecordingWorker
) -> None:
    later = clock.now() + timedelta(hours=1)
    with opened(tmp_path, clock, worker) as emulator:
        emulator.create_queue("default")
        client = emulator.client()
        for name in ("done", "deleted"):
            await client.create_task(parent=QUEUE, task=named(name))
        await client.delete_task(name=f"{QUEUE}/tasks/deleted")
        await emulator.drain()
        await client.create_task(parent=QUEUE, task=named("queued", schedule_time=later))
    with opened(tmp_path, clock, worker) as emulator:
        for name in ("done", "deleted", "queued"):
            with pytest.raises(exceptions.AlreadyExists):
                await emulator.client().create_task(parent=QUEUE, task=named(name))
    clock.advance(timedelta(hours=24))
    with opened(tmp_path, clock, worker) as emulator:
        for name in ("done", "deleted"):
            await emulator.client().create_task(parent=QUEUE, task=named(name))


async def test_what_is_due_is_dispatched_in_the_order_that_it_had(
    tmp_path: Path, clock: ManualClock, worker: RecordingWorker
) -> None:
    with opened(tmp_path, clock, worker) as emulator:
        emulator.create_queue("default", rate_limits={"max_concurrent_dispatches": 1})
        for n in range(20):
            await emulator.client().create_task(parent=QUEUE, task=http(f"/{n}"))
    with opened(tmp_path, clock, worker) as emulator:
        assert await emulator.drain() == 20
    assert worker.paths == [f"/{n}" for n in range(20)]


async def test_what_is_cleared_is_gone_from_the_folder_too(
    tmp_path: Path, clock: ManualClock, worker: RecordingWorker
) -> None:
    with opened(tmp_path, clock, worker) as emulator:
        emulator.create_queue("default")
        await emulator.client().create_task(parent=QUEUE, task=named("t"))
        emulator.clear()
    with opened(tmp_path, clock, worker) as emulator:
        emulator.create_queue("default")
        assert await emulator.drain() == 0
        await emulator.client().create_task(parent=QUEUE, task=named("t"))


async def test_a_change_that_cannot_be_kept_is_refused_and_not_done(
    tmp_path: Path, clock: ManualClock, worker: RecordingWorker
) -> None:
    with opened(tmp_path, clock, worker) as emulator:
        emulator.create_queue("default")
        client = emulator.client()
        database = emulator._engine._journal._database  # type: ignore[union-attr]
        (pages,) = database.execute("PRAGMA page_count").fetchone()
        database.execute(f"PRAGMA max_page_count = {pages}")
        with pytest.raises(exceptions.ResourceExhausted, match="could not be written to"):
            await client.create_task(parent=QUEUE, task=named("t", body=b"x" * 500_000))
        database.execute("PRAGMA max_page_count = 1000000")
        assert await emulator.drain() == 0
        await client.create_task(parent=QUEUE, task=named("t", body=b"x" * 500_000))
        assert await emulator.drain() == 1


def test_a_folder_has_one_emulator_at_a_time_and_a_bad_one_is_refused(
    tmp_path: Path, clock: ManualClock, worker: RecordingWorker
) -> None:
    with opened(tmp_path, clock, worker):
        with pytest.raises(ValueError, match="in use by another emulator"):
            TasksEmulator(data_dir=tmp_path)
    with opened(tmp_path, clock, worker):
        pass
    (tmp_path / "x").write_text("x")
    with pytest.raises(ValueError, match="it is a file"):
        TasksEmulator(data_dir=tmp_path / "x")


async def test_all_fields_of_a_task_survive(
    tmp_path: Path, clock: ManualClock, worker: RecordingWorker
) -> None:
    task = named(
        "t",
        http_method="PUT",
        body=b"x" * 1_000,
        headers={"A": "b"},
        oidc_token={"service_account_email": "a@b.iam.gserviceaccount.com", "audience": "https://x"},
        schedule_time=clock.now() + timedelta(minutes=3),
        dispatch_deadline=timedelta(seconds=77),
    )
    full = {"name": f"{QUEUE}/tasks/t", "response_view": Task.View.FULL}
    with opened(tmp_path, clock, worker) as emulator:
        emulator.create_queue("default")
        await emulator.client().create_task(parent=QUEUE, task=task)
        before = await emulator.client().get_task(request=full)
    with opened(tmp_path, clock, worker) as emulator:
        assert await emulator.client().get_task(request=full) == before
    assert before.http_request.body == b"x" * 1_000


@contextmanager
def no_room(folder: Path) -> Iterator[None]:
    """A quota that is used up: nothing more can be written to the folder."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / "tasks.sqlite3-wal").stat().st_size, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


async def test_a_full_disk_ends_no_dispatching_and_loses_no_task(
    tmp_path: Path, clock: ManualClock, worker: RecordingWorker
) -> None:
    ran = asyncio.Event()

    async def tell(_: object) -> None:
        ran.set()

    worker.before_answer = tell
    with opened(tmp_path, clock, worker) as emulator:
        emulator.create_queue("default")
        client = emulator.client()
        await client.create_task(parent=QUEUE, task=named("done"))
        await emulator.drain()
        await client.create_task(parent=QUEUE, task=named("t", schedule_time=clock.now() + timedelta(days=1)))
        async with emulator.running():
            with no_room(tmp_path):
                ran.clear()
                clock.advance(timedelta(days=1))  # a name is free again, and a task is due
                await ran.wait()
                for _ in range(20):
                    await asyncio.sleep(0)
            ran.clear()
            clock.advance(timedelta(minutes=1))
            await ran.wait()
        await emulator.drain()
        with pytest.raises(exceptions.NotFound):
            await client.get_task(name=f"{QUEUE}/tasks/t")
    assert [one.task for one in worker.requests[:3]] == ["done", "t", "t"]
