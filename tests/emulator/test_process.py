"""The emulator as a process: it comes up, says where it is, obeys, and goes quietly."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from pathlib import Path
from typing import Any

import pytest
from google.api_core.exceptions import FailedPrecondition

from emulator.process import EmulatorProcess
from tests.fronts import connect


async def command(*arguments: str, **kwargs: Any) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "emulator", *arguments,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, **kwargs,
    )  # fmt: skip


async def finish(process: asyncio.subprocess.Process) -> tuple[int | None, str, str]:
    output, errors = await process.communicate()
    process._transport.close()  # type: ignore[attr-defined]
    return process.returncode, output.decode(), errors.decode()


async def test_a_process_serves_counts_and_is_cleared() -> None:
    async with EmulatorProcess() as process:
        async with connect(process.address) as client:
            await client.document("a/1").set({"n": 1})
            counts = await process.counts()
            assert (dict(counts.rpcs), counts.writes) == ({"Commit": 1}, 1)
            await process.reset_counts()
            assert (await process.counts()).writes == 0
            await process.clear()
            assert not (await client.document("a/1").get()).exists
        assert await process._ask("nonsense") == {"error": "unknown command 'nonsense'"}
    await process.stop()
    with pytest.raises(RuntimeError, match="not running"):
        await process.counts()


async def test_a_process_that_does_not_come_up_is_a_runtime_error(tmp_path: Path) -> None:
    broken = tmp_path / "x.json"
    broken.write_text("{")
    with pytest.raises(RuntimeError, match="did not come up"):
        await EmulatorProcess(indexes=broken).start()


async def test_a_process_enforces_the_indexes_of_a_file(tmp_path: Path) -> None:
    path = tmp_path / "firestore.indexes.json"
    override = {"collectionGroup": "a", "fieldPath": "n", "indexes": [{"order": "ASCENDING"}]}
    path.write_text(json.dumps({"fieldOverrides": [override]}))
    async with (
        EmulatorProcess(indexes=path, enforce_indexes=True) as process,
        connect(process.address) as client,
    ):
        await client.collection("a").order_by("n").get()
        with pytest.raises(FailedPrecondition, match="requires a COLLECTION_DESC index"):
            await client.collection("a").order_by("n", direction="DESCENDING").get()
    async with EmulatorProcess(indexes=path) as process, connect(process.address) as client:
        await client.collection("a").order_by("n", direction="DESCENDING").get()


async def test_a_process_that_was_killed_has_gone() -> None:
    async with EmulatorProcess() as process:
        process.kill()
        with pytest.raises((RuntimeError, ConnectionError)):
            for _ in range(10):
                await process.counts()


async def test_it_ends_with_the_process_that_started_it() -> None:
    process = await command("firestore", "--port", "0", "--control-stdio", stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    process.stdin.close()  # as when the parent was killed
    code, output, errors = await finish(process)
    assert (code, errors) == (0, "")
    assert output.startswith("export FIRESTORE_EMULATOR_HOST=127.0.0.1:")


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_prints_the_line_to_paste_and_ends_quietly_on_a_signal(number: signal.Signals) -> None:
    process = await command("firestore", "--port", "0", stdin=asyncio.subprocess.DEVNULL)
    assert process.stdout is not None
    line = (await process.stdout.readline()).decode()
    assert line.startswith("export FIRESTORE_EMULATOR_HOST=127.0.0.1:")
    await process.stdout.readline()
    process.send_signal(number)
    assert await finish(process) == (0, "", "")


async def test_a_port_that_is_taken_is_one_clear_line() -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        environment = {"GRPC_VERBOSITY": "NONE"}
        code, output, errors = await finish(await command("firestore", "--port", port, env=environment))
    assert (code, output) == (1, "")
    assert f"cannot bind 127.0.0.1:{port}" in errors
    assert "Traceback" not in errors


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("tasks",), "not available yet"),
        (("firestore", "--port", "x"), "--port"),
        (("firestore", "--concurrency", "none"), "--concurrency"),
        (("nothing",), "No such command"),
    ],
)
async def test_bad_usage_is_told(arguments: tuple[str, ...], message: str) -> None:
    code, _, errors = await finish(await command(*arguments))
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors
