"""`Failure`: an event that fails by itself, and what is kept of why."""

from __future__ import annotations

import traceback
from dataclasses import dataclass

from dsset import Listing
from eventbox.events import Event

MAX_ERROR_BYTES = 2_000
MAX_TRACEBACK_BYTES = 16_000
"""These, a value of 1,000,000 bytes and the longest names fit together into a document of 1 MiB."""

_HEAD = MAX_TRACEBACK_BYTES // 4


@dataclass(frozen=True, slots=True)
class Failure:
    """An event that made a batch of its own fail. The listing holds it alone."""

    event: Event
    error: Exception
    listing: Listing

    @property
    def summary(self) -> str:
        """The error's type and message, in 2,000 bytes."""
        try:
            message = str(self.error)
        except Exception:  # an error whose __str__ fails must not keep its event from being set aside
            message = "(its message cannot be printed)"
        name = type(self.error).__qualname__
        return _cut(_encodable(f"{name}: {message}" if message else name), MAX_ERROR_BYTES)

    @property
    def traceback(self) -> str:
        """The error's traceback, in 16,000 bytes: its beginning, and more of its end."""
        try:
            text = "".join(traceback.format_exception(self.error))
        except Exception:
            text = self.summary
        data = _encodable(text).encode()
        if len(data) <= MAX_TRACEBACK_BYTES:
            return data.decode()
        gap = b"\n... %d bytes are left out ...\n" % (len(data) - MAX_TRACEBACK_BYTES)
        tail = MAX_TRACEBACK_BYTES - _HEAD - len(gap)
        return (data[:_HEAD] + gap + data[-tail:]).decode(errors="ignore")


def _encodable(text: str) -> str:
    """The text without what UTF-8 cannot hold."""
    return text.encode(errors="backslashreplace").decode()


def _cut(text: str, max_bytes: int) -> str:
    data = text.encode()
    if len(data) <= max_bytes:
        return text
    return data[: max_bytes - 3].decode(errors="ignore") + "..."
