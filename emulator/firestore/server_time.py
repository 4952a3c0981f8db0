"""The server's time in a field: when a request that asks for it is carried out.

It has milliseconds only, while whoever sends the request may have looked, a moment ago, at a clock that has
microseconds. In production the way to the server takes longer than a millisecond, so what comes back does not lie
before that look. Here it nearly always would, unless such a request is left until the next millisecond begins.
"""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Any

WRITING = frozenset({"Commit", "BatchWrite"})
"""The RPCs that may ask for the server's time, but for Write, whose stream is not held up."""

_MILLISECOND = 1_000  # us
_SLACK = 1  # us; a sleep goes by another clock than the time of day


def until_server_time(request: Any, now: datetime) -> timedelta | None:
    """How long to wait until the server's time, cut to milliseconds, is not before now; None: not at all.

    That is where one of the request's writes asks for it. It is a millisecond at most.
    """
    past = now.microsecond % _MILLISECOND
    if not past:
        return None
    for write in request.writes:
        transforms = (
            write.transform.field_transforms if write.HasField("transform") else write.update_transforms
        )
        if transforms and any(
            one.WhichOneof("transform_type") == "set_to_server_value" for one in transforms
        ):
            return timedelta(microseconds=_MILLISECOND - past + _SLACK)
    return None
