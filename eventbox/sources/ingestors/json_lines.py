"""`JsonLines`: a file of JSON lines that grows and is rotated, as `tail -F` follows it."""

from __future__ import annotations

import hashlib
import json
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, BinaryIO

from dsset.clock import Clock, SystemClock
from eventbox.events import NewEvent
from eventbox.sources.committer import Pointer, check_name
from eventbox.sources.ingestor import Result
from eventbox.sources.writers import Writer

MAX_LINES = 500
MAX_BLOCK_BYTES = 1024 * 1024
MAX_LINE_BYTES = 16 * 1024 * 1024

logger = logging.getLogger(__name__)

_HEAD = 256
"""Bytes at a file's beginning, at most, that tell it from another one of the same inode."""


class JsonLinesError(Exception):
    """A line is no JSON, or too long; the message says where."""


@dataclass(frozen=True, slots=True)
class FilePosition:
    """A place in a sequence of files: behind byte `offset` of the `generation`th file.

    The file is known again, under whatever name, by its inode and by a hash of its first bytes, `head` of them.
    """

    generation: int
    offset: int
    inode: int
    head: int
    digest: bytes

    def encode(self) -> Pointer:
        """The pointer, which compares by generation and offset."""
        numbers = (self.generation, self.offset, self.inode, self.head)
        return b"".join(number.to_bytes(8, "big") for number in numbers) + self.digest

    @classmethod
    def decode(cls, pointer: Pointer) -> FilePosition:
        """The place that a pointer tells.

        Raises:
            ValueError: it is none of a file.
        """
        if len(pointer) != 48:
            raise ValueError(f"no position in a file of JSON lines: {pointer!r:.200}")
        generation, offset, inode, head = (
            int.from_bytes(pointer[begin : begin + 8], "big") for begin in range(0, 32, 8)
        )
        return cls(generation, offset, inode, head, pointer[32:])

    def is_in(self, file: BinaryIO) -> bool:
        """Whether this is the file."""
        stat = os.fstat(file.fileno())
        return (
            stat.st_ino == self.inode
            and stat.st_size >= self.offset
            and _digest(file, self.head) == self.digest
        )


class JsonLines:
    """An `Ingestor` of a file of JSON lines: a block for up to 500 lines, or 1 MiB, of what has been added.

        ingestor = JsonLines("payments", Path("/var/log/payments.jsonl"))
        await run(lock, committer, BoxWriter(box, to), ingestor)

    A line counts once it ends with a newline. The file may be renamed and begun anew (what was written to the old one
    is read first), truncated (then it is read from the start) or missing for a while. A rotated file is found
    again after a restart among the files beside it whose names begin with its own, such as `payments.jsonl.1`; if it
    is not there any more, what had not been read of it is lost, and `on_gap` is told.

    Args:
        name: under which its place is kept.
        path: the file; it need not exist yet.
        events_of: what to emit for a line; by default its text, as it is.
        on_invalid: what to emit for a line that is no JSON; by default the block fails, again and again, until somebody
            mends the file: nothing is passed over in silence. Blank lines are.
        on_gap: is told when lines may have been lost: the file that was being read has gone, or ends in the middle of a
            line. Logs a warning by default; what it raises fails the block.
        interval: how often to look for more; None: never, it ends with what is there.
        clock: what it waits by.

    The file is read in the event loop's thread.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        events_of: Callable[[Any, bytes], Sequence[NewEvent]] | None = None,
        *,
        on_invalid: Callable[[bytes], Sequence[NewEvent]] | None = None,
        on_gap: Callable[[str], None] | None = None,
        interval: timedelta | None = timedelta(milliseconds=500),
        clock: Clock | None = None,
    ) -> None:
        self.name = check_name(name)
        self._path = Path(path)
        self._events_of = events_of or _as_it_is
        self._on_invalid = on_invalid
        self._on_gap = on_gap or logger.warning
        self._interval = interval
        self._clock = clock or SystemClock()

    async def ingest(self, writer: Writer, parent: Pointer | None) -> AsyncIterator[Awaitable[Result]]:
        """See `Ingestor.ingest`."""
        place = None if parent is None else FilePosition.decode(parent)
        generation = 0 if place is None else place.generation
        with ExitStack() as opened:
            file = None if place is None else self._find(place)
            if file is not None:
                opened.push(file)
            elif place is not None:
                generation, place = generation + 1, None
                self._on_gap(
                    f"the file that {self.name!r} was reading has gone, or was cut short: {self._path}"
                )
            moved_before = False
            while True:
                if file is None and self._path.exists():
                    file, moved_before = opened.enter_context(self._path.open("rb")), False
                if file is not None:
                    # looked at before it is read: what is read then is all of it
                    moved = self._moved(file)
                    cut = place is not None and not place.is_in(file)
                    last = moved and (moved_before or self._interval is None)
                    for position, lines in () if cut else _blocks(file, generation):
                        yield self._block(writer, parent, position, lines)
                        parent, place = position.encode(), position
                    if cut or last:
                        if last and file.read(1):
                            self._on_gap(
                                f"{self._path}: a file was moved away that ends in the middle of a line"
                            )
                        opened.close()
                        file, place, generation = None, None, generation + 1
                        continue
                    moved_before = (
                        moved  # whoever writes may not know yet: it is read once more after a while
                    )
                if self._interval is None:
                    return
                await self._clock.sleep(self._interval)

    def pointer_metric(self, pointer: Pointer) -> int:
        """The byte in the file that it is in."""
        return FilePosition.decode(pointer).offset

    async def _block(
        self, writer: Writer, parent: Pointer | None, position: FilePosition, lines: Sequence[bytes]
    ) -> Result:
        block = position.encode()
        events = [event for line in lines for event in self._events(line, position)]
        await writer.write(self.name, block, events)
        return Result(parent, block)

    def _events(self, line: bytes, position: FilePosition) -> Sequence[NewEvent]:
        try:
            value = json.loads(line)
        except ValueError as error:
            if self._on_invalid is not None:
                return self._on_invalid(line)
            raise JsonLinesError(
                f"{self._path}: a line before byte {position.offset} is no JSON: {line!r:.200}: {error}"
            ) from error
        return self._events_of(value, line)

    def _find(self, position: FilePosition) -> BinaryIO | None:
        """The file that a place is in, opened there; under its own name, or the one that rotation gave it."""
        beside = sorted(self._path.parent.glob(f"{_escaped(self._path.name)}*"))
        for path in (self._path, *(one for one in beside if one != self._path)):
            if not path.is_file():
                continue
            file = path.open("rb")
            if position.is_in(file):
                file.seek(position.offset)
                return file
            file.close()
        return None

    def _moved(self, file: BinaryIO) -> bool:
        """Whether another file has taken its name."""
        try:
            return not os.path.samestat(os.fstat(file.fileno()), self._path.stat())
        except FileNotFoundError:
            return False  # until there is a new one, somebody may go on writing to it


def _blocks(file: BinaryIO, generation: int) -> Iterator[tuple[FilePosition, list[bytes]]]:
    """The whole lines from where the file stands, in blocks, with the place behind each."""
    while True:
        begin = file.tell()
        lines: list[bytes] = []
        size = blank = 0
        while len(lines) < MAX_LINES and size < MAX_BLOCK_BYTES:
            line = file.readline(MAX_LINE_BYTES)
            if not line.endswith(b"\n"):
                if len(line) == MAX_LINE_BYTES:
                    raise JsonLinesError(f"{file.name}: the line at byte {begin + size} is too long")
                break
            size += len(line)
            if line.isspace():
                blank += 1
            else:
                lines.append(line.rstrip(b"\r\n"))
        end = begin + size
        if not lines:
            file.seek(end if blank else begin)
            return
        head = min(_HEAD, end)
        position = FilePosition(generation, end, os.fstat(file.fileno()).st_ino, head, _digest(file, head))
        file.seek(end)
        yield position, lines


def _digest(file: BinaryIO, head: int) -> bytes:
    return hashlib.blake2b(os.pread(file.fileno(), head, 0), digest_size=16).digest()


def _as_it_is(value: Any, line: bytes) -> Sequence[NewEvent]:
    return [NewEvent(line)]


def _escaped(name: str) -> str:
    """The name, with what a pattern would take for more than itself quoted."""
    return "".join(f"[{letter}]" if letter in "*?[" else letter for letter in name)
