"""A document as one commit left it."""

from __future__ import annotations

from typing import Any

from emulator.firestore import protos
from emulator.firestore.encoding import encoded_time


class Version:
    """One version of a document, encoded; or the fact that there is none since its deletion.

    The encoding takes a quarter of a message's memory, and goes into responses as it is. Versions are chained from the
    latest backwards, for as long as the past can be read.

    Attributes:
        name: the document's name.
        data: its encoded `Document`; None: it was deleted.
        created_us: when it was created; 0 for a deletion.
        time_us: when this version was committed, in microseconds since the epoch.
        previous: what was there before; None: nothing, or too long ago to be kept.
        entry: the document's entry in an index, kept there for the next version to take it out (see `sorted_entries`).
    """

    __slots__ = ("_message", "created_us", "data", "entry", "name", "previous", "time_us")

    def __init__(
        self, name: str, data: bytes | None, created_us: int, time_us: int, message: Any | None = None
    ) -> None:
        self.name = name
        self.data = data
        self.created_us = created_us
        self.time_us = time_us
        self.previous: Version | None = None
        self.entry: tuple[bytes, str, object] | None = None
        self._message = message

    @property
    def message(self) -> Any:
        """The `Document`, not to be changed; it may lack its times, which are those here. Kept until `forget`."""
        message = self._message  # another thread, sending a result, may forget it meanwhile
        if message is None:
            message = self._message = protos.Document.FromString(self.data)
        return message

    def forget(self) -> None:
        """Let go of the decoded message."""
        self._message = None

    @property
    def update_time(self) -> Any:
        return timestamp(self.time_us)

    @property
    def create_time(self) -> Any:
        return timestamp(self.created_us)

    def has_body(self, body: bytes) -> bool:
        """Whether its name and fields are encoded by these bytes."""
        # behind them come the times, which begin with a tag that no field has
        data = self.data
        return data is not None and data.startswith(body) and data.startswith(b"\x1a", len(body))


Move = tuple[Version | None, Version]
"""A document's version before a commit (None: none is known), and that of the commit."""


def new_version(name: str, body: bytes, created_us: int, time_us: int, message: Any | None = None) -> Version:
    """The version of a document whose name and fields are encoded by `body`, deterministically.

    A `message` that has the same name and fields is taken over.
    """
    updated = encoded_time(time_us)
    created = updated if created_us == time_us else encoded_time(created_us)
    # behind name and fields come create_time = 3, and update_time = 4
    data = b'%b\x1a%c%b"%c%b' % (body, len(created), created, len(updated), updated)
    return Version(name, data, created_us, time_us, message)


def deletion(name: str, time_us: int) -> Version:
    """The version of a document that a commit has deleted."""
    return Version(name, None, 0, time_us)


def timestamp(us: int) -> Any:
    """The Timestamp of microseconds since the epoch."""
    seconds, micros = divmod(us, 1_000_000)
    return protos.Timestamp(seconds=seconds, nanos=micros * 1_000)


def is_timestamp(us: int, timestamp: Any) -> bool:
    """Whether a Timestamp is that of microseconds since the epoch."""
    seconds, micros = divmod(us, 1_000_000)
    return bool(timestamp.seconds == seconds and timestamp.nanos == micros * 1_000)


def microseconds(timestamp: Any) -> int:
    """Microseconds since the epoch."""
    return int(timestamp.seconds) * 1_000_000 + int(timestamp.nanos) // 1_000
