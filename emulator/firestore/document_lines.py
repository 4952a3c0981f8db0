"""Documents as lines of text: newline-delimited JSON, one document a line, as Firestore's REST API represents them.

    {"name": "projects/p/databases/(default)/documents/cities/bern", "fields": {"people": {"integerValue": "146000"}},
     "createTime": "2025-01-01T00:00:00Z", "updateTime": "2025-01-01T00:00:00.000001Z"}     (in one line)

An export comes sorted by name, with the fields sorted too, so that two of them can be compared.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from typing import IO, Any

from google.protobuf import json_format

from emulator.firestore import limits, names, protos
from emulator.firestore.status import Status
from emulator.firestore.versions import Version, microseconds, new_version

_MAX_LINE = 64 * 1024 * 1024
"""Characters. The largest document takes some 25 million, as an array of booleans."""


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
    content = json_format.MessageToDict(protos.Document.FromString(data))
    parts = {"name": content["name"], "fields": _sorted(content.get("fields", {}))}
    for time in ("createTime", "updateTime"):
        parts[time] = content[time]
    return json.dumps(parts, ensure_ascii=False) + "\n"


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
    document = protos.Document()
    try:
        json_format.Parse(line, document)
        names.check_document(document.name, names.database_of(document.name))
        created_us, updated_us = _times(document, time_us)
        document.ClearField("create_time")
        document.ClearField("update_time")
        limits.check_document(document)
        body = document.SerializeToString(deterministic=True)
    except Status as error:
        raise InvalidLine(number, error.message) from error
    except (json_format.ParseError, ValueError) as error:
        raise InvalidLine(number, str(error)) from error
    except RecursionError as error:
        raise InvalidLine(number, "it is nested too deep") from error
    return new_version(document.name, body, created_us, updated_us)


def _times(document: Any, time_us: int) -> tuple[int, int]:
    """When the document was created, and updated."""
    updated_us = microseconds(document.update_time) if document.HasField("update_time") else time_us
    created_us = microseconds(document.create_time) if document.HasField("create_time") else updated_us
    if min(created_us, updated_us) <= 0:
        raise ValueError("its times must be after 1970-01-01T00:00:00Z")
    if created_us > updated_us and document.HasField("update_time"):
        raise ValueError("its createTime is after its updateTime")
    return min(created_us, time_us), min(updated_us, time_us)


def _sorted(content: Any) -> Any:
    """JSON's maps with their keys in order; protobuf's come in none."""
    if isinstance(content, dict):
        return {key: _sorted(content[key]) for key in sorted(content)}
    return [_sorted(one) for one in content] if isinstance(content, list) else content
