"""Events from elsewhere: taken in once, in order where order matters, by one process at a time.

`DistributedLock` and `Leader` let one process do what only one may do; `run` takes in a feed, block by block, by an
`Ingestor`, whose place a `Committer` keeps and whose events a `Writer` writes; an `EventStore` takes in each event once
and keeps it until it is known to have arrived, with a `KV` for what is to be remembered besides; a `ListenerManager`
runs the registered listeners that bring them.
"""

from __future__ import annotations

from eventbox.sources.broadcaster import Broadcaster
from eventbox.sources.committer import Committer, Pointer
from eventbox.sources.errors import (
    InvalidCommitError,
    ListenerError,
    LockError,
    LockHeldError,
    LockLostError,
)
from eventbox.sources.event_store import EventStore
from eventbox.sources.ingestion import Progress, run
from eventbox.sources.ingestor import Ingestor, Result, events_ingestor_name, history_ingestor_name
from eventbox.sources.kv import KV, KVItem
from eventbox.sources.leader import Leader, Lock
from eventbox.sources.listener import ListenerStore, ListenFunc, Service
from eventbox.sources.listener_manager import ListenerManager
from eventbox.sources.listener_registry import (
    get_listener,
    load_listeners,
    register_listener,
    registered_listeners,
)
from eventbox.sources.lock import DistributedLock
from eventbox.sources.stored_event import StoredEvent, stored_event_id
from eventbox.sources.votes import QuorumVotes, VoteStore
from eventbox.sources.writers import BoxWriter, FunctionWriter, LogWriter, Writer

__all__ = [
    "KV",
    "BoxWriter",
    "Broadcaster",
    "Committer",
    "DistributedLock",
    "EventStore",
    "FunctionWriter",
    "Ingestor",
    "InvalidCommitError",
    "KVItem",
    "Leader",
    "ListenFunc",
    "ListenerError",
    "ListenerManager",
    "ListenerStore",
    "Lock",
    "LockError",
    "LockHeldError",
    "LockLostError",
    "LogWriter",
    "Pointer",
    "Progress",
    "QuorumVotes",
    "Result",
    "Service",
    "StoredEvent",
    "VoteStore",
    "Writer",
    "events_ingestor_name",
    "get_listener",
    "history_ingestor_name",
    "load_listeners",
    "register_listener",
    "registered_listeners",
    "run",
    "stored_event_id",
]
