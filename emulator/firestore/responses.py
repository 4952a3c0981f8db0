"""Responses put together from encoded parts: nothing is decoded to be encoded again."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from emulator.firestore import protos
from emulator.firestore.encoding import encoded_time, framed, varint
from emulator.status import Status


class Encoded:
    """A response that is encoded already; like a message, it gives its bytes by `SerializeToString`."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        return self._data


def found_by_query(document: bytes, read_time: bytes) -> Encoded:
    """A RunQueryResponse: document = 1, read_time = 3."""
    return Encoded(b"\x0a%b%b\x1a%c%b" % (varint(len(document)), document, len(read_time), read_time))


def found_by_name(document: bytes, read_time: bytes) -> Encoded:
    """A BatchGetDocumentsResponse: found = 1, read_time = 4."""
    return Encoded(b'\x0a%b%b"%c%b' % (varint(len(document)), document, len(read_time), read_time))


def joined(one: Any, other: Any) -> Encoded:
    """A response with the fields of two of its kind: the encodings of messages add up."""
    return Encoded(one.SerializeToString() + other.SerializeToString())


def document_list(documents: Iterable[bytes], next_page_token: str) -> Encoded:
    """A ListDocumentsResponse: documents = 1, next_page_token = 2."""
    token = (framed(b"\x12", next_page_token.encode()),) if next_page_token else ()
    return Encoded(b"".join((*(framed(b"\x0a", document) for document in documents), *token)))


def write_result(update_us: int | None, transform_results: Sequence[Any] = ()) -> bytes:
    """An encoded WriteResult: update_time = 1, transform_results = 2; of a deletion it has no update time."""
    encoded = b"" if update_us is None else framed(b"\x0a", encoded_time(update_us))
    for result in transform_results:
        encoded += framed(b"\x12", result.SerializeToString())
    return encoded


def committed(results: Sequence[bytes], time_us: int) -> Encoded:
    """A CommitResponse: write_results = 1, commit_time = 2."""
    return Encoded(_write_results(results) + framed(b"\x12", encoded_time(time_us)))


def batch_written(outcomes: Sequence[bytes | Status]) -> Encoded:
    """A BatchWriteResponse: write_results = 1, status = 2. A write that failed has an empty result."""
    results = [outcome if isinstance(outcome, bytes) else b"" for outcome in outcomes]
    statuses = [b"\x12\x00" if isinstance(outcome, bytes) else _status(outcome) for outcome in outcomes]
    return Encoded(_write_results(results) + b"".join(statuses))


def _write_results(results: Sequence[bytes]) -> bytes:
    if results and results.count(results[0]) == len(results):  # as nearly always
        return framed(b"\x0a", results[0]) * len(results)
    return b"".join([framed(b"\x0a", result) for result in results])


def _status(status: Status) -> bytes:
    message = protos.RpcStatus(code=status.code.value[0], message=status.message)
    return framed(b"\x12", message.SerializeToString())
