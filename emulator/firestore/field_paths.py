"""Field paths: `a.b`, and `` `odd name`.b `` where a segment is no plain identifier."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from grpc import StatusCode

from emulator.firestore.status import Status

Path = tuple[str, ...]

DOCUMENT_ID = "__name__"

_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_QUOTED = re.compile(r"`((?:[^`\\]|\\.)*)`", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)


@lru_cache(maxsize=4_096)
def parse_field_path(text: str) -> Path:
    """The segments of a field path; INVALID_ARGUMENT where it is malformed."""
    segments = []
    position = 0
    while True:
        match = _QUOTED.match(text, position)
        if match:
            segments.append(_ESCAPE.sub(r"\1", match.group(1)))
        else:
            match = _PLAIN.match(text, position)
            if not match:
                raise _malformed(text)
            segments.append(match.group())
        position = match.end()
        if position == len(text):
            return tuple(segments)
        if text[position] != ".":
            raise _malformed(text)
        position += 1


def render_field_path(path: Iterable[str]) -> str:
    """The text of a field path, quoted where it has to be."""
    return ".".join(
        segment
        if _PLAIN.fullmatch(segment)
        else "`" + segment.replace("\\", "\\\\").replace("`", "\\`") + "`"
        for segment in path
    )


def get_field(fields: Any, path: Path) -> Any | None:
    """The value at a path of a message's map of fields; None where there is none."""
    last = len(path) - 1
    for depth, segment in enumerate(path):
        if segment not in fields:  # reading an absent key of a protobuf map would create it
            return None
        value = fields[segment]
        if depth == last:
            return value
        if value.WhichOneof("value_type") != "map_value":
            return None
        fields = value.map_value.fields
    return None


def set_field(fields: Any, path: Path, value: Any) -> None:
    """Put a value at a path, making maps of what lies on the way."""
    for segment in path[:-1]:
        inner = fields[segment]
        if inner.WhichOneof("value_type") != "map_value":
            inner.map_value.SetInParent()
        fields = inner.map_value.fields
    fields[path[-1]].CopyFrom(value)


def delete_field(fields: Any, path: Path) -> None:
    """Remove what lies at a path, if anything does."""
    for segment in path[:-1]:
        if segment not in fields or fields[segment].WhichOneof("value_type") != "map_value":
            return
        fields = fields[segment].map_value.fields
    if path[-1] in fields:
        del fields[path[-1]]


def _malformed(text: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, f'Invalid property path "{text}".')
