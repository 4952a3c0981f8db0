"""The errors of the event log; like all of eventbox's they derive from `EventboxError`.

EventboxError
    TrimmedError              a position whose entry is gone; `.first` is the first that is still there
    PrepareError
        MalformedEntryError   something lies in the log's inbox that no `append` put there
"""

from __future__ import annotations

from eventbox.errors import EventboxError, PrepareError


class TrimmedError(EventboxError):
    """The entry at this position was trimmed. `first` is the first position that can still be read.

    Where everything was trimmed, `first` is the position of the entry to come.
    """

    def __init__(self, log: str, position: int, first: int) -> None:
        super().__init__(log, position, first)
        self.log = log
        self.position = position
        self.first = first

    def __str__(self) -> str:
        return (
            f"{self.log}: the entry at position {self.position} has been trimmed; the first one available is "
            f"{self.first}. A follower is moved there by EventLog.move_cursor, and a new one begins there with start="
        )


class MalformedEntryError(PrepareError):
    """An event in the log's inbox is no entry: somebody emitted it, or a newer version of eventbox appended it.

    A log's document is a recipient of its own; nothing but `append` may put events there. The entries beside it are
    ordered all the same. It stays in the inbox; `run_ordering` and a worker set it aside after a few attempts (see
    `EventBox.quarantined`).
    """

    def __reduce__(self) -> tuple[type[MalformedEntryError], tuple[object, ...]]:
        return MalformedEntryError, self.args
