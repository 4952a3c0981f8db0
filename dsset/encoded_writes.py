"""Writes that are put together from encoded parts, for those that a request has hundreds of.

Building a protobuf message field by field, copying it into a request and encoding that takes several times as long. The
bytes say what protobuf's own encoding says, though in another order, and zeros in so many words.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from typing import Any, NamedTuple

from dsset import protos

_FEW_PATHS = 32
_INT64 = 1 << 63
_DOUBLE = struct.Struct("<Bd")

TEXT, BYTES = b"\x8a\x01", b"\x92\x01"  # Value: string_value = 17, bytes_value = 18
"""What an encoded Value begins with that is text, or bytes; its length comes next, and then its content."""

ABSENT = b'"\x02\x08\x00'  # Write: current_document = 4; Precondition: exists = 1, which is False
"""What comes behind an update that makes a document, where there is none."""


@dataclass(slots=True)  # not frozen: that makes it three times as slowly, and there is one an emit
class EncodedWrite:
    """A write of one document on a condition.

    It is kept in parts, which are put together once, in the request: copying them takes longer than making them.
    """

    encoded_name: bytes
    size: int  # bytes of the `Write`
    parts: tuple[bytes, ...]

    @property
    def name(self) -> str:
        """The document's."""
        return self.encoded_name.decode()

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """The bytes of the `Write`."""
        return b"".join(self.parts)

    def message(self) -> Any:
        """The `Write`."""
        return protos.Write.FromString(b"".join(self.parts))


@dataclass(slots=True)
class EncodedWrites:
    """Many writes, each of one document on condition that this is still at its version.

    Their parts lie one behind the other as in a request, so that nothing is made of each but its parts.
    """

    encoded_names: list[bytes]
    versions: list[bytes]  # the update times, Timestamps, encoded
    parts: list[bytes]

    def __len__(self) -> int:
        return len(self.encoded_names)

    @property
    def conditions(self) -> list[tuple[str, Any]]:
        """The name of each document, and its version as a Timestamp."""
        versions = map(protos.Timestamp.FromString, self.versions)
        return list(zip((name.decode() for name in self.encoded_names), versions, strict=True))

    def messages(self) -> list[Any]:
        """Each as a `Write`."""
        return list(protos.CommitRequest.FromString(b"".join(self.parts)).writes)


class EncodedUpdate(NamedTuple):
    """A write of one document without any condition."""

    name: str
    data: bytes

    def SerializeToString(self) -> bytes:  # noqa: N802 - protobuf's name
        """The bytes of the `Write`."""
        return self.data

    def message(self) -> Any:
        """The `Write`."""
        return protos.Write.FromString(self.data)


def update(name: str, entries: bytes, paths: Iterable[str]) -> EncodedUpdate:
    """The write that merges these encoded fields into a document, of which it writes these paths."""
    encoded_name = name.encode()
    prefix = update_prefix(len(encoded_name), len(entries))
    return EncodedUpdate(name, b"%b%b%b%b" % (prefix, encoded_name, entries, _mask(tuple(paths))))


def on_condition(write: Any, name: str, version: bytes | None) -> EncodedWrite:
    """A write that has no condition yet, on condition that the document is still at this version."""
    data = write.SerializeToString()
    condition = ABSENT if version is None else version_prefix(len(version)) + version
    return EncodedWrite(name.encode(), len(data) + len(condition), (data, condition))


def field_entries(fields: dict[str, Any]) -> bytes:
    """The encoded entries of a document's map of fields: the same for the same fields."""
    entries: bytes = protos.Document(fields=fields).SerializeToString(deterministic=True)
    return entries


def plain_entry(field: str, value: object) -> bytes | None:
    """The encoded entry of one field that is a plain value; None where the value is none of the plain ones.

    Raises:
        ValueError: an integer that does not fit 64 bits, or text that UTF-8 cannot encode.
    """
    key = field.encode()
    kind = type(value)
    if kind is str:
        return text_entry(key, value)  # type: ignore[arg-type]
    if kind is int:
        return number_entry(key, value)  # type: ignore[arg-type]
    if kind is float:
        return _entry_prefix(key, b"", 9) + _DOUBLE.pack(0x19, value)  # Value: double_value = 3
    if kind is bool:
        return _entry_prefix(key, b"", 2) + b"\x08%c" % bool(value)  # Value: boolean_value = 1
    if kind is bytes:
        return bytes_entry(key, value)  # type: ignore[arg-type]
    if value is None:
        return _entry_prefix(key, b"", 2) + b"\x58\x00"  # Value: null_value = 11
    return None


def text_entry(field: bytes, text: str) -> bytes:
    """The encoded entry of one field that is a string."""
    content = text.encode()
    return text_prefix(field, len(content)) + content


def value_prefix(field: bytes, size: int) -> bytes:
    """What comes before an encoded Value of so many bytes."""
    return _entry_prefix(field, b"", size)


def bytes_entry(field: bytes, content: bytes) -> bytes:
    """The encoded entry of one field that is bytes."""
    return bytes_prefix(field, len(content)) + content


def text_prefix(field: bytes, size: int) -> bytes:
    """What comes before a string of so many bytes."""
    return _entry_prefix(field, TEXT, size)


def bytes_prefix(field: bytes, size: int) -> bytes:
    """What comes before so many bytes."""
    return _entry_prefix(field, BYTES, size)


def version_prefix(size: int) -> bytes:
    """What comes between an update and the version, of so many bytes, that it is on condition of."""
    return b'"%c\x12%c' % (size + 2, size)  # Write: current_document = 4; Precondition: update_time = 2


def number_entry(field: bytes, number: int) -> bytes:
    """The encoded entry of one field that is an integer."""
    if not -_INT64 <= number < _INT64:
        raise ValueError(f"an integer must fit 64 bits: {number}")
    value = b"\x10" + _signed(number)  # Value: integer_value = 2
    return value_prefix(field, len(value)) + value


def time_entry(field: bytes, seconds: int, nanos: int) -> bytes:
    """The encoded entry of one field that is a time, in seconds since the epoch."""
    # Timestamp: seconds = 1, nanos = 2; Value: timestamp_value = 10
    timestamp = b"\x08%b\x10%b" % (_signed(seconds), varint(nanos))
    return _entry_prefix(field, b"\x52", len(timestamp)) + timestamp


def how_many(writes: Iterable[Any]) -> int:
    """How many writes these are, of which several may be in one."""
    return sum(len(write) if type(write) is EncodedWrites else 1 for write in writes)


def write_request(database: str, writes: Iterable[Any], transaction: bytes = b"") -> bytes:
    """An encoded CommitRequest, which without a transaction is a BatchWriteRequest as well.

    In both: database = 1, writes = 2; in the former, transaction = 3.
    """
    parts = [_of_database(database)]
    if transaction:
        parts += (b"\x1a", varint(len(transaction)), transaction)
    for write in writes:
        if type(write) is EncodedWrites:
            parts += write.parts
        elif type(write) is EncodedWrite:
            parts.append(before_write(write.size))
            parts += write.parts
        else:
            data = write.SerializeToString()
            parts += (before_write(len(data)), data)
    return b"".join(parts)


@lru_cache(maxsize=1_024)
def before_write(size: int) -> bytes:
    """What comes before a write of so many bytes in a request."""
    return b"\x12" + varint(size)


@lru_cache(maxsize=16)
def _of_database(name: str) -> bytes:
    return b"\x0a%b%b" % (varint(len(name.encode())), name.encode())


def varint(number: int) -> bytes:
    """A length, as protobuf encodes it."""
    if number < 0x80:
        return b"%c" % number
    if number < 0x4000:
        return b"%c%c" % (number & 0x7F | 0x80, number >> 7)
    parts = bytearray()
    while number >= 0x80:
        parts.append(number & 0x7F | 0x80)
        number >>= 7
    parts.append(number)
    return bytes(parts)


def _signed(number: int) -> bytes:
    return varint(number if number >= 0 else number + 2 * _INT64)


@lru_cache(maxsize=4_096)
def update_prefix(name: int, entries: int) -> bytes:
    """What comes before the name and the entries of fields in an update, by how long they are."""
    before_name = b"\x0a" + varint(name)
    # Document: name = 1, fields = 2; Write: update = 1
    return b"\x0a%b%b" % (varint(len(before_name) + name + entries), before_name)


@lru_cache(maxsize=4_096)
def _entry_prefix(field: bytes, tag: bytes, size: int) -> bytes:
    """What comes before the content of a field, by how long that is; without a tag the content is a whole Value."""
    before_content = tag + varint(size) if tag else b""
    value = len(before_content) + size
    # a map's entry: key = 1, value = 2
    before_value = b"\x0a%b%b\x12%b" % (varint(len(field)), field, varint(value))
    return b"\x12%b%b%b" % (varint(len(before_value) + value), before_value, before_content)


def _mask(paths: tuple[str, ...]) -> bytes:
    """The mask of an update."""
    # what a type tells is the same each time; the keys of a dict need not be
    return _remembered_mask(paths) if len(paths) <= _FEW_PATHS else _encoded_mask(paths)


@lru_cache(maxsize=64)
def _remembered_mask(paths: tuple[str, ...]) -> bytes:
    return _encoded_mask(paths)


def _encoded_mask(paths: tuple[str, ...]) -> bytes:
    mask = protos.DocumentMask(field_paths=paths).SerializeToString()
    return b"\x1a%b%b" % (varint(len(mask)), mask)  # Write: update_mask = 3
