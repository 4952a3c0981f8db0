"""Firestore's values, for hypothesis, and a comparator of their order that knows nothing of the engine's keys."""

from __future__ import annotations

import math
from functools import cmp_to_key
from typing import Any

import hypothesis.strategies as st

from emulator.firestore import protos
from emulator.firestore.versions import Version, microseconds, new_version

_RANKS = {
    None: 0, "null_value": 0, "boolean_value": 1, "integer_value": 2, "double_value": 2, "timestamp_value": 3,
    "string_value": 4, "bytes_value": 5, "reference_value": 6, "geo_point_value": 7, "array_value": 8, "map_value": 9,
}  # fmt: skip

INTEGERS = st.one_of(
    st.integers(-(2**63), 2**63 - 1),
    st.integers(-3, 3),
    st.sampled_from([2**53, 2**53 + 1, 2**63 - 1, -(2**63)]),
)
# JSON has one NaN, without a sign, and Firestore's exports are JSON
DOUBLES = st.one_of(
    st.floats().map(lambda x: math.nan if math.isnan(x) else x),
    st.sampled_from([0.0, -0.0, 1.0, 2.0**53, 2.0**63, -(2.0**63), math.nan]),
)
TEXTS = st.text(st.characters(codec="utf-8"), max_size=3) | st.sampled_from(
    ["", "\0", "\0\0", "a\0", "é", "😀"]
)

SCALARS: st.SearchStrategy[Any] = st.one_of(
    st.just(protos.Value(null_value=0)),
    st.booleans().map(lambda x: protos.Value(boolean_value=x)),
    INTEGERS.map(lambda x: protos.Value(integer_value=x)),
    DOUBLES.map(lambda x: protos.Value(double_value=x)),
    st.tuples(st.integers(-62135596800, 253402300799), st.integers(0, 999_999)).map(
        lambda x: protos.Value(timestamp_value=protos.Timestamp(seconds=x[0], nanos=x[1] * 1_000))
    ),
    TEXTS.map(lambda x: protos.Value(string_value=x)),
    st.binary(max_size=3).map(lambda x: protos.Value(bytes_value=x)),
    st.lists(st.sampled_from(["a", "b", "ab", "a\0", "é"]), min_size=2, max_size=4).map(
        lambda x: protos.Value(reference_value="projects/p/databases/d/documents/" + "/".join(x))
    ),
    st.tuples(st.floats(-90, 90), st.floats(-180, 180)).map(
        lambda x: protos.Value(geo_point_value=protos.LatLng(latitude=x[0], longitude=x[1]))
    ),
)

VALUES: st.SearchStrategy[Any] = st.recursive(
    SCALARS,
    lambda inner: st.one_of(
        st.lists(inner, max_size=3).map(lambda x: protos.Value(array_value=protos.ArrayValue(values=x))),
        st.dictionaries(TEXTS, inner, max_size=3).map(
            lambda x: protos.Value(map_value=protos.MapValue(fields=x))
        ),
    ),
    max_leaves=5,
)


def compare(left: Any, right: Any) -> int:
    """-1, 0 or 1, by Firestore's documentation."""
    kinds = left.WhichOneof("value_type"), right.WhichOneof("value_type")
    ranks = _RANKS[kinds[0]], _RANKS[kinds[1]]
    if ranks[0] != ranks[1]:
        return _three(*ranks)
    match kinds[0]:
        case None | "null_value":
            return 0
        case "integer_value" | "double_value":
            return _numbers(getattr(left, kinds[0]), getattr(right, kinds[1]))
        case "timestamp_value":
            return _three(*((v.timestamp_value.seconds, v.timestamp_value.nanos) for v in (left, right)))
        case "string_value":
            return _three(left.string_value.encode(), right.string_value.encode())
        case "reference_value":
            return _three(*([s.encode() for s in v.reference_value.split("/")] for v in (left, right)))
        case "geo_point_value":
            return _three(*((v.geo_point_value.latitude, v.geo_point_value.longitude) for v in (left, right)))
        case "array_value":
            return _sequences(left.array_value.values, right.array_value.values)
        case "map_value":
            return _maps(left.map_value.fields, right.map_value.fields)
        case kind:
            return _three(getattr(left, kind), getattr(right, kind))


ORDER = cmp_to_key(compare)


def _numbers(left: float, right: float) -> int:
    nans = math.isnan(left), math.isnan(right)
    return _three(*(not nan for nan in nans)) if any(nans) else _three(left, right)


def _sequences(left: Any, right: Any) -> int:
    for one, other in zip(left, right, strict=False):
        if result := compare(one, other):
            return result
    return _three(len(left), len(right))


def _maps(left: Any, right: Any) -> int:
    keys = [sorted(side, key=str.encode) for side in (left, right)]
    for one, other in zip(*keys, strict=False):
        if result := _three(one.encode(), other.encode()) or compare(left[one], right[other]):
            return result
    return _three(*map(len, keys))


def _three(left: Any, right: Any) -> int:
    return (left > right) - (left < right)


def version_of(document: Any) -> Version:
    """A document as a store keeps it."""
    copy = protos.Document.FromString(document.SerializeToString())
    created_us, time_us = microseconds(copy.create_time), microseconds(copy.update_time)
    copy.ClearField("create_time")
    copy.ClearField("update_time")
    return new_version(copy.name, copy.SerializeToString(deterministic=True), created_us, time_us)
