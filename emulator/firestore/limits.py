"""Production's limits, as its documentation has them."""

from __future__ import annotations

from typing import Any

from grpc import StatusCode

from emulator.firestore.names import _RESERVED
from emulator.firestore.status import Status
from emulator.firestore.values import document_size

MAX_DOCUMENT_BYTES = 1_048_576
MAX_REQUEST_BYTES = 10 * 1024 * 1024
MAX_BATCH_WRITES = 500
MAX_FIELD_DEPTH = 20
MAX_FIELD_NAME_BYTES = 1_500
MAX_TRANSFORMS = 500

_MIN_SECONDS, _MAX_SECONDS = -62_135_596_800, 253_402_300_799
"""0001-01-01T00:00:00Z and 9999-12-31T23:59:59Z, the range of a Timestamp."""

_SURELY_SMALL = MAX_DOCUMENT_BYTES // 4
"""A document whose encoding has fewer bytes cannot be over the limit: the reckoning never triples it."""


def check_request(request: Any) -> None:
    """INVALID_ARGUMENT for a request that is too large."""
    if request.ByteSize() > MAX_REQUEST_BYTES:
        raise _invalid(
            f"Request payload size exceeds the limit: {MAX_REQUEST_BYTES} bytes ({request.ByteSize()} given)."
        )


def check_document(document: Any) -> None:
    """INVALID_ARGUMENT for a document that is too large or nested too deep, or has a bad field name or value.

    Cuts its timestamps to microseconds, as they are stored.
    """
    _check_fields(document.fields, 1)
    if document.ByteSize() < _SURELY_SMALL:
        return
    size = document_size(document)
    if size > MAX_DOCUMENT_BYTES:
        raise _invalid(
            f"Document '{document.name}' cannot be written because its size ({size:,} bytes) exceeds the "
            f"maximum allowed size of {MAX_DOCUMENT_BYTES:,} bytes."
        )


def _check_fields(fields: Any, depth: int) -> None:
    if depth > MAX_FIELD_DEPTH:
        raise _invalid(f"Property array contains values nested more than {MAX_FIELD_DEPTH} levels deep.")
    for name, value in fields.items():
        if not name:
            raise _invalid("Field names must not be empty.")
        if len(name) * 4 > MAX_FIELD_NAME_BYTES and len(name.encode()) > MAX_FIELD_NAME_BYTES:
            raise _invalid(f"The field name is longer than {MAX_FIELD_NAME_BYTES} bytes.")
        if name.startswith("__") and _RESERVED.fullmatch(name) and depth == 1:
            raise _invalid(f'Field name "{name}" is reserved.')
        _check_value(value, depth)


def _check_value(value: Any, depth: int) -> None:
    match value.WhichOneof("value_type"):
        case "map_value":
            _check_fields(value.map_value.fields, depth + 1)
        case "array_value":
            if depth + 1 > MAX_FIELD_DEPTH:
                raise _invalid(
                    f"Property array contains values nested more than {MAX_FIELD_DEPTH} levels deep."
                )
            for element in value.array_value.values:
                if element.WhichOneof("value_type") == "array_value":
                    raise _invalid("Cannot convert an array value in an array value.")
                _check_value(element, depth + 1)
        case "timestamp_value":
            moment = value.timestamp_value
            if not (_MIN_SECONDS <= moment.seconds <= _MAX_SECONDS and 0 <= moment.nanos < 1_000_000_000):
                raise _invalid("A timestamp must lie in the years 1 to 9999.")
            moment.nanos -= moment.nanos % 1_000
        case "geo_point_value":
            point = value.geo_point_value
            if not (-90 <= point.latitude <= 90 and -180 <= point.longitude <= 180):
                raise _invalid(
                    "A geo point must have a latitude of -90 to 90 degrees and a longitude of -180 to 180 degrees."
                )


def _invalid(message: str) -> Status:
    return Status(StatusCode.INVALID_ARGUMENT, message)
