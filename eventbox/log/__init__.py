"""One ordered, append-only log of everything important, that any number of followers read with cursors of their own.

    from eventbox.log import EventLog

    log = EventLog(box, client.document("logs/main"))
    await log.append("payment-received", b"...")
    await log.order()
    await log.handle_events("bookkeeping", handler)

See `EventLog` for what it promises and what it costs.
"""

from __future__ import annotations

from eventbox.log.entry import EventPersistence, LogEntry, NewLogEntry
from eventbox.log.errors import MalformedEntryError, TrimmedError
from eventbox.log.event_log import EventLog
from eventbox.log.joining import filter_events_by_kind, join_events
from eventbox.log.log_event import LogEvent
from eventbox.log.overview import FollowerOverview, LogOverview
from eventbox.log.pair_statistics import PairStatistics
from eventbox.log.transient import TransientEntries

__all__ = [
    "EventLog",
    "EventPersistence",
    "FollowerOverview",
    "LogEntry",
    "LogEvent",
    "LogOverview",
    "MalformedEntryError",
    "NewLogEntry",
    "PairStatistics",
    "TransientEntries",
    "TrimmedError",
    "filter_events_by_kind",
    "join_events",
]
