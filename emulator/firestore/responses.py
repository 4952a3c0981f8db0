"""Responses with documents in them, put together from encoded parts: nothing is decoded to be encoded again."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any


class Encoded:
    """A response that is encoded already; like a message, it gives its bytes by `SerializeToString`."""

    __slots__ = ("_data",)

    def __init__(self, data: bytes) -> None:
        self._data = data

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        return self._data


def found_by_query(document: bytes, read_time: bytes) -> Encoded:
    """A RunQueryResponse: document = 1, read_time = 3."""
    return Encoded(b"\x0a%b%b\x1a%c%b" % (_varint(len(document)), document, len(read_time), read_time))


def found_by_name(document: bytes, read_time: bytes) -> Encoded:
    """A BatchGetDocumentsResponse: found = 1, read_time = 4."""
    return Encoded(b'\x0a%b%b"%c%b' % (_varint(len(document)), document, len(read_time), read_time))


def joined(one: Any, other: Any) -> Encoded:
    """A response with the fields of two of its kind: the encodings of messages add up."""
    return Encoded(one.SerializeToString() + other.SerializeToString())


def document_list(documents: Iterable[bytes], next_page_token: str) -> Encoded:
    """A ListDocumentsResponse: documents = 1, next_page_token = 2."""
    parts = [b"\x0a%b%b" % (_varint(len(document)), document) for document in documents]
    if next_page_token:
        token = next_page_token.encode()
        parts.append(b"\x12%b%b" % (_varint(len(token)), token))
    return Encoded(b"".join(parts))


def _varint(number: int) -> bytes:
    if number < 0x80:
        return bytes((number,))
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)
