"""Writes that are put together from encoded parts, for those that a request has hundreds of.

Building a protobuf message field by field, copying it into a request and encoding that takes several times as long. The
bytes are those of protobuf's own encoding of the same message, but for the order of a map's entries.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, NamedTuple

from dsset import protos

_ABSENT = b'"\x02\x08\x00'  # Write: current_document = 4; Precondition: exists = 1, which is False

_SHORT = 0x80
"""Lengths below it are encoded in one byte."""


class EncodedWrite(NamedTuple):
    """A write of one document on condition that this still has its update time (None: that there is none)."""

    name: str
    update_time: Any | None
    data: bytes

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """The bytes of the `Write`."""
        return self.data

    def message(self) -> Any:
        """The `Write`."""
        return protos.Write.FromString(self.data)


def replacement(name: str, entries: bytes, update_time: Any) -> EncodedWrite:
    """The write that replaces a document by one with these encoded fields."""
    version = update_time.SerializeToString()
    # Precondition: update_time = 2; Write: current_document = 4
    data = b'%b"%c\x12%c%b' % (_update(name, entries), len(version) + 2, len(version), version)
    return EncodedWrite(name, update_time, data)


def creation(name: str, entries: bytes) -> EncodedWrite:
    """The write that makes a document with these encoded fields, where there is none."""
    return EncodedWrite(name, None, _update(name, entries) + _ABSENT)


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


def number_entry(field: bytes, number: int) -> bytes:
    """The encoded entry of one field that is an integer, and not negative."""
    value = b"\x10" + varint(number)  # Value: integer_value = 2
    return b"\x12%c\x0a%c%b\x12%c%b" % (len(field) + len(value) + 4, len(field), field, len(value), value)


def write_request(database: str, writes: Iterable[Any], transaction: bytes = b"") -> bytes:
    """An encoded CommitRequest, which without a transaction is a BatchWriteRequest as well.

    In both: database = 1, writes = 2; in the former, transaction = 3.
    """
    parts = [protos.CommitRequest(database=database, transaction=transaction).SerializeToString()]
    for write in writes:
        data = write.data if type(write) is EncodedWrite else write.SerializeToString()
        parts += (b"\x12", varint(len(data)), data)
    return b"".join(parts)


def varint(number: int) -> bytes:
    """A length, as protobuf encodes it."""
    if number < _SHORT:
        return b"%c" % number
    if number < 0x4000:
        return b"%c%c" % (number & 0x7F | 0x80, number >> 7)
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _update(name: str, entries: bytes) -> bytes:
    encoded_name = name.encode()
    # Document: name = 1, fields = 2; Write: update = 1
    document = b"\x0a%b%b%b" % (varint(len(encoded_name)), encoded_name, entries)
    return b"\x0a%b%b" % (varint(len(document)), document)


def _entry(field: bytes, tag: bytes, content: bytes) -> bytes:
    # a map's entry: key = 1, value = 2
    size = len(content)
    around = len(field) + len(tag) + 5
    if around + size < _SHORT:
        value_size = len(tag) + 1 + size
        return b"\x12%c\x0a%c%b\x12%c%b%c%b" % (
            around + size,
            len(field),
            field,
            value_size,
            tag,
            size,
            content,
        )
    value = b"%b%b%b" % (tag, varint(size), content)
    entry = b"\x0a%c%b\x12%b%b" % (len(field), field, varint(len(value)), value)
    return b"\x12%b%b" % (varint(len(entry)), entry)
