"""Firestore's order of values, as bytes that compare like them.

    null < booleans < NaN < numbers < timestamps < strings < bytes < references < geo points < arrays < vectors < maps

A key ends by itself (no key is a prefix of another), so keys can be put one behind the other and compare component
by component. Every key begins with the tag of its type, between 0x05 and 0x40, which leaves room below and above.
"""

from __future__ import annotations

import math
import re
import struct
from functools import lru_cache
from typing import Any

from emulator.firestore import protos

NULL, BOOLEAN, NAN, NUMBER, TIMESTAMP, STRING, BYTES, REFERENCE, GEO_POINT, ARRAY, VECTOR, MAP = (
    bytes([tag]) for tag in range(0x05, 0x05 + 12 * 4, 4)
)

_NUMERIC_ID = re.compile(r"__id(-?[0-9]{1,19})__")  # what has more digits is no 64-bit number, but text
_END = b"\x00"
_KEY = b"\x01"
_COMPLEMENT = bytes(255 - byte for byte in range(256))
_SIGN = 1 << 63
_ALL = (1 << 64) - 1

# a message looks for a name among its fields first, which takes as long as all else that this does
_kind_of = protos.Value.WhichOneof


def sort_key(value: Any) -> bytes:
    """The bytes that compare as the value does."""
    match _kind_of(value, "value_type"):
        case "string_value":
            return STRING + _text(value.string_value.encode())
        case "integer_value":
            return _integer(value.integer_value)
        case "double_value":
            return _double(value.double_value)
        case "boolean_value":
            return BOOLEAN + (b"\x01" if value.boolean_value else b"\x00")
        case "timestamp_value":
            moment = value.timestamp_value
            # what is finer than a microsecond is not stored, so it is not compared either
            return TIMESTAMP + struct.pack(
                ">QI", moment.seconds + _SIGN, (moment.nanos & 0xFFFF_FFFF) // 1_000
            )
        case "bytes_value":
            return BYTES + _text(value.bytes_value)
        case "reference_value":
            return name_key(value.reference_value)
        case "geo_point_value":
            point = value.geo_point_value
            return GEO_POINT + _ordered(point.latitude) + _ordered(point.longitude)
        case "array_value":
            return ARRAY + b"".join(map(sort_key, value.array_value.values)) + _END
        case "map_value":
            return _map(value.map_value.fields)
        case _:
            return NULL


def name_key(name: str) -> bytes:
    """The key of a document's name: names compare by their segments."""
    parent, slash, last = name.rpartition("/")
    if not slash or last.startswith("__id") or "\x00" in last:
        return (_path_key(parent) if slash else REFERENCE) + _segment(last) + _END
    return b"%b\x02%b\x00\x01%b" % (_path_key(parent), last.encode(), _END)  # the same, for nearly every name


@lru_cache(maxsize=4_096)
def _path_key(path: str) -> bytes:
    """What the keys of all names below a path begin with; many documents have the same."""
    return REFERENCE + b"".join(map(_segment, path.split("/")))


def invert(key: bytes) -> bytes:
    """The key for a descending order."""
    return key.translate(_COMPLEMENT)


def successor(prefix: bytes) -> bytes:
    """The least bytes that are greater than everything that begins with a prefix."""
    stripped = prefix.rstrip(b"\xff")
    # nothing begins with 0xff, inverted or not: tags leave that room
    return stripped[:-1] + bytes([stripped[-1] + 1]) if stripped else b"\xff"


def values_equal(left: Any, right: Any) -> bool:
    """Whether two values are the same to a query: 1 and 1.0 are, and NaN is itself."""
    return sort_key(left) == sort_key(right)


def is_number(value: Any) -> bool:
    return value.WhichOneof("value_type") in ("integer_value", "double_value")


def value_size(value: Any) -> int:
    """Bytes that a value takes up, as Firestore's documentation reckons them."""
    match value.WhichOneof("value_type"):
        case "string_value":
            return len(value.string_value.encode()) + 1
        case "bytes_value":
            return len(value.bytes_value)
        case "integer_value" | "double_value" | "timestamp_value":
            return 8
        case "geo_point_value":
            return 16
        case "reference_value":
            return name_size(value.reference_value)
        case "array_value":
            return sum(map(value_size, value.array_value.values))
        case "map_value":
            fields = value.map_value.fields
            return 8 * len(fields["value"].array_value.values) if _is_vector(fields) else fields_size(fields)
        case _:
            return 1


def fields_size(fields: Any) -> int:
    return sum(len(key.encode()) + 1 + value_size(value) for key, value in fields.items())


def name_size(name: str) -> int:
    """Bytes of a document's name: its IDs below the database, and 16 more."""
    return 16 + sum(len(segment.encode()) + 1 for segment in name.split("/")[5:])


def document_size(document: Any) -> int:
    """Bytes that a document takes up."""
    return name_size(document.name) + fields_size(document.fields) + 32


@lru_cache(maxsize=1_024)  # many documents have the same few
def _integer(number: int) -> bytes:
    # the greatest double that is not above it, and what is missing: doubles near 2^63 lie 1,024 apart
    below = float(number)
    if int(below) > number:
        below = math.nextafter(below, -math.inf)
    return NUMBER + _ordered(below) + struct.pack(">H", number - int(below))


def _double(number: float) -> bytes:
    if math.isnan(number):
        return NAN
    return NUMBER + _ordered(number) + b"\x00\x00"


def _ordered(number: float) -> bytes:
    (bits,) = struct.unpack(">Q", struct.pack(">d", number + 0.0))  # -0.0 becomes 0.0
    return struct.pack(">Q", bits ^ _ALL if bits & _SIGN else bits ^ _SIGN)


def _segment(segment: str) -> bytes:
    numeric = _NUMERIC_ID.fullmatch(segment) if segment.startswith("__id") else None
    if numeric:  # comes before all others; google's clients begin a recursive query at the least of them
        return b"\x01" + struct.pack(">Q", min(max(int(numeric[1]) + _SIGN, 0), _ALL))
    return b"\x02" + _text(segment.encode())


def _text(text: bytes) -> bytes:
    if b"\x00" in text:
        text = text.replace(b"\x00", b"\x00\xff")
    return text + b"\x00\x01"


def _map(fields: Any) -> bytes:
    if _is_vector(fields):
        elements = fields["value"].array_value.values
        return VECTOR + struct.pack(">I", len(elements)) + b"".join(map(sort_key, elements)) + _END
    parts = [_KEY + _text(key.encode()) + sort_key(fields[key]) for key in sorted(fields)]
    return MAP + b"".join(parts) + _END


def vector_of(value: Any) -> list[float] | None:
    """The components of a vector; None where the value is none."""
    fields = value.map_value.fields
    if value.WhichOneof("value_type") != "map_value" or not _is_vector(fields):
        return None
    return [element.double_value for element in fields["value"].array_value.values]


def _is_vector(fields: Any) -> bool:
    # asked for before it is looked at: looking at an absent key of a protobuf map would create it
    return "value" in fields and "__type__" in fields and fields["__type__"].string_value == "__vector__"
