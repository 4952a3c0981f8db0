"""The filter of a listing of queues: one comparison, such as "state: PAUSED"."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

from emulator.tasks import protos
from emulator.tasks.limits import invalid

_STATES = frozenset(protos.Queue.State.keys())
_COMPARISON = re.compile(r'\s*(state|name)\s*(!=|=|:)\s*"?([A-Za-z0-9:./_-]+)"?\s*')


def queue_filter(text: str) -> Callable[[Any], bool]:
    """Whether a queue is wanted; INVALID_ARGUMENT for what is no comparison of a state or a name.

    `=` and `!=` compare the whole value, `:` asks for a part of it.
    """
    if not text.strip():
        return _every
    match = _COMPARISON.fullmatch(text)
    if match is None:
        raise invalid(
            f'filter {text!r}: this emulator compares the state or the name of queues, as in "state: PAUSED", and '
            "nothing else."
        )
    field, operator, value = match.groups()
    if field == "state" and value not in _STATES:
        raise invalid(f"filter {text!r}: a queue has no state {value}.")

    def wanted(queue: Any) -> bool:
        own = protos.Queue.State.Name(queue.state) if field == "state" else queue.name
        if operator == ":":
            return value in own
        return (own == value) is (operator == "=")

    return wanted


def _every(queue: Any) -> bool:
    return True
