"""`EmulatorProcess`: a Firestore emulator in a process of its own, from Python."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from datetime import timedelta
from pathlib import Path
from typing import Any

from emulator.firestore.counts import Counts

_STARTUP = timedelta(seconds=30)
_PREFIX = "export FIRESTORE_EMULATOR_HOST="


class EmulatorProcess:
    """Start an emulator on a free port, and stop it at the end.

        async with EmulatorProcess() as process:
            os.environ["FIRESTORE_EMULATOR_HOST"] = process.address

    It ends with this process in any case, also if this one is killed: its standard input closes then.

    Args:
        concurrency, indexes, enforce_indexes: as those of `Emulator`.
        port: 0: any free one.
    """

    def __init__(
        self,
        *,
        concurrency: str = "pessimistic",
        indexes: Path | None = None,
        enforce_indexes: bool = False,
        port: int = 0,
    ) -> None:
        self._arguments = ["--port", str(port), "--concurrency", concurrency, "--control-stdio"]
        if indexes is not None:
            self._arguments += ["--indexes", str(indexes)]
        if enforce_indexes:
            self._arguments.append("--enforce-indexes")
        self._process: asyncio.subprocess.Process | None = None
        self._asking = asyncio.Lock()
        self.address = ""

    async def start(self) -> None:
        """Start it, and return when it answers.

        Raises:
            RuntimeError: it did not come up; the message has what it said.
        """
        self._process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-P",  # an `emulator` of the user's own in the current folder is not ours
            "-m",
            "emulator",
            "firestore",
            *self._arguments,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            # its own session: a Ctrl-C in the terminal is for us, and we stop it
            start_new_session=True,
            env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        )
        try:
            async with asyncio.timeout(_STARTUP.total_seconds()):
                line = (await self._stdout.readline()).decode().strip()
        except TimeoutError:
            line = ""
        if not line.startswith(_PREFIX):
            await self.stop()
            raise RuntimeError(f"the emulator did not come up: {line or 'it said nothing'}")
        self.address = line.removeprefix(_PREFIX)

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
        """Kill it with SIGKILL, as a crash would; the data are gone."""
        assert self._process is not None
        self._process.send_signal(signal.SIGKILL)

    async def counts(self) -> Counts:
        """Its counters."""
        answer = await self._ask("counts")
        counts = Counts()
        counts.rpcs = Counter(answer["rpcs"])
        counts.reads, counts.writes, counts.deletes = answer["reads"], answer["writes"], answer["deletes"]
        return counts

    async def reset_counts(self) -> None:
        """Set its counters to zero."""
        await self._ask("reset")

    async def clear(self) -> None:
        """Delete all its data."""
        await self._ask("clear")

    async def __aenter__(self) -> EmulatorProcess:
        await self.start()
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.stop()

    @property
    def _stdout(self) -> asyncio.StreamReader:
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout

    async def _ask(self, command: str) -> Any:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the emulator is not running")
        async with self._asking:
            self._process.stdin.write(f"{command}\n".encode())
            await self._process.stdin.drain()
            line = await self._stdout.readline()
        if not line:
            raise RuntimeError("the emulator has gone")
        return json.loads(line)
