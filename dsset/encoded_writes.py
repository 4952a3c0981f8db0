"""Writes that are put together from encoded parts, for those that a batch has a thousand of.

Building a protobuf message field by field, copying it into a request and encoding that takes several times as long. The
bytes are those of protobuf's own encoding of the same message, but for the order of a map's entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from dsset import protos


@dataclass(frozen=True, slots=True)
class EncodedWrite:
    """A write of one document on condition that this still has its update time."""

    name: str
    update_time: Any
    data: bytes

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """The bytes of the `Write`."""
        return self.data

    def message(self) -> Any:
        """The `Write`."""
        return protos.Write.FromString(self.data)


def replacement(name: str, entries: bytes, update_time: Any) -> EncodedWrite:
    """The write that replaces a document by one with these encoded fields."""
    encoded_name, version = name.encode(), update_time.SerializeToString()
    # Document: name = 1, fields = 2; Precondition: update_time = 2; Write: update = 1, current_document = 4
    document = b"\x0a%b%b%b" % (varint(len(encoded_name)), encoded_name, entries)
    data = b'\x0a%b%b"%c\x12%c%b' % (varint(len(document)), document, len(version) + 2, len(version), version)
    return EncodedWrite(name, update_time, data)


def field_entries(fields: dict[str, Any]) -> bytes:
    """The encoded entries of a document's map of fields."""
    entries: bytes = protos.Document(fields=fields).SerializeToString()
    return entries


def text_entry(field: bytes, text: str) -> bytes:
    """The encoded entry of one field that is a string."""
    return _entry(field, b"\x8a\x01", text.encode())  # Value: string_value = 17


def bytes_entry(field: bytes, content: bytes) -> bytes:
    """The encoded entry of one field that is bytes."""
    return _entry(field, b"\x92\x01", content)  # Value: bytes_value = 18


def commit_request(database: str, writes: Iterable[Any], transaction: bytes) -> bytes:
    """An encoded CommitRequest: database = 1, writes = 2, transaction = 3."""
    parts = [protos.CommitRequest(database=database, transaction=transaction).SerializeToString()]
    for write in writes:
        data = write.SerializeToString()
        parts += (b"\x12", varint(len(data)), data)
    return b"".join(parts)


def varint(number: int) -> bytes:
    """A length, as protobuf encodes it."""
    if number < 0x80:
        return bytes((number,))
    if number < 0x4000:
        return bytes((number & 0x7F | 0x80, number >> 7))
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _entry(field: bytes, tag: bytes, content: bytes) -> bytes:
    value = b"%b%b%b" % (tag, varint(len(content)), content)
    # a map's entry: key = 1, value = 2
    entry = b"\x0a%c%b\x12%b%b" % (len(field), field, varint(len(value)), value)
    return b"\x12%b%b" % (varint(len(entry)), entry)
