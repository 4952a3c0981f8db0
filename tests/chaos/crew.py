"""The processes of a run, begun anew when they die: `KeptActor`, and `KeptEmulator` on its port and folder."""

from __future__ import annotations

import asyncio
import os
import signal
import socket
from collections.abc import Callable, Sequence
from contextlib import suppress
from multiprocessing import get_context
from multiprocessing.process import BaseProcess
from random import Random
from typing import Generic, TypeVar

from emulator.child_process import ChildProcess
from tests.chaos import actor
from tests.chaos.journal import Journal
from tests.chaos.setting import Setting

_PRELOADED = ["tests.chaos.roles", "tests.chaos.mistakes", "tests.chaos.actor"]
_START_ATTEMPTS = 5

P = TypeVar("P", bound=ChildProcess)


class Kept:
    """A process that is begun anew whenever it was killed.

    Attributes:
        lives: how often it was begun.
        killed, stopped: how often it was by us.
        fell: how it ended by itself, where it did.
    """

    def __init__(self, name: str) -> None:
        self.name = name
        self.lives = self.killed = self.stopped = 0
        self.fell: list[str] = []
        self._stood: int | None = None  # the process that was stopped

    def kill(self) -> bool:
        """End it as a crash does; whether there was anything to end."""
        done = self._signal(signal.SIGKILL)
        self.killed += done
        return done

    def stop(self) -> bool:
        """Let it stand still, as a machine that is overloaded, or moved; whether it ran."""
        self._stood = self._pid() if self._signal(signal.SIGSTOP) else None
        self.stopped += self._stood is not None
        return self._stood is not None

    def go_on(self) -> None:
        """Let it go on, if it still is the one that was stopped."""
        if self._stood is not None and self._stood == self._pid():
            self._signal(signal.SIGCONT)
        self._stood = None

    async def keep(self) -> None:
        """Run it until cancelled."""
        raise NotImplementedError

    def _pid(self) -> int | None:
        raise NotImplementedError

    def _signal(self, number: signal.Signals) -> bool:
        pid = self._pid()
        if pid is None:
            return False
        try:
            os.kill(pid, number)
        except ProcessLookupError:
            return False
        return True


class KeptActor(Kept):
    """A process of the application.

    It is forked from one that has loaded all modules and does nothing, so that it begins within milliseconds and can
    be killed more often.
    """

    def __init__(self, setting: Setting, name: str, roles: Sequence[str], listening: socket.socket) -> None:
        super().__init__(name)
        self._setting = setting
        self._roles = roles
        self._listening = listening
        self._process: BaseProcess | None = None
        self._context = get_context("forkserver")
        self._context.set_forkserver_preload(_PRELOADED)

    async def keep(self) -> None:
        log = str(self._setting.folder / f"{self.name}.log")
        try:
            while True:
                self.lives += 1
                arguments = (self._setting, self.name, self.lives, self._roles, self._listening, log)
                process = self._context.Process(target=actor.live, args=arguments, daemon=True)
                process.start()
                self._process = process
                await _readable(process.sentinel)
                self._process = None
                process.join()
                if process.exitcode != -signal.SIGKILL:
                    self.fell.append(f"life {self.lives} ended by itself with {process.exitcode}: see {log}")
                    await asyncio.sleep(1)
                process.close()
        finally:
            if self._process is not None:
                self._process.kill()
                self._process.join()
                self._process.close()
                self._process = None

    def _pid(self) -> int | None:
        return None if self._process is None else self._process.pid


class KeptEmulator(Kept, Generic[P]):
    """An emulator: the same port and data folder in each of its lives."""

    def __init__(self, name: str, make: Callable[[], P], journal: Journal) -> None:
        super().__init__(name)
        self._make = make
        self._journal = journal
        self._process: P | None = None

    @property
    def process(self) -> P:
        """The one that is up."""
        assert self._process is not None
        return self._process

    @property
    def is_up(self) -> bool:
        """Whether there is one."""
        return self._process is not None

    async def start(self) -> None:
        """Begin the first life.

        Raises:
            RuntimeError: it did not come up.
        """
        process = self._make()
        await process.start()
        self.lives += 1
        self._process = process
        self._journal.write("up", name=self.name)

    async def keep(self) -> None:
        try:
            while True:
                process = self.process
                assert process._process is not None
                code = await process._process.wait()
                self._process = None
                await process.stop()
                if code != -signal.SIGKILL:
                    self.fell.append(f"life {self.lives} ended by itself with {code}")
                for attempt in range(_START_ATTEMPTS):
                    try:
                        await self.start()
                        break
                    except RuntimeError as error:
                        self.fell.append(f"it did not come up again ({attempt + 1}): {error}")
                        await asyncio.sleep(1)
                else:
                    raise RuntimeError(f"{self.name} did not come up again")
        finally:
            await self.end()

    async def end(self) -> None:
        """Kill it for good; that is no crash that counts."""
        process, self._process = self._process, None
        if process is not None:
            process.kill()
            await process.stop()

    def _pid(self) -> int | None:
        running = None if self._process is None else self._process._process
        return None if running is None else running.pid


def free_port(rng: Random) -> int:
    """A port that nobody listens on, and that the system gives to no client.

    A port of the ephemeral range could be taken while its emulator is down, even by a client that calls itself there.
    """
    while True:
        port = rng.randrange(20_000, 32_000)
        with socket.socket() as trying, suppress(OSError):
            trying.bind(("127.0.0.1", port))
            return port


async def _readable(file: int) -> None:
    loop = asyncio.get_running_loop()
    ready = loop.create_future()
    loop.add_reader(file, lambda: None if ready.done() else ready.set_result(None))
    try:
        await ready
    finally:
        loop.remove_reader(file)
