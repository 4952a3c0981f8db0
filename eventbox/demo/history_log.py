"""The log of the demo: an entry for each commit, and a follower that sums them up."""

from __future__ import annotations

import json
from dataclasses import dataclass

from google.cloud.firestore import AsyncClient, Increment

from eventbox import EventBox, Transaction
from eventbox.demo.history_events import LOG
from eventbox.demo.progress import Progress
from eventbox.log import EventLog, LogEntry
from eventbox.tasks import TaskQueue

FOLLOWER = "totals"
_TOTALS = "summaries/history"
_BATCH = 500


@dataclass(frozen=True, slots=True)
class LogTotals:
    """What the follower has counted: entries, and what they say together."""

    entries: int = 0
    changes: int = 0
    added: int = 0
    removed: int = 0


def log_of(box: EventBox, queue: TaskQueue | None = None) -> EventLog:
    """The log. With a queue, what is appended wakes the worker that orders it."""
    return EventLog(box, box.client.document(LOG), sender=queue)


async def follow(box: EventBox, progress: Progress) -> None:
    """Sum up the entries, each exactly once, until cancelled."""
    totals = box.client.document(_TOTALS)

    async def handler(transaction: Transaction, entry: LogEntry) -> None:
        told = json.loads(entry.payload)
        added = {key: Increment(told[key]) for key in ("changes", "added", "removed")}
        transaction.set(totals, {"entries": Increment(1), **added}, merge=True)
        assert entry.id is not None
        position = entry.id + 1

        def tell() -> None:
            progress.logged = max(progress.logged, position)

        transaction.on_commit(tell)

    await log_of(box).handle_events(FOLLOWER, handler, batch=_BATCH)


async def log_totals(client: AsyncClient) -> LogTotals:
    """What the follower's document says."""
    return LogTotals(**((await client.document(_TOTALS).get()).to_dict() or {}))
