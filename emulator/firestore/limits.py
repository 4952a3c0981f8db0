"""Production's limits, as its documentation has them."""

from __future__ import annotations

import math
from typing import Any

from grpc import StatusCode

from emulator.firestore import protos
from emulator.firestore.names import RESERVED
from emulator.firestore.values import document_size
from emulator.status import Status

MAX_DOCUMENT_BYTES = 1_048_576
MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_BATCH_WRITES = 500
MAX_FIELD_DEPTH = 20
MAX_FIELD_NAME_BYTES = 1_500
MAX_TRANSFORMS = 500
MAX_DIMENSIONS = 2_048

_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799
"""0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the range of a Timestamp."""

# a message looks for a name among its fields first, which takes as long as all else that this does
_kind_of = protos.Value.WhichOneof

_ALWAYS_FINE = frozenset(
    {
        "null_value",
        "boolean_value",
        "integer_value",
        "double_value",
        "string_value",
        "bytes_value",
        "reference_value",
    }
)
"""The kinds of values that nothing can be wrong with but their size."""

_SHORT_FIELD_NAME = MAX_FIELD_NAME_BYTES // 4  # characters, which have four bytes at most
_PLAIN = "a"  # the empty name comes before it, and so do those that begin with "_" and may be reserved

_SURELY_SMALL_REQUEST = MAX_REQUEST_BYTES // 4
"""A request that came in fewer bytes cannot be over the limit: to say what was left out never triples them."""

_SURELY_SMALL = MAX_DOCUMENT_BYTES // 4
"""A document whose encoding has fewer bytes cannot be over the limit: the reckoning never triples it."""


def check_request(request: Any, received: int | None = None) -> None:
    """INVALID_ARGUMENT for a request that is too large; it came in so many bytes (None: that is not known)."""
    if received is not None and received < _SURELY_SMALL_REQUEST:
        return
    if request.ByteSize() > MAX_REQUEST_BYTES:
        raise _invalid(
            f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes ({request.ByteSize()} given)."
        )


def check_fields(fields: Any, depth: int = 1) -> None:
    """INVALID_ARGUMENT for fields of a document that are nested too deep, or of which one has a bad name or value.

    Cuts their timestamps to microseconds, as they are stored.
    """
    if depth > MAX_FIELD_DEPTH:
        raise _invalid(f"Property array contains values nested more than {MAX_FIELD_DEPTH} levels deep.")
    for name in fields:  # protobuf's `items` take twice as long
        if name < _PLAIN or len(name) > _SHORT_FIELD_NAME:
            _check_field_name(name)
        value = fields[name]
        kind = _kind_of(value, "value_type")
        if kind in _ALWAYS_FINE:
            continue
        if kind == "timestamp_value":
            _check_stored_time(value.timestamp_value)
        else:
            _check_value(value, kind, depth)


def check_size(document: Any, encoded_bytes: int) -> None:
    """INVALID_ARGUMENT for a document that is too large; its encoding has so many bytes."""
    if encoded_bytes < _SURELY_SMALL:
        return
    size = document_size(document)
    if size > MAX_DOCUMENT_BYTES:
        raise _invalid(
            f"Document '{document.name}' cannot be written because its size ({size:,} bytes) exceeds the "
            f"maximum allowed size of {MAX_DOCUMENT_BYTES:,} bytes."
        )


def check_vector(fields: Any) -> None:
    """INVALID_ARGUMENT unless a map that calls itself a vector is one: 1 to 2,048 doubles, and nothing else."""
    kind = fields["__type__"]
    if kind.WhichOneof("value_type") != "string_value":
        raise _invalid("Field __type__ must be a string.")
    if kind.string_value != "__vector__":
        raise _invalid(f'"{kind.string_value}" is not a type of values: a map may be a "__vector__".')
    if "value" not in fields:
        raise _invalid("Vector map is missing key 'value'.")
    if fields["value"].WhichOneof("value_type") != "array_value":
        raise _invalid("Vector value type must be an array.")
    if len(fields) > 2:
        raise _invalid("Vector value map has extraneous entries.")
    elements = fields["value"].array_value.values
    if not elements:
        raise _invalid("Cannot have a zero length vector.")
    if len(elements) > MAX_DIMENSIONS:
        raise _invalid(f"Vectors must be at most {MAX_DIMENSIONS} dimensions.")
    for element in elements:
        if element.WhichOneof("value_type") != "double_value":
            raise _invalid("Vector must only contain values of type 'double'")
        if math.isnan(element.double_value):
            raise _invalid("Vector cannot contain NaN values.")


def check_operand(value: Any) -> None:
    """INVALID_ARGUMENT for a value that holds a time or a place that there is not."""
    match value.WhichOneof("value_type"):
        case "timestamp_value":
            _check_timestamp(value.timestamp_value)
        case "geo_point_value":
            point = value.geo_point_value
            if not -90 <= point.latitude <= 90:
                raise _invalid(
                    f"Geo point latitude '{point.latitude}' outside permitted range -90.0 to 90.0."
                )
            if not -180 <= point.longitude <= 180:
                raise _invalid(
                    f"Geo point longitude '{point.longitude}' outside permitted range -180.0 to 180.0."
                )
        case "array_value":
            for element in value.array_value.values:
                check_operand(element)
        case "map_value":
            for inner in value.map_value.fields.values():
                check_operand(inner)


def _check_field_name(name: str) -> None:
    if not name:
        raise _invalid("Field names must not be empty.")
    if len(name.encode()) > MAX_FIELD_NAME_BYTES:
        raise _invalid(f"The property.name is longer than {MAX_FIELD_NAME_BYTES} bytes.")
    if name.startswith("__") and RESERVED.fullmatch(name):
        raise _invalid(f"field name {name} is reserved")


def _check_timestamp(moment: Any) -> None:
    if not (_MIN_SECONDS <= moment.seconds <= _MAX_SECONDS and 0 <= moment.nanos < 1_000_000_000):
        raise _invalid("A timestamp must lie in the years 1 to 9999.")


def _check_stored_time(moment: Any) -> None:
    _check_timestamp(moment)
    finer = moment.nanos % 1_000
    if finer:
        moment.nanos -= finer


def _check_value(value: Any, kind: str | None, depth: int) -> None:
    match kind:
        case "map_value":
            if "__type__" in value.map_value.fields:
                check_vector(value.map_value.fields)
            else:
                check_fields(value.map_value.fields, depth + 1)
        case "array_value":
            if depth + 1 > MAX_FIELD_DEPTH:
                raise _invalid(
                    f"Property array contains values nested more than {MAX_FIELD_DEPTH} levels deep."
                )
            for element in value.array_value.values:
                inner = element.WhichOneof("value_type")
                if inner == "array_value":
                    raise _invalid("Cannot convert an array value in an array value.")
                if inner not in _ALWAYS_FINE:
                    _check_value(element, inner, depth + 1)
        case "timestamp_value":
            _check_stored_time(value.timestamp_value)
        case "geo_point_value":
            check_operand(value)
        case None:
            raise _invalid("Cannot convert firestore.v1.Value with type unset.")


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
