"""Wake-ups: tasks that make a worker drain one recipient. What they are named, when they are for, what they say.

A wake-up is for a whole second, *after* the commit that it is about. Its name is a hash of the recipient and that
second, so that all wake-ups of one recipient for one second are one task. Whatever bears that name starts after the
commit: so whoever finds it there already has nothing left to do, and a run under way can never swallow a wake-up.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TypeGuard

PATH = "/eventbox/wake"
"""Where a worker takes wake-ups, below the queue's target."""

SWEEP_PATH = "/eventbox/sweep"
"""Where a worker takes the order to sweep, below the queue's target."""

MARGIN = timedelta(milliseconds=100)
"""By how much the clocks of Firestore and Cloud Tasks may differ: a wake-up is no less than this after its commit."""

MAX_BODY_BYTES = 64 * 1024
"""More than any wake-up has: a document's name is at most 6 KiB, and JSON's escapes make six bytes of one."""

_MAX_COUNT = 253_402_300_799  # the last second of the year 9999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SECOND = timedelta(seconds=1)
_NAME_BYTES = 20
_FRESH = "\nfresh"


@dataclass(frozen=True, slots=True)
class WakeUp:
    """The order to drain a recipient.

    Args:
        recipient: its full document name (`projects/.../databases/.../documents/orders/1`).
        second: what it is for, in seconds since the epoch.
        fresh: was late once and put off, and is never late again.
        idle: how many runs in a row have moved nothing, so that the next one comes later.
    """

    recipient: str
    second: int
    fresh: bool = False
    idle: int = 0

    @property
    def name(self) -> str:
        """The task's name on its queue: hex, spread evenly, the same for the same recipient and second.

        A fresh one has a name of its own: were it to find another one there, which may be late in its turn and is not
        marked, a queue that lags for long would put off a recipient that is sent to all the time for ever.
        """
        what = f"{self.recipient}\n{self.second}{_FRESH if self.fresh else ''}"
        return hashlib.blake2b(what.encode(), digest_size=_NAME_BYTES).hexdigest()

    @property
    def at(self) -> datetime:
        """The second, as a datetime."""
        return _EPOCH + self.second * _SECOND

    def encode(self) -> bytes:
        """The body of its request: JSON."""
        return json.dumps(
            {"recipient": self.recipient, "second": self.second, "fresh": self.fresh, "idle": self.idle}
        ).encode()

    @staticmethod
    def decode(body: bytes) -> WakeUp:
        """The wake-up in a request's body.

        Raises:
            ValueError: it is none; the message says why.
        """
        if len(body) > MAX_BODY_BYTES:
            raise ValueError(f"a wake-up has at most {MAX_BODY_BYTES:,} bytes, not {len(body):,}")
        try:
            data = json.loads(body)
        except (ValueError, RecursionError) as error:
            raise ValueError(f"a wake-up is JSON: {error}") from error
        if not isinstance(data, dict):
            raise ValueError(f"a wake-up is a JSON object, not {type(data).__name__}")
        recipient, second = data.get("recipient"), data.get("second")
        fresh, idle = data.get("fresh", False), data.get("idle", 0)
        if not isinstance(recipient, str) or not recipient:
            raise ValueError(f"recipient must be a document's full name, not {recipient!r:.100}")
        try:
            recipient.encode()
        except UnicodeEncodeError as error:
            raise ValueError(f"recipient must be text that UTF-8 can encode: {error}") from error
        if not _is_count(second):
            raise ValueError(f"second must be in seconds since the epoch, not {second!r:.100}")
        if not isinstance(fresh, bool):
            raise ValueError(f"fresh must be true or false, not {fresh!r:.100}")
        if not _is_count(idle):
            raise ValueError(f"idle must be a number of runs, not {idle!r:.100}")
        return WakeUp(recipient, second, fresh, idle)


def second_after(moment: datetime, eta: datetime | None = None) -> int:
    """The second that a wake-up is for: the whole one after `moment`, or after `eta` where that is later."""
    late = moment if eta is None else max(moment, eta)
    return (late - _EPOCH + MARGIN) // _SECOND + 1  # in this order: there is no moment after the last one


def _is_count(value: object) -> TypeGuard[int]:
    return isinstance(value, int) and not isinstance(value, bool) and 0 <= value <= _MAX_COUNT
