"""Events from elsewhere: taken in once, in order where order matters, by one process at a time.

`DistributedLock` and `Leader` let one process do what only one may do.
"""

from __future__ import annotations

from eventbox.sources.errors import (
    InvalidCommitError,
    ListenerError,
    LockError,
    LockHeldError,
    LockLostError,
)
from eventbox.sources.leader import Leader, Lock
from eventbox.sources.lock import DistributedLock

__all__ = [
    "DistributedLock",
    "InvalidCommitError",
    "Leader",
    "ListenerError",
    "Lock",
    "LockError",
    "LockHeldError",
    "LockLostError",
]
