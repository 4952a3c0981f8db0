"""Events from elsewhere: taken in once, in order where order matters, by one process at a time.

`DistributedLock` and `Leader` let one process do what only one may do; `run` takes in a feed, block by block, by an
`Ingestor`, whose place a `Committer` keeps and whose events a `Writer` writes.
"""

from __future__ import annotations

from eventbox.sources.committer import Committer, Pointer
from eventbox.sources.errors import (
    InvalidCommitError,
    ListenerError,
    LockError,
    LockHeldError,
    LockLostError,
)
from eventbox.sources.ingestion import Progress, run
from eventbox.sources.ingestor import Ingestor, Result, events_ingestor_name, history_ingestor_name
from eventbox.sources.leader import Leader, Lock
from eventbox.sources.lock import DistributedLock
from eventbox.sources.writers import BoxWriter, FunctionWriter, LogWriter, Writer

__all__ = [
    "BoxWriter",
    "Committer",
    "DistributedLock",
    "FunctionWriter",
    "Ingestor",
    "InvalidCommitError",
    "Leader",
    "ListenerError",
    "Lock",
    "LockError",
    "LockHeldError",
    "LockLostError",
    "LogWriter",
    "Pointer",
    "Progress",
    "Result",
    "Writer",
    "events_ingestor_name",
    "history_ingestor_name",
    "run",
]
