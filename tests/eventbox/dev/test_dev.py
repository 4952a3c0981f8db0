"""`eventbox dev` as a person uses it: as a command, with a worker of theirs."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import socket
import sys
from collections.abc import AsyncIterator
from contextlib import closing, suppress
from pathlib import Path

import aiohttp
import pytest
from click.testing import CliRunner

from eventbox.cli import main
from tests.served_app import until

EXAMPLE = Path(__file__).parents[3] / "examples" / "counters.py"
SECONDS = 40
linux = pytest.mark.skipif(sys.platform != "linux", reason="finds the processes in /proc")


class Dev:
    """The command, in a folder of its own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.url = ""
        self.said = ""
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, *arguments: str, target: str = "counters:app") -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "eventbox", "dev", target, "--port", "0", *arguments,
            cwd=self.folder, start_new_session=True, stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    async def line(self, pattern: str) -> str:
        """The next line that a pattern is found in."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(SECONDS):
                while line := (await self._process.stdout.readline()).decode():
                    self.said += line
                    if found := re.search(r"is up at (\S+)", line):
                        self.url = found[1]
                    if re.search(pattern, line):
                        return line
        except TimeoutError:
            pass
        raise AssertionError(f"it did not say {pattern!r}, but:\n{self.said}")

    async def up(self) -> None:
        await self.line("is up at")

    async def end(self, number: signal.Signals = signal.SIGINT) -> int:
        """End it, and read to the end what it says; its exit code."""
        assert self._process is not None
        if self._process.returncode is None:
            os.kill(self.pid, number)
        return await self.ended()

    async def ended(self) -> int:
        assert self._process is not None
        async with asyncio.timeout(SECONDS):
            rest, _ = await self._process.communicate()  # whoever holds the pipe still would let this hang
        self.said += rest.decode()
        self._process._transport.close()  # type: ignore[attr-defined]
        return self._process.returncode or 0

    async def close(self) -> None:
        if self._process is not None and self._process.returncode is None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGTERM)
            await self.ended()

    async def add(self, name: str, number: int) -> None:
        async with (
            aiohttp.ClientSession() as session,
            session.post(f"{self.url}/counters/{name}/{number}") as response,
        ):
            assert response.status == 202

    async def total(self, name: str) -> int:
        async with aiohttp.ClientSession() as session, session.get(f"{self.url}/counters/{name}") as response:
            total: int = (await response.json())["total"]
            return total

    async def reaches(self, name: str, total: int) -> None:
        async def it_is() -> bool:
            return await self.total(name) == total

        await until(it_is, seconds=SECONDS)

    def app_pid(self) -> int:
        """The process of the app."""
        for pid in _children(self.pid):
            if b"eventbox.dev.app_process" in Path(f"/proc/{pid}/cmdline").read_bytes():
                return pid
        raise AssertionError("there is no process of the app")


def _children(pid: int) -> list[int]:
    return [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]


@pytest.fixture
async def dev(tmp_path: Path) -> AsyncIterator[Dev]:
    (tmp_path / "counters.py").write_text(EXAMPLE.read_text())
    made = Dev(tmp_path)
    yield made
    await made.close()


async def test_a_batch_is_a_line_and_a_ctrl_c_ends_all_quietly(dev: Dev) -> None:
    await dev.start("--no-reload")
    await dev.up()
    await dev.add("a", 5)
    line = await dev.line("counters/a .*event")
    assert re.search(r"counters/a +1 event, 1 transition +[\d.]+ ms +done", line)
    assert await dev.total("a") == 5
    assert await dev.end() == 0
    assert "Traceback" not in dev.said
    assert dev.said.splitlines()[-1] == "dev: ended"


async def test_data_are_kept_between_runs_and_out_of_git(dev: Dev) -> None:
    await dev.start("--no-reload")
    await dev.up()
    await dev.add("a", 5)
    await dev.reaches("a", 5)
    assert await dev.end(signal.SIGTERM) == 0
    assert (dev.folder / ".eventbox" / ".gitignore").read_text() == "*\n"
    again = Dev(dev.folder)
    await again.start("--no-reload")
    try:
        await again.up()
        assert await again.total("a") == 5
    finally:
        await again.close()


async def test_a_change_begins_the_app_anew_and_a_mistake_waits_for_the_next(dev: Dev) -> None:
    await dev.start()
    await dev.up()
    module = dev.folder / "counters.py"
    right = module.read_text()
    module.write_text("1 / 0\n")
    await dev.line("counters.py was changed")
    await dev.line("ZeroDivisionError")
    await dev.line("waiting for a change")
    assert "importlib" not in dev.said
    module.write_text(right.replace("state.total + sum", "state.total + 100 * sum"))
    await dev.up()
    await dev.add("a", 5)
    await dev.reaches("a", 500)


@linux
async def test_an_app_that_dies_is_begun_anew(dev: Dev) -> None:
    await dev.start("--no-reload")
    await dev.up()
    os.kill(dev.app_pid(), signal.SIGKILL)
    await dev.line(r"the app ended \(SIGKILL\)")
    await dev.up()
    await dev.add("a", 5)
    await dev.reaches("a", 5)


@linux
async def test_nothing_is_left_behind_when_it_is_killed_itself(dev: Dev) -> None:
    await dev.start("--no-reload")
    await dev.up()
    children = _children(dev.pid)
    assert len(children) == 3
    await dev.end(signal.SIGKILL)  # which reads until all have closed the pipe

    async def all_gone() -> bool:
        return not any(Path(f"/proc/{pid}/cmdline").exists() for pid in children)

    await until(all_gone, seconds=SECONDS)


async def test_the_sweep_is_asked_for(dev: Dev) -> None:
    (dev.folder / "swept.py").write_text(
        "from counters import app, worker\n"
        "async def tell(scope, receive, send):\n"
        "    if scope['type'] == 'http': print('called', scope['path'], flush=True)\n"
        "    await app(scope, receive, send)\n"
    )
    await dev.start("--no-reload", "--sweep-every", "0.2", target="swept:tell")
    await dev.line("called /eventbox/sweep")
    await dev.line("called /eventbox/sweep")


async def test_another_shell_finds_the_emulators(dev: Dev) -> None:
    await dev.start("--no-reload", "--project", "demo-shop", "--queue", "orders")
    await dev.up()
    found = dict(
        line.removeprefix("export ").split("=", 1)
        for line in (dev.folder / ".eventbox" / "env").read_text().splitlines()
    )
    assert found["GOOGLE_CLOUD_PROJECT"] == "demo-shop"
    assert found["EVENTBOX_QUEUE"] == "projects/demo-shop/locations/us-central1/queues/orders"
    assert found["EVENTBOX_TARGET"] == dev.url
    await dev.end()
    assert not (dev.folder / ".eventbox" / "env").exists()


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ("nothing:app", "there is no module 'nothing'"),
        ("counters:nothing", "counters has no 'nothing'; it has app and worker"),
        ("counters:Counter", "neither a Worker nor an ASGI application"),
    ],
)
async def test_what_cannot_be_run_ends_it_with_one_line(dev: Dev, target: str, message: str) -> None:
    await dev.start(target=target)
    assert await dev.ended() == 1
    assert message in dev.said
    assert "Traceback" not in dev.said


async def test_a_port_that_is_taken_is_told(dev: Dev) -> None:
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        await dev.start("--port", str(port))
        assert await dev.ended() == 1
    assert dev.said.startswith(f"dev: cannot listen on 127.0.0.1:{port}: ")
    assert "choose another by --port" in dev.said


async def test_two_in_one_folder_do_not_share_their_data(dev: Dev) -> None:
    await dev.start("--no-reload")
    await dev.up()
    second = Dev(dev.folder)
    await second.start("--no-reload")
    assert await second.ended() == 1
    assert "Traceback" not in second.said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["counters"], "expected MODULE:WORKER"),
        (["counters:app", "--project", "X"], "--project"),
        (["counters:app", "--queue", "a/b"], "--queue"),
        (["counters:app", "--port", "65536"], "--port"),
        ([], "Missing argument"),
    ],
)
def test_bad_usage_is_told(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["dev", *arguments])
    assert result.exit_code == 2
    assert message in result.output


def test_what_is_missing_is_told_with_how_to_install_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["dev", "counters:app"])
    assert result.exit_code == 1
    assert "uvicorn and watchfiles missing: pip install 'eventbox[dev]'" in result.output
