"""Values as plain Python, both ways, for tables that a reader takes in at a glance."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from emulator.firestore import protos

ROOT = "projects/conformance/databases/(default)/documents"


@dataclass(frozen=True)
class Reference:
    """A reference to a document, by its path."""

    path: str


@dataclass(frozen=True)
class Point:
    latitude: float
    longitude: float


@dataclass(frozen=True)
class Moment:
    """A timestamp, by its seconds and nanoseconds."""

    seconds: int
    nanos: int = 0


@dataclass(frozen=True)
class Vector:
    components: tuple[float, ...]


def vector(*components: float) -> Vector:
    return Vector(tuple(map(float, components)))


def name_of(path: str) -> str:
    return f"{ROOT}/{path}" if path else ROOT


def value(plain: Any) -> Any:
    """The Value of something plain."""
    match plain:
        case protos.Value():
            return plain
        case None:
            return protos.Value(null_value=0)
        case bool():
            return protos.Value(boolean_value=plain)
        case int():
            return protos.Value(integer_value=plain)
        case float():
            return protos.Value(double_value=plain)
        case str():
            return protos.Value(string_value=plain)
        case bytes():
            return protos.Value(bytes_value=plain)
        case list():
            return protos.Value(array_value=protos.ArrayValue(values=map(value, plain)))
        case dict():
            return protos.Value(map_value=protos.MapValue(fields=fields(plain)))
        case Reference():
            return protos.Value(reference_value=name_of(plain.path))
        case Point():
            point = protos.LatLng(latitude=plain.latitude, longitude=plain.longitude)
            return protos.Value(geo_point_value=point)
        case Moment():
            moment = protos.Timestamp(seconds=plain.seconds, nanos=plain.nanos)
            return protos.Value(timestamp_value=moment)
        case Vector():
            return value({"__type__": "__vector__", "value": list(plain.components)})
    raise TypeError(plain)


def fields(plain: dict[str, Any]) -> dict[str, Any]:
    return {name: value(one) for name, one in plain.items()}


def plain(value: Any) -> Any:
    """What a Value is, with its fields sorted."""
    match value.WhichOneof("value_type"):
        case "null_value":
            return None
        case "array_value":
            return [plain(one) for one in value.array_value.values]
        case "map_value":
            inside = plain_fields(value.map_value.fields)
            if inside.get("__type__") == "__vector__":
                return Vector(tuple(inside["value"]))
            return inside
        case "reference_value":
            return Reference(value.reference_value.removeprefix(f"{ROOT}/"))
        case "geo_point_value":
            return Point(value.geo_point_value.latitude, value.geo_point_value.longitude)
        case "timestamp_value":
            return Moment(value.timestamp_value.seconds, value.timestamp_value.nanos)
        case kind:
            return getattr(value, kind)


def plain_fields(fields: Any) -> dict[str, Any]:
    return {name: plain(fields[name]) for name in sorted(fields)}


def path_of(name: str) -> str:
    return name.removeprefix(f"{ROOT}/")


def exact(shown: Any) -> str:
    """Text that is the same for what is the same, in type too: 3 is not 3.0, 0.0 not -0.0, and NaN is itself."""
    if isinstance(shown, dict):
        return f"{{{', '.join(f'{name}: {exact(shown[name])}' for name in sorted(shown))}}}"
    if isinstance(shown, list):
        return f"[{', '.join(map(exact, shown))}]"
    return repr(shown)
