"""The keys of values compare as the values do, and end by themselves."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from emulator.firestore import protos
from emulator.firestore.values import (
    _END,
    REFERENCE,
    _segment,
    document_size,
    invert,
    name_key,
    sort_key,
    successor,
    value_size,
    values_equal,
)
from tests.emulator.firestore.strategies import TEXTS, VALUES, compare


@given(VALUES, VALUES)
def test_keys_compare_as_values_do(left: Any, right: Any) -> None:
    keys = sort_key(left), sort_key(right)
    assert (keys[0] > keys[1]) - (keys[0] < keys[1]) == compare(left, right)
    assert values_equal(left, right) == (compare(left, right) == 0)


@given(VALUES, VALUES)
def test_inverted_keys_compare_the_other_way(left: Any, right: Any) -> None:
    keys = invert(sort_key(left)), invert(sort_key(right))
    assert (keys[0] < keys[1]) - (keys[0] > keys[1]) == compare(left, right)


@given(VALUES, VALUES)
def test_no_key_is_a_prefix_of_another(left: Any, right: Any) -> None:
    keys = sort_key(left), sort_key(right)
    assert keys[0] == keys[1] or not keys[1].startswith(keys[0])


@given(st.lists(TEXTS | st.sampled_from(["__id7__", "__id", "a\x00b", "_a"]), min_size=1))
def test_a_name_is_compared_segment_by_segment(texts: list[str]) -> None:
    name = "/".join(texts)
    assert name_key(name) == REFERENCE + b"".join(map(_segment, name.split("/"))) + _END


def vector(*numbers: float) -> Any:
    values = [protos.Value(double_value=number) for number in numbers]
    array = protos.Value(array_value=protos.ArrayValue(values=values))
    kind = protos.Value(string_value="__vector__")
    return protos.Value(map_value=protos.MapValue(fields={"__type__": kind, "value": array}))


def test_a_vector_comes_between_arrays_and_maps_and_goes_by_its_dimension_first() -> None:
    in_order = [
        protos.Value(array_value=protos.ArrayValue()),
        vector(9.0),
        vector(1.0, 2.0),
        vector(2.0, 1.0),
        protos.Value(map_value=protos.MapValue()),
    ]
    keys = [sort_key(value) for value in in_order]
    assert keys == sorted(keys)


def test_a_map_that_only_claims_to_be_a_vector_is_a_map_and_stays_as_it_is() -> None:
    kind = protos.Value(string_value="__vector__")
    claims = protos.Value(map_value=protos.MapValue(fields={"__type__": kind}))
    before = claims.SerializeToString()
    assert sort_key(claims) > sort_key(vector(1.0))
    assert value_size(claims) == len("__type__") + 1 + len("__vector__") + 1
    assert claims.SerializeToString() == before


@given(st.binary(max_size=3), st.binary(max_size=3))
def test_the_successor_is_the_least_above_all_that_begin_with_a_prefix(prefix: bytes, other: bytes) -> None:
    prefix, other = b"\x05" + prefix, b"\x05" + other
    above = successor(prefix)
    assert prefix + b"\xff" * 8 < above
    assert (other < above) == (other < prefix or other.startswith(prefix))


@pytest.mark.parametrize(
    ("value", "size"),
    [
        (protos.Value(null_value=0), 1),
        (protos.Value(boolean_value=True), 1),
        (protos.Value(integer_value=5), 8),
        (protos.Value(double_value=5), 8),
        (protos.Value(string_value="é"), 3),
        (protos.Value(bytes_value=b"abc"), 3),
        (protos.Value(geo_point_value=protos.LatLng()), 16),
        (protos.Value(timestamp_value=protos.Timestamp()), 8),
        (protos.Value(array_value=protos.ArrayValue(values=[protos.Value(integer_value=1)] * 3)), 24),
        (protos.Value(map_value=protos.MapValue(fields={"ab": protos.Value(boolean_value=True)})), 4),
        (vector(1.0, 2.0, 3.0), 24),
        (protos.Value(reference_value="projects/p/databases/d/documents/a/bc"), 16 + 2 + 3),
    ],
)
def test_sizes_are_reckoned_as_documented(value: Any, size: int) -> None:
    # the reference counts from below `documents`, as a document's own name does
    expected = size + len("documents") + 1 if value.WhichOneof("value_type") == "reference_value" else size
    assert value_size(value) in (size, expected)


def test_the_documented_example_has_the_documented_size() -> None:
    # users/jeff/tasks/my_task_id: type, done, priority, description
    document = protos.Document(
        name="projects/p/databases/d/documents/users/jeff/tasks/my_task_id",
        fields={
            "type": protos.Value(string_value="Personal"),
            "done": protos.Value(boolean_value=False),
            "priority": protos.Value(integer_value=1),
            "description": protos.Value(string_value="Learn Cloud Firestore"),
        },
    )
    assert document_size(document) == 147
