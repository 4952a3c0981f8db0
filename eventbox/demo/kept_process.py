"""`KeptProcess`: one of the demo's processes, begun anew whenever it dies, as Cloud Run does."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict
from typing import Any

from eventbox.dev.environment import Environment
from eventbox.dev.server_process import ServerProcess


class KeptProcess:
    """Runs a module, which tells how it gets on by JSON objects, one a line; the first one: that it is up.

    Args:
        module: what to run.
        environment: where everything is; the process is told, and finds its variables.
        heard: is given what it tells.
        died: is called whenever it was killed.
        told: what it is to know besides.
        listening: the socket that it serves, if any.
    """

    def __init__(
        self,
        module: str,
        environment: Environment,
        heard: Callable[[Mapping[str, Any]], None],
        died: Callable[[], None],
        *,
        told: Mapping[str, Any] | None = None,
        listening: socket.socket | None = None,
    ) -> None:
        self.up = asyncio.Event()
        """Set while it is up."""
        self._module = module
        self._environment = environment
        self._heard = heard
        self._died = died
        self._told = {"environment": asdict(environment), **(told or {})}
        self._listening = listening
        self._process: ServerProcess | None = None

    def kill(self) -> None:
        """End it as a crash does: by SIGKILL. It is begun anew."""
        if self._process is not None:
            self._process.kill()
        self.up.clear()

    async def keep(self) -> None:
        """Run it until cancelled.

        Raises:
            RuntimeError: it failed by itself.
        """
        while True:
            self._process = process = ServerProcess(
                self._module, self._told, self._environment.variables(), self._listening, piped=True
            )
            try:
                await process.start()
                while line := await process.output.readline():
                    with suppress(ValueError):  # it was killed in the middle of the line
                        heard = json.loads(line)
                        self.up.set()
                        self._heard(heard)
                self.up.clear()
                code = await process.ended()
                if code > 0:  # no signal ended it, and the next one would fare no better
                    raise RuntimeError(f"{self._module} failed, with exit code {code}")
                self._died()
            finally:
                await process.stop()


@asynccontextmanager
async def kept(processes: Sequence[KeptProcess]) -> AsyncIterator[None]:
    """Keep them running while inside. All are up when it begins."""
    async with asyncio.TaskGroup() as group:
        keeping = [group.create_task(one.keep()) for one in processes]
        try:
            for one in processes:
                await one.up.wait()
            yield
        finally:
            for task in keeping:
                task.cancel()
