"""What the emulator counts: RPCs by name, and dispatches."""

from __future__ import annotations

from collections import Counter


class Counts:
    """Counters since the start, or since the last `reset()`.

    `rpcs` maps an RPC's short name ("CreateTask") to how often it was called, failures included. `dispatches` is how
    often a task was sent to its worker, whatever came of it; one that a fault doubles counts twice.
    """

    def __init__(self) -> None:
        self.rpcs: Counter[str] = Counter()
        self.dispatches = 0

    def reset(self) -> None:
        """Set every counter to zero."""
        self.rpcs.clear()
        self.dispatches = 0

    def copy(self) -> Counts:
        """The counters as they are now, for a comparison later."""
        other = Counts()
        other.rpcs = Counter(self.rpcs)
        other.dispatches = self.dispatches
        return other

    def __sub__(self, earlier: Counts) -> Counts:
        difference = Counts()
        difference.rpcs = self.rpcs - earlier.rpcs
        difference.dispatches = self.dispatches - earlier.dispatches
        return difference

    def __repr__(self) -> str:
        return f"Counts(rpcs={dict(self.rpcs)}, dispatches={self.dispatches})"
