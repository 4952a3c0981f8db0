"""`ChildProcess`: `python -m emulator` in a process of its own, from Python."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import suppress
from datetime import timedelta
from typing import Any, Self

_STARTUP = timedelta(seconds=30)
_MAX_ANSWER = 2**24  # bytes


class ChildProcess:
    """An emulator that is started, told what to do, and stopped; the part that all emulators have in common.

    It ends with this process in any case, also if this one is killed: its standard input closes then.

    Args:
        command: the emulator's name and its options on the command line.
    """

    _module = "emulator"
    """What is run; a test may have a mistake put into it."""

    def __init__(self, command: Sequence[str]) -> None:
        self._command = [*command, "--control-stdio"]
        self._process: asyncio.subprocess.Process | None = None
        self._asking = asyncio.Lock()

    async def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            RuntimeError: it did not come up; the message has what it said.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # an `emulator` of the user's own in the current folder is not ours
            "-m",
            self._module,
            *self._command,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # its own session: a Ctrl-C in the terminal is for us, and we stop it
            start_new_session=True,
            limit=_MAX_ANSWER,
            env=self._environment(),
        )
        await self._listen()

    async def stop(self) -> None:
        """Stop it; once it has stopped, this changes nothing."""
        process = self._process
        if process is None:
            return
        self._process = None
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            async with asyncio.timeout(5):
                await process.wait()
        except TimeoutError:
            process.kill()
            await process.wait()
        # without this the pipes' transports outlive the loop
        process._transport.close()  # type: ignore[attr-defined]

    def kill(self) -> None:
        """Kill it with SIGKILL, as a crash would; the data are gone, unless it has a `data_dir`."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)

    async def __aenter__(self) -> Self:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    def _environment(self) -> dict[str, str]:
        """The variables that it finds."""
        return {**os.environ, "GRPC_VERBOSITY": "NONE"}

    async def _listen(self) -> None:
        """Hear from it where it listens."""
        raise NotImplementedError

    async def _told(self, prefix: str) -> str:
        """What the next line says behind a prefix, once there is one."""
        assert self._process is not None
        assert self._process.stdout is not None
        try:
            async with asyncio.timeout(_STARTUP.total_seconds()):
                line = (await self._process.stdout.readline()).decode().strip()
        except TimeoutError:
            line = ""
        if not line.startswith(prefix):
            await self.stop()
            raise RuntimeError(f"the emulator did not come up: {line or 'it said nothing'}")
        return line.removeprefix(prefix)

    async def _do(self, command: str, content: Any = None) -> Any:
        """Its answer to a command; a ValueError where it refuses, a RuntimeError where it has gone."""
        answer = await self._ask(command if content is None else f"{command} {json.dumps(content)}")
        if "refused" in answer:
            raise ValueError(answer["refused"])
        return answer

    async def _ask(self, line: str) -> Any:
        process = self._process
        if process is None or process.stdin is None or process.stdout is None:
            raise RuntimeError("the emulator is not running")
        async with self._asking:
            process.stdin.write(f"{line}\n".encode())
            await process.stdin.drain()
            answer = await process.stdout.readline()
        if not answer:
            raise RuntimeError("the emulator has gone")
        return json.loads(answer)
