"""The emulator as a process: it comes up, says where it is, obeys, and goes quietly."""

from __future__ import annotations

import asyncio
import json
import signal
import socket
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from google.api_core import exceptions
from google.api_core.exceptions import FailedPrecondition

from emulator.firestore import Fault, Latency
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
        with pytest.raises(ValueError, match="unknown command 'nonsense'"):
            await process._do("nonsense")
        with pytest.raises(ValueError, match="cannot be done"):
            await process._do("clear", {"everything": True})
    await process.stop()
    with pytest.raises(RuntimeError, match="not running"):
        await process.counts()


async def test_a_process_takes_faults_and_gives_them_back() -> None:
    late = Fault(rpc="Commit", error="ABORTED", when="late", latency=timedelta(seconds=0.5))
    slow = Fault(
        path="c/*", times=None, latency=Latency.lognormal(timedelta(seconds=1), 0.5), probability=0.5
    )
    async with EmulatorProcess() as process, connect(process.address) as client:
        first = await process.add_fault(Fault(rpc="Commit", error="PERMISSION_DENIED", path="a/*", times=3))
        second = await process.add_fault(late)
        third = await process.add_fault(slow)
        with pytest.raises(exceptions.PermissionDenied):
            await client.document("a/1").set({})
        await client.document("b/1").get()
        faults = await process.faults()
        assert list(faults) == [first, second, third]
        assert faults[first].times == 2
        assert (faults[second], faults[third]) == (late, slow)
        await process.remove_fault(first)
        with pytest.raises(ValueError, match=f"there is no fault {first}"):
            await process.remove_fault(first)
        await process.clear_faults()
        assert await process.faults() == {}
        await client.document("a/1").set({})


async def test_a_process_has_a_clock_that_its_owner_moves() -> None:
    start = datetime(2031, 2, 3, tzinfo=UTC)
    async with EmulatorProcess(manual_clock=start) as process, connect(process.address) as client:
        ref = client.document("a/1")
        written = (await ref.set({})).update_time
        assert (await process.now(), written) == (start, start)
        await process.advance(timedelta(hours=1))
        assert (await ref.set({"n": 1})).update_time == start + timedelta(hours=1)
        with pytest.raises(ValueError, match="not negative"):
            await process.advance(timedelta(-1))
    async with EmulatorProcess() as process:
        with pytest.raises(ValueError, match="--manual-clock"):
            await process.advance(timedelta(1))


async def test_a_process_clears_one_database() -> None:
    async with EmulatorProcess() as process:
        async with connect(process.address) as one, connect(process.address) as other:
            for client in (one, other):
                await client.document("a/1").set({})
            await process.clear(one.project)
            assert not (await one.document("a/1").get()).exists
            assert (await other.document("a/1").get()).exists


async def test_a_process_listens_for_orders_over_http() -> None:
    async with EmulatorProcess(control_port=0) as process, aiohttp.ClientSession() as session:
        async with session.get(f"{process.control_url}/healthz") as response:
            assert await response.json() == {"status": "ok"}


async def test_without_a_control_port_nothing_of_http_is_imported() -> None:
    code = "import emulator.firestore.command, sys; sys.exit('aiohttp' in sys.modules)"
    process = await asyncio.create_subprocess_exec(sys.executable, "-c", code)
    assert await process.wait() == 0


@pytest.mark.parametrize(
    ("arguments", "warned"),
    [
        (("--host", "0.0.0.0"), "--host 0.0.0.0 is not loopback"),
        (("--host", "127.0.0.1"), None),
        (("--host", "::1"), None),
        (
            ("--host", "localhost", "--control-port", "0", "--control-host", "0.0.0.0"),
            "--control-host 0.0.0.0 is not",
        ),
    ],
)
async def test_it_warns_where_it_listens_to_more_than_this_machine(
    arguments: tuple[str, ...], warned: str | None
) -> None:
    process = await command(
        "firestore", "--port", "0", "--control-stdio", *arguments, stdin=asyncio.subprocess.PIPE
    )
    assert process.stdin is not None
    process.stdin.close()
    code, output, errors = await finish(process)
    assert code == 0
    assert output.startswith("export FIRESTORE_EMULATOR_HOST=")
    assert (warned or "") in errors
    assert bool(errors) == bool(warned)


async def test_it_says_where_it_takes_orders() -> None:
    process = await command("firestore", "--port", "0", "--control-port", "0", "--manual-clock")
    assert process.stdout is not None
    lines = [(await process.stdout.readline()).decode() for _ in range(3)]
    assert lines[0].startswith("export FIRESTORE_EMULATOR_HOST=127.0.0.1:")
    assert lines[1].startswith("control: http://127.0.0.1:")
    url = lines[1].strip().removeprefix("control: ")
    async with aiohttp.ClientSession() as session, session.get(f"{url}/clock") as response:
        assert (await response.json())["now"] == "2030-01-01T00:00:00+00:00"
    process.send_signal(signal.SIGTERM)
    assert await finish(process) == (0, "", "")


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
        (("firestore", "--port", "x"), "--port"),
        (("firestore", "--control-port", "70000"), "--control-port"),
        (("firestore", "--manual-clock", "soon"), "--manual-clock"),
        (("firestore", "--concurrency", "none"), "--concurrency"),
        (("nothing",), "No such command"),
    ],
)
async def test_bad_usage_is_told(arguments: tuple[str, ...], message: str) -> None:
    code, _, errors = await finish(await command(*arguments))
    assert code == 2
    assert message in errors
    assert "Traceback" not in errors
