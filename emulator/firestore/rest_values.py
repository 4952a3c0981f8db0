"""Values as Firestore's REST API represents them in JSON: `{"integerValue": "5"}`.

Written by hand rather than by protobuf's `json_format`, which takes twice as long, gives maps in no order, and
passes over malformed base64 and the like. The representation is the same.
"""

from __future__ import annotations

import base64
import math
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from google.protobuf import json_format

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_WORDS = {"NaN": math.nan, "Infinity": math.inf, "-Infinity": -math.inf}


class InvalidValue(ValueError):
    """JSON that is no value of Firestore's.

    Attributes:
        path: the fields and array indexes that lead to it.
        reason: what is wrong with it.
    """

    def __init__(self, reason: str) -> None:
        super().__init__(reason)
        self.reason = reason
        self.path: list[str | int] = []

    def __str__(self) -> str:
        path = "".join(f"[{step}]" if isinstance(step, int) else f".{step}" for step in self.path)
        return f"{path.lstrip('.')}: {self.reason}" if path else self.reason


def fields_to_json(fields: Mapping[str, Any]) -> dict[str, Any]:
    """The JSON of a map of fields, sorted by their names."""
    return {name: value_to_json(fields[name]) for name in sorted(fields)}


def value_to_json(value: Any) -> dict[str, Any]:
    """The JSON of a value."""
    kind = value.WhichOneof("value_type")
    match kind:
        case "string_value":
            return {"stringValue": value.string_value}
        case "integer_value":
            return {"integerValue": str(value.integer_value)}
        case "boolean_value":
            return {"booleanValue": value.boolean_value}
        case "null_value":
            return {"nullValue": None}
        case "double_value":
            return {"doubleValue": _double_to_json(value.double_value)}
        case "timestamp_value":
            return {"timestampValue": timestamp_to_json(value.timestamp_value)}
        case "map_value":
            fields = value.map_value.fields
            return {"mapValue": {"fields": fields_to_json(fields)} if fields else {}}
        case "array_value":
            values = value.array_value.values
            return {"arrayValue": {"values": [value_to_json(one) for one in values]} if values else {}}
        case "bytes_value":
            return {"bytesValue": base64.b64encode(value.bytes_value).decode()}
        case "reference_value":
            return {"referenceValue": value.reference_value}
        case "geo_point_value":
            point = value.geo_point_value
            return {"geoPointValue": {"latitude": point.latitude, "longitude": point.longitude}}
        case _:  # pipelines' expressions; or nothing at all
            content: dict[str, Any] = json_format.MessageToDict(value)
            return content


def fields_from_json(content: Any, fields: Any) -> None:
    """Fill a message's map of fields; an `InvalidValue` where the JSON is none."""
    for name, one in _expect(dict, content, "fields").items():
        try:
            value_from_json(one, fields[name])
        except InvalidValue as error:
            error.path.insert(0, name)
            raise


def value_from_json(content: Any, value: Any) -> None:
    """Fill a `Value`; an `InvalidValue` where the JSON is none."""
    if not isinstance(content, dict):
        raise InvalidValue('a value must be an object such as {"integerValue": "5"}')
    if len(content) > 1:
        raise InvalidValue(f"a value must be of one kind, not {' and '.join(sorted(content))}")
    for kind, inner in content.items():
        match kind:
            case "stringValue":
                value.string_value = _text(inner, kind)
            case "integerValue":
                value.integer_value = _integer(inner)
            case "booleanValue":
                value.boolean_value = _expect(bool, inner, kind)
            case "nullValue":
                if inner not in (None, "NULL_VALUE"):
                    raise InvalidValue("nullValue must be null")
                value.null_value = 0
            case "doubleValue":
                value.double_value = _double(inner, kind)
            case "timestampValue":
                value.timestamp_value.SetInParent()
                timestamp_from_json(inner, value.timestamp_value, kind)
            case "mapValue":
                value.map_value.SetInParent()
                fields_from_json(_only("fields", inner, kind, {}), value.map_value.fields)
            case "arrayValue":
                value.array_value.SetInParent()
                _array(_only("values", inner, kind, []), value.array_value.values)
            case "bytesValue":
                value.bytes_value = _bytes(inner)
            case "referenceValue":
                value.reference_value = _text(inner, kind)
            case "geoPointValue":
                value.geo_point_value.SetInParent()
                for name, one in _expect(dict, inner, kind).items():
                    if name not in ("latitude", "longitude"):
                        raise InvalidValue(f"geoPointValue has a latitude and a longitude, and no {name!r}")
                    setattr(value.geo_point_value, name, _double(one, name))
            case _:
                try:
                    json_format.ParseDict(content, value)
                except json_format.ParseError as error:
                    raise InvalidValue(f"{kind!r} is no kind of value") from error


def timestamp_to_json(timestamp: Any) -> str:
    """A time as `2025-01-31T12:00:00.000001Z`, with no more digits than it needs, in threes."""
    text = (_EPOCH + timedelta(seconds=timestamp.seconds)).isoformat()[:19]
    if not timestamp.nanos:
        return f"{text}Z"
    digits = f"{timestamp.nanos:09}"
    while digits.endswith("000"):
        digits = digits[:-3]
    return f"{text}.{digits}Z"


def timestamp_from_json(content: Any, timestamp: Any, kind: str) -> None:
    """Fill a `Timestamp`, to the microsecond; an `InvalidValue` where the JSON is none."""
    text = _expect(str, content, kind)
    try:
        if text[10:11] != "T":
            raise ValueError
        since = datetime.fromisoformat(text) - _EPOCH  # a TypeError without a time zone
    except (ValueError, TypeError, OverflowError) as error:
        raise InvalidValue(
            f"{kind} must be a time such as 2025-01-31T12:00:00.000001Z, not {content!r}"
        ) from error
    timestamp.seconds = since.days * 86_400 + since.seconds
    timestamp.nanos = since.microseconds * 1_000


def _array(content: Any, values: Any) -> None:
    for index, one in enumerate(_expect(list, content, "values")):
        try:
            value_from_json(one, values.add())
        except InvalidValue as error:
            error.path.insert(0, index)
            raise


def _double_to_json(number: float) -> float | str:
    if math.isfinite(number):
        return number
    return "NaN" if math.isnan(number) else "Infinity" if number > 0 else "-Infinity"


def _double(content: Any, kind: str) -> float:
    if isinstance(content, str) and content in _WORDS:
        return _WORDS[content]
    try:
        number = float(content) if not isinstance(content, bool) else math.nan
    except (TypeError, ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number):  # what JSON has as 1e999 is none either
        raise InvalidValue(f'{kind} must be a number, or "NaN", "Infinity" or "-Infinity", not {content!r}')
    return number


def _integer(content: Any) -> int:
    # by their documentation a string, as JavaScript's numbers end at 2^53
    if isinstance(content, str) or type(content) is int:
        try:
            number = int(content)
        except ValueError:
            pass
        else:
            if -(1 << 63) <= number < 1 << 63:
                return number
    raise InvalidValue(f"integerValue must be an integer of 64 bits, in a string, not {content!r}")


def _bytes(content: Any) -> bytes:
    text = _expect(str, content, "bytesValue").rstrip("=").replace("-", "+").replace("_", "/")
    try:
        return base64.b64decode(text + "=" * (-len(text) % 4), validate=True)
    except ValueError as error:
        raise InvalidValue(f"bytesValue must be base64: {error}") from error


def _text(content: Any, kind: str) -> str:
    text: str = _expect(str, content, kind)
    if not text.isascii():
        try:
            text.encode()
        except UnicodeEncodeError as error:
            raise InvalidValue(f"{kind} has half a surrogate pair") from error
    return text


def _only(name: str, content: Any, kind: str, default: Any) -> Any:
    """What an object has under the one name that it may have."""
    for other in _expect(dict, content, kind):
        if other != name:
            raise InvalidValue(f"{kind} has {name!r}, and no {other!r}")
    return content.get(name, default)


def _expect(kind: type, content: Any, name: str) -> Any:
    if not isinstance(content, kind):
        expected = {dict: "an object", list: "an array", str: "a string", bool: "true or false"}[kind]
        raise InvalidValue(f"{name} must be {expected}")
    return content
