"""Time to live: documents whose field says that their time is up are deleted.

Production does so within a day or so; here it happens as soon as anybody looks after the time has come.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterator
from typing import Any

from emulator.firestore.field_paths import get_field, parse_field_path
from emulator.firestore.versions import microseconds

_SLACK = 64


class TimeToLive:
    """The documents that will expire, soonest first.

    Args:
        fields: for each collection ID with a policy, the path of its field.
    """

    def __init__(self, fields: dict[str, str]) -> None:
        self._fields = {collection_id: parse_field_path(path) for collection_id, path in fields.items()}
        self._expires: dict[str, int] = {}
        self._heap: list[tuple[int, str]] = []  # may hold what is not so any more: `_expires` tells

    def __bool__(self) -> bool:
        """Whether there is any policy."""
        return bool(self._fields)

    def written(self, document: Any) -> None:
        """Take note of a document's new version."""
        expires_us = self.expires_us(document)
        if expires_us is not None:
            self.later(document.name, expires_us)

    def later(self, name: str, expires_us: int) -> None:
        """Look at a document when its time comes; where that has come already, at the next chance."""
        if self._expires.get(name) == expires_us:
            return
        self._expires[name] = expires_us
        heapq.heappush(self._heap, (expires_us, name))
        if len(self._heap) > 2 * len(self._expires) + _SLACK:  # most of it is about versions that have gone
            self._heap = [(us, name) for name, us in self._expires.items()]
            heapq.heapify(self._heap)

    def expires_us(self, document: Any) -> int | None:
        """When the document expires; None where no policy or no timestamp says so."""
        path = self._fields.get(document.name.rsplit("/", 2)[1]) if self._fields else None
        value = None if path is None else get_field(document.fields, path)
        if value is None or value.WhichOneof("value_type") != "timestamp_value":
            return None
        return microseconds(value.timestamp_value)

    def due(self, now_us: int) -> Iterator[str]:
        """The names whose time had come by some version of theirs; they are not due again."""
        due = []
        while self._heap and self._heap[0][0] <= now_us:
            expires_us, name = heapq.heappop(self._heap)
            if self._expires.get(name) == expires_us:
                del self._expires[name]
                due.append(name)
        return iter(due)

    def clear(self) -> None:
        self._heap.clear()
        self._expires.clear()
