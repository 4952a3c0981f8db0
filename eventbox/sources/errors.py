"""Every error of eventbox.sources, by what the caller can do about it.

EventboxError
    LockError
        LockHeldError      this object holds the lock already, or is waiting for it: a lock is not re-entrant
        LockLostError      the lease ended while the guarded work went on, which was cancelled; lock again
    InvalidCommitError     the commit does not continue the chain, or a newer holder has claimed it; start anew
    ListenerError          a listener failed; the others were ended, and the cause tells why

A bad argument is TypeError or ValueError, raised before any RPC is made.
"""

from __future__ import annotations

from eventbox.errors import EventboxError


class LockError(EventboxError):
    """The base of what a lock raises."""


class LockHeldError(LockError, RuntimeError):
    """This lock object holds the lock, or waits for it, already. Make another object for another contender."""


class LockLostError(LockError):
    """The lease ended while the work that it guards was under way; that work was cancelled."""


class InvalidCommitError(EventboxError):
    """The commit was refused, and the place of the ingestor is what it was.

    Its parent is not the latest block, its block does not come after the parent, or a holder with a larger token has
    claimed the ingestor. Take the lock anew and go on from the latest block.
    """


class ListenerError(EventboxError):
    """A listener failed, and ended the others with it; `name` tells which. Its own error is the `__cause__`."""

    def __init__(self, name: str, message: str = "") -> None:
        super().__init__(name, message)
        self.name = name

    def __str__(self) -> str:
        return f"listener {self.name!r} failed: {self.args[1] or 'see the cause'}"
