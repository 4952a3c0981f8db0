"""`kill -9` at any moment: every task whose creation was answered is dispatched, also one that was under way."""

from __future__ import annotations

import asyncio
from pathlib import Path
from random import Random

import pytest
from google.api_core import exceptions
from google.cloud.tasks_v2 import CloudTasksAsyncClient

from emulator.tasks.process import TasksEmulatorProcess
from tests.emulator.tasks.connecting import connect
from tests.emulator.tasks.raw_worker import RawWorker, raw_worker

QUEUE = "projects/demo/locations/local/queues/q"
_KILLS = 5


def seen(worker: RawWorker) -> set[str]:
    """The names of the tasks that have come in."""
    return {
        line.partition(b": ")[2].decode()
        for request in worker.requests
        for line in request.split(b"\r\n")
        if line.startswith(b"X-CloudTasks-TaskName: ")
    }


async def create(
    client: CloudTasksAsyncClient, url: str, names: list[str], acknowledged: set[str], answers: asyncio.Event
) -> None:
    """Create tasks one by one, until the emulator is killed."""
    try:
        for name in names:
            task = {"name": f"{QUEUE}/tasks/{name}", "http_request": {"url": url, "body": b"x" * 2_000}}
            await client.create_task(parent=QUEUE, task=task)
            acknowledged.add(name)
            answers.set()
    except (exceptions.GoogleAPICallError, asyncio.CancelledError):
        pass


@pytest.mark.slow
async def test_a_killed_emulator_loses_no_task_whose_creation_was_answered(tmp_path: Path) -> None:
    rng, acknowledged = Random(1), set[str]()
    async with raw_worker() as worker:
        for kill in range(_KILLS):
            async with (
                TasksEmulatorProcess(queues=[QUEUE], data_dir=tmp_path) as process,
                connect(process.address) as client,
            ):
                answers = asyncio.Event()
                creators = [
                    asyncio.ensure_future(
                        create(
                            client, worker.url, [f"{kill}-{n}-{m}" for m in range(300)], acknowledged, answers
                        )
                    )
                    for n in range(4)
                ]
                enough = len(acknowledged) + rng.randint(1, 200)
                while len(acknowledged) < enough:
                    answers.clear()
                    await answers.wait()
                process.kill()
                await asyncio.wait(creators)
        async with TasksEmulatorProcess(queues=[QUEUE], data_dir=tmp_path) as process:
            while not acknowledged <= seen(worker):
                worker.asked.clear()
                await worker.asked.wait()
            # and names stay taken, of those that are done too
            async with connect(process.address) as client:
                task = {"name": f"{QUEUE}/tasks/{min(acknowledged)}", "http_request": {"url": worker.url}}
                with pytest.raises(exceptions.AlreadyExists):
                    await client.create_task(parent=QUEUE, task=task)


async def test_a_task_that_was_under_way_at_the_kill_is_dispatched_again(tmp_path: Path) -> None:
    async with raw_worker() as worker:
        worker.answer = None
        task = {"name": f"{QUEUE}/tasks/t", "http_request": {"url": worker.url}}
        async with TasksEmulatorProcess(queues=[QUEUE], data_dir=tmp_path) as process:
            async with connect(process.address) as client:
                await client.create_task(parent=QUEUE, task=task)
            await worker.asked.wait()
            process.kill()
        worker.asked.clear()
        async with TasksEmulatorProcess(data_dir=tmp_path):
            await worker.asked.wait()
    assert len(worker.requests) == 2
    assert seen(worker) == {"t"}


async def test_a_killed_emulator_signs_with_the_same_key_again(tmp_path: Path) -> None:
    keys = []
    for _ in range(2):
        async with TasksEmulatorProcess(data_dir=tmp_path) as process:
            keys.append(await key_ids(process.certs_url))
            process.kill()
    assert keys[0] == keys[1]


async def key_ids(certs_url: str) -> list[str]:
    import aiohttp

    async with aiohttp.ClientSession() as session, session.get(certs_url) as response:
        return list(await response.json())
