"""`EmulatorProcess`: a Firestore emulator in a process of its own, from Python."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from collections import Counter
from contextlib import suppress
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from emulator.firestore.counts import Counts
from emulator.firestore.fault_json import fault_from_json, fault_to_json
from emulator.firestore.faults import Fault

_STARTUP = timedelta(seconds=30)
_ADDRESS = "export FIRESTORE_EMULATOR_HOST="
_CONTROL = "control: "


class EmulatorProcess:
    """Start an emulator on a free port, and stop it at the end.

        async with EmulatorProcess() as process:
            os.environ["FIRESTORE_EMULATOR_HOST"] = process.address

    It ends with this process in any case, also if this one is killed: its standard input closes then.

    Args:
        concurrency, indexes, enforce_indexes, data_dir, seed: as those of `Emulator`.
        port: 0: any free one.
        manual_clock: when a clock begins that stands still until `advance`; None: this machine's clock.
        control_port: where it takes orders over HTTP (0: any free port), for tests in other languages; `control_url`
            tells where. None: nowhere. The methods of this object do without.
    """

    def __init__(
        self,
        *,
        concurrency: str = "pessimistic",
        indexes: Path | None = None,
        enforce_indexes: bool = False,
        data_dir: Path | None = None,
        port: int = 0,
        seed: int = 0,
        manual_clock: datetime | None = None,
        control_port: int | None = None,
    ) -> None:
        self._arguments = ["--port", str(port), "--concurrency", concurrency, "--control-stdio"]
        self._arguments += ["--seed", str(seed)]
        if indexes is not None:
            self._arguments += ["--indexes", str(indexes)]
        if enforce_indexes:
            self._arguments.append("--enforce-indexes")
        if data_dir is not None:
            self._arguments += ["--data-dir", str(data_dir)]
        if manual_clock is not None:
            self._arguments += ["--manual-clock", manual_clock.isoformat()]
        if control_port is not None:
            self._arguments += ["--control-port", str(control_port)]
        self._has_control = control_port is not None
        self._process: asyncio.subprocess.Process | None = None
        self._asking = asyncio.Lock()
        self.address = ""
        self.control_url = ""

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
            limit=2**24,  # bytes of an answer
            env={**os.environ, "GRPC_VERBOSITY": "NONE"},
        )
        self.address = await self._told(_ADDRESS)
        if self._has_control:
            self.control_url = await self._told(_CONTROL)

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

    async def counts(self) -> Counts:
        """Its counters."""
        answer = await self._do("counts")
        counts = Counts()
        counts.rpcs = Counter(answer["rpcs"])
        counts.reads, counts.writes, counts.deletes = answer["reads"], answer["writes"], answer["deletes"]
        return counts

    async def reset_counts(self) -> None:
        """Set its counters to zero."""
        await self._do("reset")

    async def clear(self, project: str | None = None, database: str | None = None) -> None:
        """Delete all its data and forget its faults; with a project, one database of it alone, as `Emulator.clear`."""
        await self._do("clear", {"project": project, "database": database})

    async def add_fault(self, fault: Fault) -> int:
        """Order a fault; its ID."""
        id: int = (await self._do("add_fault", fault_to_json(fault)))["id"]
        return id

    async def faults(self) -> dict[int, Fault]:
        """The faults that are still to happen, by their IDs, in order; `times` is how often still."""
        found = {}
        for one in (await self._do("faults"))["faults"]:
            id, one["times"] = one.pop("id"), one.pop("remaining")
            found[id] = fault_from_json(one)
        return found

    async def remove_fault(self, id: int) -> None:
        """Let a fault happen no more.

        Raises:
            ValueError: there is none of this ID, or no longer.
        """
        await self._do("remove_fault", {"id": id})

    async def clear_faults(self) -> None:
        """Let none happen any more."""
        await self._do("clear_faults")

    async def now(self) -> datetime:
        """The time on its clock, aware and in UTC."""
        return datetime.fromisoformat((await self._do("clock"))["now"])

    async def advance(self, duration: timedelta) -> None:
        """Move its clock on.

        Raises:
            ValueError: it has no manual clock, or the duration is negative.
        """
        await self._do("advance", {"seconds": duration.total_seconds()})

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

    async def _told(self, prefix: str) -> str:
        """What the next line says behind a prefix, once there is one."""
        try:
            async with asyncio.timeout(_STARTUP.total_seconds()):
                line = (await self._stdout.readline()).decode().strip()
        except TimeoutError:
            line = ""
        if not line.startswith(prefix):
            await self.stop()
            raise RuntimeError(f"the emulator did not come up: {line or 'it said nothing'}")
        return line.removeprefix(prefix)

    async def _do(self, command: str, content: Any = None) -> Any:
        answer = await self._ask(command if content is None else f"{command} {json.dumps(content)}")
        if "refused" in answer:
            raise ValueError(answer["refused"])
        return answer

    async def _ask(self, line: str) -> Any:
        if self._process is None or self._process.stdin is None:
            raise RuntimeError("the emulator is not running")
        async with self._asking:
            self._process.stdin.write(f"{line}\n".encode())
            await self._process.stdin.drain()
            answer = await self._stdout.readline()
        if not answer:
            raise RuntimeError("the emulator has gone")
        return json.loads(answer)
