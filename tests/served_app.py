"""An application under uvicorn as a process of its own, that tests kill and begin anew."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
from collections.abc import Awaitable, Callable, Mapping
from contextlib import closing, suppress
from pathlib import Path
from random import Random
from typing import Any

import aiohttp


def free_port() -> int:
    """A port that nobody listens on, and that the system gives to nobody while its application is down."""
    rng = Random()  # not one that runs side by side share
    while True:
        port = rng.randrange(20_000, 32_000)  # below those that a system gives by itself
        with closing(socket.socket()) as probe, suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


async def until(check: Callable[[], Awaitable[bool]], *, seconds: float = 60, what: str = "it") -> None:
    """Ask again and again until it is so; for what other processes do there is nothing to wait for."""
    try:
        async with asyncio.timeout(seconds):
            while not await check():  # noqa: ASYNC110
                await asyncio.sleep(0.05)
    except TimeoutError:
        raise AssertionError(f"{what} did not come about in {seconds:.0f} s") from None


class ServedApp:
    """`python -m uvicorn APP`, on one port through all its lives, with all that it says in a file."""

    def __init__(self, app: str, folder: Path, variables: Mapping[str, str], log: Path) -> None:
        self.port = int(variables["PORT"])
        self.url = f"http://127.0.0.1:{self.port}"
        self.log = log
        self._app = app
        self._folder = folder
        self._variables = variables
        self._process: asyncio.subprocess.Process | None = None

    async def start(self) -> None:
        """Begin it, and return when it answers."""
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "orders", self._app,
                cwd=self._folder, stdout=log, stderr=log, stdin=asyncio.subprocess.DEVNULL,
                env={**os.environ, **self._variables, "GRPC_VERBOSITY": "NONE"}, start_new_session=True,
            )  # fmt: skip

        async def answers() -> bool:
            assert self._process is not None
            assert self._process.returncode is None, self.log.read_text()
            try:
                async with aiohttp.ClientSession() as session, session.get(f"{self.url}/healthz") as response:
                    return response.status == 200
            except aiohttp.ClientError:
                return False

        await until(answers, seconds=30, what="the start")

    async def kill(self) -> None:
        """End it as a crash does."""
        await self._end(signal.SIGKILL)

    async def stop(self) -> int:
        """End it as Cloud Run does; its exit code."""
        return await self._end(signal.SIGTERM)

    async def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        if process is None:
            return 0
        if process.returncode is None:
            process.send_signal(number)
        code = await process.wait()
        process._transport.close()  # type: ignore[attr-defined]
        return code

    def records(self) -> list[dict[str, Any]]:
        """What it has logged, in all its lives."""
        found = []
        for line in self.log.read_text().splitlines():
            try:
                found.append(json.loads(line))
            except ValueError:  # cut off by a kill, or not of the log
                continue
        return found
