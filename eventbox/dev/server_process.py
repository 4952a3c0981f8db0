"""A Python process that ends with this one: the app of `eventbox dev`, a process of the demo."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

PATIENCE = timedelta(seconds=10)
"""How long it may take to end: as long as Cloud Run waits."""


class ServerProcess:
    """Runs a module of ours, with a socket to listen on where it serves.

    Several may listen on the same one, and it stays open when they end: connections wait in it, and none is refused.

    Args:
        module: what to run; it gets `told`, by `begin`, or `begin_without_socket` where it has none.
        told: what it is to know: anything that JSON takes.
        environment: variables beside this process's own.
        listening: the socket, if any.
        piped: whether its standard output is for us to read; else it is ours.
    """

    def __init__(
        self,
        module: str,
        told: Mapping[str, Any],
        environment: Mapping[str, str],
        listening: socket.socket | None = None,
        *,
        piped: bool = False,
    ) -> None:
        self._module = module
        self._told = dict(told)
        self._environment = dict(environment)
        self._listening = listening
        self._piped = piped
        self._process: asyncio.subprocess.Process | None = None
        self._killed = False
        self._alive: int | None = None  # our end of the pipe that tells it that we live

    async def start(self) -> None:
        """Begin it."""
        theirs, self._alive = os.pipe()
        self._killed = False
        told, inherited = {**self._told, "parent": theirs}, [theirs]
        if self._listening is not None:
            told["listening"] = self._listening.fileno()
            inherited.append(told["listening"])
        try:
            self._process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-P",  # what lies in the current folder comes behind our own modules
                "-m",
                self._module,
                json.dumps(told),
                pass_fds=inherited,
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE if self._piped else None,
                start_new_session=True,  # a Ctrl-C is for us; we end it
                env={**os.environ, **self._environment, "PYTHONUNBUFFERED": "1", "GRPC_VERBOSITY": "NONE"},
            )
        finally:
            os.close(theirs)

    @property
    def output(self) -> asyncio.StreamReader:
        """Its standard output, where that is piped."""
        assert self._process is not None
        assert self._process.stdout is not None
        return self._process.stdout

    async def ended(self) -> int:
        """Wait until it ends by itself; its exit code, negative for a signal."""
        assert self._process is not None
        return await self._process.wait()

    def kill(self) -> None:
        """End it as a crash does, if it runs; once it was killed, this changes nothing.

        Python looks whether a process has ended before it signals it: for one that is just dying, that could take the
        exit code away from `ended`, which would tell of a failure.
        """
        if self._process is not None and not self._killed:
            self._killed = True
            with suppress(ProcessLookupError):
                self._process.kill()

    async def stop(self) -> None:
        """End it: it may finish what it has in hand. Once it has ended, this changes nothing."""
        process, self._process = self._process, None
        if process is None:
            return
        if process.returncode is None:
            with suppress(ProcessLookupError):
                process.terminate()
            try:
                async with asyncio.timeout(PATIENCE.total_seconds()):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        process._transport.close()  # type: ignore[attr-defined] # else it outlives the loop
        if self._alive is not None:
            os.close(self._alive)
            self._alive = None


def begin() -> tuple[dict[str, Any], socket.socket]:
    """In the child: what it was told, and its socket. From now on it ends when its parent does, however that ends."""
    told = begin_without_socket()
    return told, socket.socket(fileno=told.pop("listening"))


def begin_without_socket() -> dict[str, Any]:
    """As `begin`, in a child that has no socket."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    parent = told.pop("parent")

    def end() -> None:
        os.read(parent, 1)
        os.kill(os.getpid(), signal.SIGTERM)
        time.sleep(2 * PATIENCE.total_seconds())
        os._exit(1)  # it hangs

    threading.Thread(target=end, daemon=True, name="eventbox-parent").start()
    return told
