"""What has happened, in order: its hash tells whether two runs were the same, and its lines tell the story."""

from __future__ import annotations

import asyncio
import hashlib
from collections import Counter
from collections.abc import Callable


class Violation(AssertionError):
    """A promise was broken."""


class History:
    """The record of one simulation.

    Args:
        now: the virtual time, in seconds.
        trace: keep the story, too, for somebody to read.
    """

    def __init__(self, now: Callable[[], float], *, trace: bool = False) -> None:
        self._now = now
        self._hash = hashlib.blake2b(digest_size=16)
        self.lines: list[str] | None = [] if trace else None
        self.violations: list[str] = []
        self.rpcs = 0
        self.faults: Counter[str] = Counter()
        self.closed = False
        self._reached: tuple[int, asyncio.Future[None]] | None = None

    def reaches(self, rpcs: int) -> asyncio.Future[None]:
        """What is done once so many RPCs have been sent."""
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._reached = rpcs, future
        return future

    def send(self) -> int:
        """An RPC is sent; its number."""
        self.rpcs += 1
        if self._reached is not None and self.rpcs >= self._reached[0] and not self._reached[1].done():
            self._reached[1].set_result(None)
        return self.rpcs

    def add(self, who: str, what: str, detail: bytes = b"", told: Callable[[], str] | None = None) -> None:
        """Something has happened.

        Args:
            who: the process.
            what, detail: what the hash is made of.
            told: what the story says besides, asked for where one is told.
        """
        if self.closed:
            return
        line = f"{self._now():12.6f} {who:<12} {what}"
        self._hash.update(line.encode())
        self._hash.update(detail)
        if self.lines is not None:
            more = told() if told is not None else ""
            self.lines.append(f"{line}: {more}" if more else line)

    def tell(self, what: str) -> None:
        """Head a part of the story."""
        if self.lines is not None:
            self.lines.append(f"{self._now():12.6f} ---- {what}")

    def fault(self, who: str, kind: str, what: str) -> None:
        """A fault of this kind has happened to somebody."""
        if not self.closed:
            self.faults[kind] += 1
        self.add(who, f"! {what}")

    def violate(self, promise: str, detail: str) -> None:
        """A promise was broken."""
        if self.closed:
            return
        self.violations.append(f"{promise}: {detail}")
        self.add("*** BROKEN", f"{promise}: {detail}")

    @property
    def digest(self) -> str:
        """The hash of all that has happened."""
        return self._hash.hexdigest()
