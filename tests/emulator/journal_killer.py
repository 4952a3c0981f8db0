"""Kills processes that have a data folder, at moments that a whole emulator reaches too seldom.

`python journal_killer.py start|checkpoint FOLDER KILLS SEED` prints what it has found wrong, and ends with 1 then. It
forks, so it has no threads and no gRPC: the children do nothing but keep a journal.
"""

from __future__ import annotations

import os
import signal
import struct
import sys
import time
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from random import Random

from emulator.firestore.journal import Journal
from emulator.firestore.versions import Version

_DOCUMENTS = 20
_BYTES = 3_000


def keep(folder: Path, begin: int, acknowledge: Callable[[int], object], checkpoint_pages: int) -> None:
    """Open the folder and commit the numbers from `begin`: all documents say the same number, or the odd ones go."""
    journal = Journal(folder)
    journal._database.execute(f"PRAGMA wal_autocheckpoint = {checkpoint_pages}")
    for number in range(begin, begin + 10_000):
        journal.record([version(id, number) for id in range(_DOCUMENTS)], number)
        acknowledge(number)


def version(id: int, number: int) -> Version:
    name = f"projects/p/databases/d/documents/a/{id:02}"
    gone = number % 3 == 0 and id % 2
    return Version(name, None if gone else f"{number:08}".encode() * (_BYTES // 8), 1, number)


def killed(folder: Path, begin: int, wait: Callable[[], object], checkpoint_pages: int) -> int:
    """The last number that a child acknowledged before it was killed; 0 where it was none."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            keep(folder, begin, lambda number: os.write(writer, struct.pack(">Q", number)), checkpoint_pages)
        finally:
            os._exit(1)
    os.close(writer)
    try:
        wait()
    finally:
        os.kill(child, signal.SIGKILL)
        _, status = os.waitpid(child, 0)
    with open(reader, "rb") as pipe:
        data = pipe.read()
    assert os.WIFSIGNALED(status), f"the child ended by itself: {status}"
    return int.from_bytes(data[-8:], "big")


def check(folder: Path, before: int, acknowledged: int) -> int:
    """The number that the documents have, which is the last acknowledged one or the next."""
    with closing(Journal(folder)) as journal:
        last_us = journal.last_us()
        found = {name: (data, updated_us) for name, data, _, updated_us in journal.load()}
        (state,) = journal._database.execute("PRAGMA integrity_check").fetchone()
    assert state == "ok", state
    number = max((updated_us for _, updated_us in found.values()), default=0)
    last = max(before, acknowledged)
    assert number in (last, last + 1), f"{number} is there, after {last} was acknowledged"
    expected = [version(id, number) for id in range(_DOCUMENTS)] if number else []
    assert found == {one.name: (one.data, number) for one in expected if one.data is not None}, (
        "half a commit"
    )
    assert last_us == number
    return number


def kill_at_the_start(folder: Path, kills: int, rng: Random) -> None:
    """Kill while the folder is made, the file and its tables, or at the first commits."""
    states = {kill_one_at_the_start(folder / str(n), rng) for n in range(kills)}
    assert len(states) >= 3, f"killed at the same moment all the time: {states}"


def kill_one_at_the_start(folder: Path, rng: Random) -> tuple[bool, bool, bool]:
    file, log = folder / "firestore.sqlite3", folder / "firestore.sqlite3-wal"
    appeared = rng.choice(
        [folder.exists, file.exists, lambda: size(file) > 0, log.exists, lambda: size(log) > 0]
    )
    acknowledged = killed(folder, 1, lambda: (until(appeared), spin(rng.random() * 0.002)), 1_000)
    state = size(file) > 0, size(log) > 0, acknowledged > 0
    number = check(folder, 0, acknowledged)
    acknowledged = killed(folder, number + 1, lambda: spin(rng.random() * 0.002), 1_000)
    check(folder, number, acknowledged)
    return state


def kill_in_a_checkpoint(folder: Path, kills: int, rng: Random) -> None:
    """Kill as soon as the log is being copied into the file, or a moment later."""
    file = folder / "firestore.sqlite3"
    Journal(folder).close()
    number = 0
    for _ in range(kills):
        copies = rng.randint(2, 4)

        def copying(copies: int = copies) -> None:
            for _ in range(copies):
                before = stat(file)
                until(lambda: stat(file) != before)  # noqa: B023 - it is used at once
            spin(rng.random() * 0.002)

        acknowledged = killed(folder, number + 1, copying, rng.choice([10, 40, 100]))
        number = check(folder, number, acknowledged)
    assert number > kills


def size(file: Path) -> int:
    """Bytes; 0 where there is no such file."""
    with suppress(FileNotFoundError):
        return file.stat().st_size
    return 0


def spin(seconds: float) -> None:
    end = time.perf_counter() + seconds
    while time.perf_counter() < end:
        pass


def stat(file: Path) -> tuple[int, int]:
    state = file.stat()
    return state.st_mtime_ns, state.st_size


def until(true: Callable[[], bool]) -> None:
    """Look again and again: the moment is too short to be told of it."""
    end = time.perf_counter() + 30
    while not true():
        assert time.perf_counter() < end, "it did not happen"


if __name__ == "__main__":
    mode, root, count, seed = sys.argv[1:]
    act = {"start": kill_at_the_start, "checkpoint": kill_in_a_checkpoint}[mode]
    act(Path(root), int(count), Random(int(seed)))
