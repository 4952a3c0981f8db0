"""What all `EventLog` objects for one log share in a process: the ranks they give out, and who waits for entries."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from google.cloud.firestore_v1.async_client import AsyncClient

from eventbox.log.transient import Subscribers

LONG_PAST = timedelta(days=30 * 365)
"""How far back ranks lie, so that no entry is not yet due because an appender's clock is ahead."""

_ORIGIN = datetime(1, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class Ranks:
    """Moments that rise with each entry, also while the clock stands or goes back."""

    def __init__(self) -> None:
        self._last = _ORIGIN

    def next(self, now: datetime) -> datetime:
        """The rank of an entry that is appended now: the time, long past, or a microsecond after the last one."""
        long_past = now - LONG_PAST if now - _ORIGIN > LONG_PAST else _ORIGIN
        self._last = max(long_past, self._last + _MICROSECOND)
        return self._last


class InProcess:
    """One log's part in this process. Get it by `InProcess.of(client, path)`."""

    def __init__(self) -> None:
        self.ranks = Ranks()
        self.subscribers = Subscribers()

    @staticmethod
    def of(client: AsyncClient, path: str) -> InProcess:
        """That of the log with this document, made at the first call and kept on the client."""
        logs: dict[str, InProcess] | None = getattr(client, "_eventbox_logs", None)
        if logs is None:
            logs = client._eventbox_logs = {}
        return logs.setdefault(path, InProcess())
