"""What a worker's answer asks for by its `Retry-After`."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime

_LONGEST = timedelta(days=31)
"""A task is not kept longer than that."""


def parse_retry_after(text: str | None) -> timedelta | None:
    """How long to wait, at most 31 days: the header has seconds, or a date by the wall's time.

    None where there is no header, or one that cannot be understood.
    """
    if text is None:
        return None
    text = text.strip()
    try:
        if text.isascii() and text.isdecimal():
            return timedelta(seconds=min(int(text[:20]), int(_LONGEST.total_seconds())))
        date = parsedate_to_datetime(text)
        wait = (date if date.tzinfo else date.replace(tzinfo=UTC)) - datetime.now(UTC)
    except (ValueError, OverflowError):
        return None
    return min(max(wait, timedelta(0)), _LONGEST)
