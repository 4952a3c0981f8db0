"""`Journal`: what a process is about to do and what it was told, on disk before it goes on."""

from __future__ import annotations

import json
import os
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True)
class Record:
    """A line of a journal: who wrote it, in which of its lives, when (seconds since 1970), what, and details."""

    who: str
    life: int
    at: float
    what: str
    details: Mapping[str, Any]

    def __getitem__(self, key: str) -> Any:
        return self.details[key]


class Journal:
    """An append-only file of one life of a process. Each line is on disk when `write` returns.

    A process that is killed leaves whole lines behind, but for the last one.
    """

    def __init__(self, folder: Path, who: str, life: int) -> None:
        path = folder / f"{who}.{life:04}.jsonl"
        self._file = os.open(path, os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_APPEND, 0o644)

    def write(self, what: str, **details: Any) -> None:
        """Add a line. Details are anything that JSON takes."""
        os.write(self._file, json.dumps({"at": time.time(), "what": what, **details}).encode() + b"\n")
        os.fsync(self._file)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._file)


class Journals:
    """Reads a folder's journals, as far as they have been written, each line once; with `who`, those of one process."""

    def __init__(self, folder: Path, who: str = "*") -> None:
        self._folder = folder
        self._pattern = f"{who}.[0-9]*.jsonl"
        self._read: dict[Path, int] = {}

    def new(self) -> list[Record]:
        """What was written since the last time; of one file in order."""
        records: list[Record] = []
        for path in sorted(self._folder.glob(self._pattern)):
            with path.open("rb") as file:
                file.seek(self._read.get(path, 0))
                content = file.read()
            whole = content[: content.rfind(b"\n") + 1]
            self._read[path] = self._read.get(path, 0) + len(whole)
            who, life = path.name.split(".")[:2]
            records += (_record(who, int(life), line) for line in whole.splitlines())
        return records


def _record(who: str, life: int, line: bytes) -> Record:
    details = json.loads(line)
    return Record(who, life, details.pop("at"), details.pop("what"), details)
