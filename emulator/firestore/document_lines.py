"""Documents as lines of text: newline-delimited JSON, one document a line, as Firestore's REST API represents them.

    {"name": "projects/p/databases/(default)/documents/cities/bern", "fields": {"people": {"integerValue": "146000"}},
     "createTime": "2025-01-01T00:00:00Z", "updateTime": "2025-01-01T00:00:00.000001Z"}     (in one line)

An export comes sorted by name, with the fields sorted too, so that two of them can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

from emulator.firestore import limits, names, protos
from emulator.firestore.rest_values import (
    fields_from_json,
    fields_to_json,
    timestamp_from_json,
    timestamp_to_json,
)
from emulator.firestore.versions import Version, microseconds, new_version
from emulator.status import Status

_MAX_LINE = 64 * 1024 * 1024
"""Characters. The largest document takes some 25 million, as an array of booleans."""

_encode = json.JSONEncoder(ensure_ascii=False).encode


class InvalidLine(ValueError):
    """A line that is no document.

    Attributes:
        line: its number; the first is 1.
        reason: what is wrong with it.
    """

    def __init__(self, line: int, reason: str) -> None:
        super().__init__(line, reason)
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"line {self.line}: {self.reason}"


def document_line(data: bytes) -> str:
    """The line for an encoded document, with its line feed."""
    document = protos.Document.FromString(data)
    content = {
        "name": document.name,
        "fields": fields_to_json(document.fields),
        "createTime": timestamp_to_json(document.create_time),
        "updateTime": timestamp_to_json(document.update_time),
    }
    return _encode(content) + "\n"


def read_documents(source: IO[str] | IO[bytes], time_us: int) -> Iterator[Version]:
    """The documents in a file's lines, one after the other; empty lines are passed over.

    A document keeps the times that stand there. One without an `updateTime` gets `time_us`, and so does one from
    the future, as nothing can have been updated later than now. Without a `createTime` it was created then as well.

    Raises:
        InvalidLine: a line is not JSON, no document, or one that could not be written.
    """
    for number, line in enumerate(_lines(source), 1):
        if isinstance(line, bytes):
            try:
                line = line.decode("utf-8-sig" if number == 1 else "utf-8")
            except UnicodeDecodeError as error:
                raise InvalidLine(number, f"it is not UTF-8: {error}") from error
        if len(line) >= _MAX_LINE:
            raise InvalidLine(number, f"it has {_MAX_LINE:,} characters or more")
        if not line.isspace():
            yield _version(line, number, time_us)


def _lines(source: IO[str] | IO[bytes]) -> Iterable[str | bytes]:
    while line := source.readline(_MAX_LINE):
        yield line


def _version(line: str, number: int, time_us: int) -> Version:
    try:
        document = _document(line)
        names.check_document(document.name, names.database_of(document.name))
        created_us, updated_us = _times(document, time_us)
        document.ClearField("create_time")
        document.ClearField("update_time")
        limits.check_fields(document.fields)
        body = document.SerializeToString(deterministic=True)
        limits.check_size(document, len(body))
    except Status as error:
        raise InvalidLine(number, error.message) from error
    except json.JSONDecodeError as error:
        raise InvalidLine(number, f"it is no JSON: {error.msg} at character {error.pos + 1}") from error
    except ValueError as error:
        raise InvalidLine(number, str(error)) from error
    except RecursionError as error:
        raise InvalidLine(number, "it is nested too deep") from error
    return new_version(document.name, body, created_us, updated_us)


def _document(line: str) -> Any:
    """The document that a line is; a ValueError or a RecursionError where it is none."""
    content = json.loads(line, object_pairs_hook=_object, parse_constant=_refuse)
    if not isinstance(content, dict):
        raise ValueError("a document must be an object")
    document = protos.Document()
    for key, inner in content.items():
        match key:
            case "name":
                if not isinstance(inner, str):
                    raise ValueError("name must be a string")
                document.name = inner
            case "fields":
                fields_from_json(inner, document.fields)
            case "createTime":
                document.create_time.SetInParent()
                timestamp_from_json(inner, document.create_time, key)
            case "updateTime":
                document.update_time.SetInParent()
                timestamp_from_json(inner, document.update_time, key)
            case _:
                raise ValueError(f"a document has name, fields, createTime and updateTime, and no {key!r}")
    if not document.name:
        raise ValueError("it has no name")
    return document


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    content = dict(pairs)
    if len(content) < len(pairs):
        keys = [key for key, _ in pairs]
        raise ValueError(f"an object has {max(keys, key=keys.count)!r} twice")
    return content


def _refuse(constant: str) -> Any:
    raise ValueError(f'{constant} is no JSON; write "{constant}"')


def _times(document: Any, time_us: int) -> tuple[int, int]:
    """When the document was created, and updated."""
    updated_us = microseconds(document.update_time) if document.HasField("update_time") else time_us
    created_us = microseconds(document.create_time) if document.HasField("create_time") else updated_us
    if min(created_us, updated_us) <= 0:
        raise ValueError("its times must be after 1970-01-01T00:00:00Z")
    if created_us > updated_us and document.HasField("update_time"):
        raise ValueError("its createTime is after its updateTime")
    return min(created_us, time_us), min(updated_us, time_us)
