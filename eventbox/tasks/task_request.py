"""`TaskRequest`: a task as its handler sees it."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime

from starlette.datastructures import Headers

_SECRET = frozenset({b"authorization", b"x-serverless-authorization", b"proxy-authorization", b"cookie"})
_MAX_DIGITS = 9


@dataclass(frozen=True, slots=True)
class TaskRequest:
    """One delivery of a task. Cloud Tasks delivers at least once: expect the same task again.

    `body` and `headers` are those of the task (names in any case; the caller's token is not among them). `name` is the
    last part of the task's name, the same at each delivery of a task, and "" where Cloud Tasks did not send it.
    `retry_count` says how often it was tried before, `eta` for when it was scheduled (None where that was not sent).
    """

    body: bytes
    headers: Mapping[str, str]
    name: str
    retry_count: int
    eta: datetime | None

    @staticmethod
    def of(headers: Headers, body: bytes) -> TaskRequest:
        """The request with these headers and this body; what is missing or no number is left at its default."""
        return TaskRequest(
            body,
            Headers(raw=[(name, value) for name, value in headers.raw if name.lower() not in _SECRET]),
            headers.get("x-cloudtasks-taskname", ""),
            retry_count(headers),
            _eta(headers.get("x-cloudtasks-tasketa", "")),
        )


def retry_count(headers: Headers) -> int:
    """How often Cloud Tasks has tried before, by its header; 0 where that says nothing."""
    text = headers.get("x-cloudtasks-taskretrycount", "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= _MAX_DIGITS else 0


def _eta(text: str) -> datetime | None:
    """Seconds since 1970, as Cloud Tasks writes them: "1700000000.123456"."""
    try:
        seconds = float(text)
        return datetime.fromtimestamp(seconds, UTC) if math.isfinite(seconds) else None
    except (ValueError, OverflowError, OSError):
        return None
