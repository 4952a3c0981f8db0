"""The Cloud Tasks emulator as a process: it comes up, says where it is, dispatches, and goes quietly."""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions

from emulator.tasks import Fault
from emulator.tasks.process import TasksEmulatorProcess
from tests.emulator.tasks.connecting import connect
from tests.emulator.tasks.raw_worker import raw_worker
from tests.emulator.tasks.test_oidc import verify

PARENT = "projects/demo/locations/local"
QUEUE = f"{PARENT}/queues/q"


async def command(*arguments: str, **kwargs: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "emulator", "tasks", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **kwargs,
    )  # fmt: skip


async def finish(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    output, errors = await process.communicate()
    process._transport.close()  # type: ignore[attr-defined]
    return process.returncode, output.decode(), errors.decode()


async def test_a_process_dispatches_what_google_s_client_creates_with_a_token_that_verifies() -> None:
    email = "invoker@demo.iam.gserviceaccount.com"
    async with (
        raw_worker() as worker,
        TasksEmulatorProcess(queues=[QUEUE]) as process,
        connect(process.address) as client,
    ):
        request = {
            "url": f"{worker.url}/work",
            "body": b"payload",
            "oidc_token": {"service_account_email": email, "audience": "https://worker.example"},
        }
        await client.create_task(parent=QUEUE, task={"name": f"{QUEUE}/tasks/t-1", "http_request": request})
        await worker.asked.wait()
        head, _, body = worker.requests[0].partition(b"\r\n\r\n")
        line, *lines = head.decode().split("\r\n")
        headers = dict(one.split(": ", 1) for one in lines)
        assert (line, body) == ("POST /work HTTP/1.1", b"payload")
        assert headers["X-CloudTasks-TaskName"] == "t-1"
        assert headers["User-Agent"] == "Google-Cloud-Tasks"
        token = headers["Authorization"].removeprefix("Bearer ")
        assert (await verify(token, process.certs_url))["email"] == email
        counts = await process.counts()
        assert (dict(counts.rpcs), counts.dispatches) == ({"CreateTask": 1}, 1)
        await process.reset_counts()
        assert (await process.counts()).dispatches == 0
        with pytest.raises(ValueError, match="unknown command 'nonsense'"):
            await process._do("nonsense")
    await process.stop()
    with pytest.raises(RuntimeError, match="not running"):
        await process.counts()


async def test_a_process_takes_faults_and_is_cleared() -> None:
    async with TasksEmulatorProcess(queues=[QUEUE]) as process, connect(process.address) as client:
        await process.add_fault(Fault(rpc="GetQueue", error="PERMISSION_DENIED"))
        with pytest.raises(exceptions.PermissionDenied):
            await client.get_queue(name=QUEUE)
        assert (await client.get_queue(name=QUEUE)).name == QUEUE
        with pytest.raises(ValueError, match="a fault has no 'nonsense'"):
            await process._do("add_fault", {"nonsense": 1})
        await process.add_fault(Fault(rpc="GetQueue", error="PERMISSION_DENIED"))
        await process.clear_faults()
        await client.get_queue(name=QUEUE)
        await process.clear()
        with pytest.raises(exceptions.NotFound):
            await client.get_queue(name=QUEUE, retry=None)


async def test_a_name_is_free_again_after_the_window_that_it_is_given() -> None:
    async with (
        raw_worker() as worker,
        TasksEmulatorProcess(queues=[QUEUE], dedup_window=timedelta(0)) as free,
        TasksEmulatorProcess(queues=[QUEUE]) as kept,
    ):
        task = {"name": f"{QUEUE}/tasks/t-1", "http_request": {"url": worker.url}}
        for process, again in ((free, True), (kept, False)):
            async with connect(process.address) as client:
                await client.pause_queue(name=QUEUE)
                await client.create_task(parent=QUEUE, task=task)
                await client.delete_task(name=task["name"])
                if again:
                    await client.create_task(parent=QUEUE, task=task)
                else:
                    with pytest.raises(exceptions.AlreadyExists):
                        await client.create_task(parent=QUEUE, task=task)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_prints_what_to_paste_and_ends_at_once_and_quietly_while_a_task_is_under_way(
    number: signal.Signals, tmp_path: Path
) -> None:
    async with raw_worker() as worker:
        worker.answer = None
        arguments = ("--port", "0", "--queue", QUEUE, "--data-dir", str(tmp_path))
        process = await command(*arguments, stdin=asyncio.subprocess.DEVNULL)
        assert process.stdout is not None
        lines = [(await process.stdout.readline()).decode() for _ in range(3)]
        assert lines[0].startswith("export CLOUD_TASKS_EMULATOR_HOST=127.0.0.1:")
        assert lines[1].startswith("certs: http://127.0.0.1:")
        assert f"with its tasks in {tmp_path};" in lines[2]
        async with connect(lines[0].strip().partition("=")[2]) as client:
            await client.create_task(parent=QUEUE, task={"http_request": {"url": worker.url}})
            await worker.asked.wait()
            process.send_signal(number)
            assert await finish(process) == (0, "", "")
    assert [one.name for one in tmp_path.iterdir()] == ["tasks.sqlite3"]


async def test_it_ends_with_the_process_that_started_it() -> None:
    process = await command("--port", "0", "--control-stdio", stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()  # as when the parent was killed
    code, output, errors = await finish(process)
    assert (code, errors) == (0, "")
    assert output.startswith("export CLOUD_TASKS_EMULATOR_HOST=127.0.0.1:")


async def test_it_warns_where_it_listens_to_more_than_this_machine() -> None:
    arguments = ("--port", "0", "--host", "0.0.0.0", "--control-stdio")
    process = await command(*arguments, stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()
    code, _, errors = await finish(process)
    assert code == 0
    assert "--host 0.0.0.0 is not loopback" in errors


async def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        for arguments in (("--port", port, "--certs-port", "0"), ("--port", "0", "--certs-port", port)):
            code, output, errors = await finish(await command(*arguments, env={"GRPC_VERBOSITY": "NONE"}))
            assert (code, output) == (1, "")
            assert port in errors
            assert errors.count("\n") == 1


async def test_a_folder_in_use_is_one_clear_line(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    async with TasksEmulatorProcess(data_dir=tmp_path):
        with pytest.raises(RuntimeError, match="did not come up"):
            await TasksEmulatorProcess(data_dir=tmp_path).start()
        assert "in use by another emulator" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--port", "x"), 2, "--port"),
        (("--dedup-window", "-1"), 2, "--dedup-window"),
        (("--certs-port", "70000"), 2, "--certs-port"),
        (("--port", "0", "--queue", "non/sense"), 1, "non/sense"),
    ],
)
async def test_bad_usage_is_told(arguments: tuple[str, ...], code: int, message: str) -> None:
    found, _, errors = await finish(await command(*arguments))
    assert found == code
    assert message in errors
    assert "Traceback" not in errors
