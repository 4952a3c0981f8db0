"""What has happened, in order: its hash tells whether two runs were the same, and its lines tell the story."""

from __future__ import annotations

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

    def add(self, who: str, what: str, detail: bytes = b"") -> None:
        """Something has happened."""
        if self.closed:
            return
        line = f"{self._now():12.6f} {who:<10} {what}"
        self._hash.update(line.encode())
        self._hash.update(detail)
        if self.lines is not None:
            self.lines.append(line)

    def fault(self, who: str, kind: str, what: str) -> None:
        """A fault of this kind has happened to somebody."""
        if not self.closed:
            self.faults[kind] += 1
        self.add(who, what)

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
