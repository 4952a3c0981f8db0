"""What the processes of a log were told, kept outside of all of them."""

from __future__ import annotations

from dataclasses import dataclass, field

from eventbox.log import EventPersistence


@dataclass
class Append:
    """One entry that a process has tried to append, however often."""

    key: str
    process: str
    persistence: EventPersistence
    begun: int
    marker: str | None = None  # what the same transaction writes
    echo: bool = False  # whoever follows appends another one
    accepted: int | None = (
        None  # when the process heard that it is appended, on the ledger's count of moments
    )


@dataclass
class LogLedger:
    """All of it.

    Attributes:
        appends: by their keys, which the payloads tell.
        followers: the names that were followed under, and where each began; of the log that is trimmed, if so marked.
        abandoned: those that met with an entry that was trimmed, and were given up.
        transient: keys of transient entries, by process, as they were published.
        refused: markers of transactions whose error said that nothing happened.
        taken: what `order` has returned, in all.
        trimmed: what `trim` has returned, in all.
    """

    appends: dict[str, Append] = field(default_factory=dict)
    followers: dict[tuple[bool, str], int] = field(default_factory=dict)
    abandoned: set[tuple[bool, str]] = field(default_factory=set)
    transient: dict[str, list[str]] = field(default_factory=dict)
    refused: set[str] = field(default_factory=set)
    taken: int = 0
    trimmed: int = 0
    contended: int = 0
    handled: int = 0
    reads: int = 0
    moments: int = 0

    def moment(self) -> int:
        """A number that rises with each call: what has it earlier came first."""
        self.moments += 1
        return self.moments
