"""Field paths: `a.b`, and `` `odd name`.b `` where a segment is no plain identifier."""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Any

from grpc import StatusCode

from emulator.firestore.names import RESERVED
from emulator.status import Status

Path = tuple[str, ...]

_MAX_SEGMENTS = 100  # no document is nested so deep, and no path of its own may build one that is
_USUAL_LENGTH = 256  # characters; what is longer is not remembered, lest giants fill the memory

DOCUMENT_ID = "__name__"

_PLAIN = re.compile(r"[a-zA-Z_][a-zA-Z0-9_]*")
_QUOTED = re.compile(r"`((?:[^`\\]|\\.)+)`", re.DOTALL)
_ESCAPE = re.compile(r"\\(.)", re.DOTALL)
_MAX_BYTES = 1_500


def parse_field_path(text: str) -> Path:
    """The segments of a field path.

    Raises:
        Status: INVALID_ARGUMENT where it is malformed or longer than 1,500 bytes, or has a reserved segment, such as
            `__type__`; the document's name, `__name__`, is a path by itself.
    """
    return _parse_again(text) if len(text) <= _USUAL_LENGTH else _parse(text)


def _parse(text: str) -> Path:
    if not text:
        raise _invalid("Invalid empty property path string.")
    if len(text.encode()) > _MAX_BYTES:
        raise _invalid(f"property path is longer than {_MAX_BYTES} bytes.")
    segments: list[str] = []
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
        if RESERVED.fullmatch(segments[-1]) and text != DOCUMENT_ID:
            raise _invalid(f"Invalid reserved name in field path {segments[-1]}")
        position = match.end()
        if position == len(text):
            return tuple(segments)
        if text[position] != "." or len(segments) >= _MAX_SEGMENTS:
            raise _malformed(text)
        position += 1


def parse_field(text: str) -> Path:
    """The segments of a path to what a document holds, which its name is not; INVALID_ARGUMENT for other paths."""
    path = parse_field_path(text)
    if path == (DOCUMENT_ID,):
        raise _invalid(f"Invalid reserved name in field path {DOCUMENT_ID}")
    return path


_parse_again = lru_cache(maxsize=4_096)(_parse)


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
    for segment in path[:-1]:
        value = fields.get(segment)  # an index would create the key that it does not find
        if value is None or value.WhichOneof("value_type") != "map_value":
            return None
        fields = value.map_value.fields
    return fields.get(path[-1])


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
    return _invalid(
        f'Invalid property path "{text}". Unquoted property paths must match regex ([a-zA-Z_][a-zA-Z_0-9]*), '
        "and quoted property paths must match regex (`(?:[^`\\\\]|(?:\\\\.))+`)"
    )


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
