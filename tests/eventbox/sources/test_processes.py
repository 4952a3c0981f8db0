"""Processes that stand still or are killed at any moment: a stale one commits nothing, every block is taken in once."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Coroutine
from contextlib import suppress
from itertools import pairwise
from pathlib import Path
from random import Random

import pytest

from emulator.process import EmulatorProcess
from eventbox import EventBox
from eventbox.sources import Committer, DistributedLock, EventStore
from eventbox.sources.ending import end
from tests.eventbox.sources.feeds import pointer
from tests.eventbox.sources.ingesting_process import BLOCKS, HEARTBEAT, PROJECT, recipient
from tests.eventbox.support import Recording
from tests.fronts import connect


class Worker:
    """A process, and what it has said."""

    def __init__(self) -> None:
        self.said: list[list[str]] = []
        self._changed = asyncio.Event()

    async def start(self, address: str, mode: str) -> None:
        self._process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.eventbox.sources.ingesting_process", address, mode,
            stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.DEVNULL,
            env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path), "GRPC_VERBOSITY": "NONE"},
        )  # fmt: skip
        self._listening = asyncio.create_task(self._listen())

    async def until(self, word: str, more_than: int = 0) -> None:
        """Return once it has said this word more than so many times."""
        async with asyncio.timeout(60):
            while self.count(word) <= more_than:
                self._changed.clear()
                await self._changed.wait()

    def count(self, word: str) -> int:
        return sum(words[0] == word for words in self.said)

    def token(self) -> int:
        """With which it took the lock the last time."""
        return max((int(words[1]) for words in self.said if words[0] == "began"), default=0)

    def go_on(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"\n")

    def signal(self, number: signal.Signals) -> None:
        self._process.send_signal(number)

    async def end(self) -> None:
        with suppress(ProcessLookupError):
            self._process.kill()
        await self._process.wait()
        await self._listening
        self._process._transport.close()  # type: ignore[attr-defined]

    async def _listen(self) -> None:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            self.said.append(line.decode().split())
            self._changed.set()


async def test_a_holder_that_stood_still_beyond_its_lease_cannot_commit() -> None:
    async with EmulatorProcess() as emulator, connect(emulator.address, PROJECT) as client:
        stale = Worker()
        await stale.start(emulator.address, "stubborn")
        await stale.until("ready")
        stale.signal(signal.SIGSTOP)
        stale.go_on()
        lock = DistributedLock(client, "numbers", heartbeat=HEARTBEAT)
        async with asyncio.timeout(30):
            await lock.lock()
        committer = Committer(client)
        await committer.claim("numbers", lock.token)
        stale.signal(signal.SIGCONT)  # it commits before it can have learned anything
        await stale.until("InvalidCommitError")
        await stale.until("lost")
        assert await committer.latest("numbers") == pointer(1)
        await committer.commit("numbers", pointer(1), pointer(2), token=lock.token)
        await lock.unlock()
        await stale.end()


@pytest.mark.slow
async def test_two_that_stand_still_in_turn_commit_every_block_once() -> None:
    rng = Random(1)
    async with EmulatorProcess() as emulator, connect(emulator.address, PROJECT) as client:
        workers = [Worker(), Worker()]
        for worker in workers:
            await worker.start(emulator.address, "run")
        await one_of(*(worker.until("committed") for worker in workers))
        for _ in range(5):
            other, active = sorted(workers, key=Worker.token)
            active.signal(signal.SIGSTOP)
            while other.token() < active.token():
                await other.until("began", other.count("began"))
            if rng.random() < 0.5:
                await one_of(other.until("committed", other.count("committed")), asyncio.sleep(1))
            active.signal(signal.SIGCONT)
        await one_of(*(worker.until("finished") for worker in workers))
        assert await Committer(client).latest("numbers") == pointer(BLOCKS)
        for worker in workers:
            await worker.end()
        ranges = defaultdict(list)
        for worker in workers:
            for words in worker.said:
                if words[0] == "committed":
                    token, blocks, last = map(int, words[1:])
                    ranges[token].append((last - blocks + 1, last))
        # who stands still while its commit is under way, and has lost the lease when it goes on, does not tell of it
        for told in ranges.values():
            assert [first for first, _ in told[1:]] == [last + 1 for _, last in told[:-1]]
        in_order = [one for token in sorted(ranges) for one in ranges[token]]
        assert all(last < first for (_, last), (first, _) in pairwise(in_order))
        await all_taken_in_once(emulator.address)


async def kill_in_turn(address: str, mode: str, rng: Random, *, kills: int = 5) -> None:
    """Run two of them until one has finished, and kill and start one so often meanwhile, the working one mostly."""
    workers = [Worker(), Worker()]
    for worker in workers:
        await worker.start(address, mode)
    for _ in range(kills):
        # or they have finished already, and say so next
        further = [worker.until("committed", worker.count("committed")) for worker in workers]
        await one_of(*further, *(worker.until("finished") for worker in workers))
        await asyncio.sleep(rng.uniform(0, 0.05))
        victim = max(workers, key=Worker.token) if rng.random() < 0.8 else rng.choice(workers)
        await victim.end()
        workers.remove(victim)
        workers.append(Worker())
        await workers[-1].start(address, mode)
        await workers[-1].until("up")
        if any(worker.count("finished") for worker in workers):
            break
    await one_of(*(worker.until("finished") for worker in workers))
    for worker in workers:
        await worker.end()


@pytest.mark.slow
@pytest.mark.parametrize("seed", [1, 2])
async def test_killed_at_any_moment_they_take_in_every_block_once(seed: int) -> None:
    async with EmulatorProcess() as emulator:
        await kill_in_turn(emulator.address, "run", Random(seed))
        await all_taken_in_once(emulator.address)


async def test_a_listener_goes_on_elsewhere_when_its_process_is_killed() -> None:
    async with EmulatorProcess() as emulator, connect(emulator.address, PROJECT) as client:
        await kill_in_turn(emulator.address, "listen", Random(3), kills=3)
        events = await EventStore(client.document("sources/1")).get_events()
        assert [int(event.data) for event in events] == list(range(1, BLOCKS + 1))


def make_history(path: Path) -> list[str]:
    """Make a repository of `BLOCKS` commits; their IDs."""
    commits = "".join(
        f"commit refs/heads/main\ncommitter A <a@b> {n} +0000\ndata 1\nx\nM 644 inline {n % 9}\ndata 1\n{n % 7}\n"
        for n in range(BLOCKS)
    )

    def git(*arguments: str, given: str = "") -> str:
        done = subprocess.run(
            ["git", *arguments], cwd=path, input=given, text=True, check=True, capture_output=True
        )
        return done.stdout

    git("init", "-q", "--bare", "-b", "main")
    git("fast-import", "--quiet", given=commits)
    return git("rev-list", "main").split()


async def test_a_git_history_is_taken_in_once_while_its_processes_are_killed(tmp_path: Path) -> None:
    commits = make_history(tmp_path)
    async with EmulatorProcess() as emulator, connect(emulator.address, PROJECT) as client:
        await kill_in_turn(emulator.address, f"git:{tmp_path}", Random(4), kills=3)
        events = await EventBox(client).list_events(recipient(client))
        assert sorted(event.value.decode() for event in events) == sorted(commits)


async def one_of(*conditions: Coroutine[None, None, None]) -> None:
    """Return when one of them has."""
    tasks = [asyncio.create_task(condition) for condition in conditions]
    await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
    await end(*tasks)


async def all_taken_in_once(address: str) -> None:
    async with connect(address, PROJECT) as client:
        box, to = EventBox(client), recipient(client)
        events = await box.list_events(to)
        assert sorted(int(event.value) for event in events) == list(range(1, BLOCKS + 1))
        assert (await box.drain(to, Recording(to))).events == BLOCKS
