"""What the emulator counts: RPCs by name, and operations as Firestore would bill them."""

from __future__ import annotations

from collections import Counter


class Counts:
    """Counters since the start, or since the last `reset()`.

    `rpcs` maps an RPC's short name ("Commit") to how often it was called, failures included. `reads`, `writes`
    and `deletes` hold only what was done: a document returned, or looked for and missing, is a read, a
    query that finds nothing is one read, and a write that failed costs nothing.
    """

    def __init__(self) -> None:
        self.rpcs: Counter[str] = Counter()
        self.reads = 0
        self.writes = 0
        self.deletes = 0

    def reset(self) -> None:
        """Set every counter to zero."""
        self.rpcs.clear()
        self.reads = self.writes = self.deletes = 0

    def copy(self) -> Counts:
        """The counters as they are now, for a comparison later."""
        other = Counts()
        other.rpcs = Counter(self.rpcs)
        other.reads, other.writes, other.deletes = self.reads, self.writes, self.deletes
        return other

    def __sub__(self, earlier: Counts) -> Counts:
        difference = Counts()
        difference.rpcs = self.rpcs - earlier.rpcs
        difference.reads = self.reads - earlier.reads
        difference.writes = self.writes - earlier.writes
        difference.deletes = self.deletes - earlier.deletes
        return difference

    def __repr__(self) -> str:
        return f"Counts(rpcs={dict(self.rpcs)}, reads={self.reads}, writes={self.writes}, deletes={self.deletes})"
