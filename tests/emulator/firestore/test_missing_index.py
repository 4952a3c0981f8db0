"""The error of a query whose index is missing: production's words, and entries that make the query succeed."""

from __future__ import annotations

import json
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import assume, given

from emulator.firestore.query import compile_query
from emulator.status import Status
from tests.emulator.firestore.index_entries import (
    asked,
    index,
    message_of,
    override,
    structured,
    sums,
    to_add,
)

A, TAG = ("a", "EQUAL", 1), ("t", "ARRAY_CONTAINS", 1)


def test_the_message_of_a_composite_index_is_productions() -> None:
    """The link is one that production gave."""
    query = structured(("q", "EQUAL", 1), "z", collection="flt")
    first, second = message_of(
        query, [], "projects/fireemu-oracle-query/databases/(default)/documents"
    ).split("\n")
    assert first == (
        "The query requires an index. You can create it here: https://console.firebase.google.com/v1/r/project/"
        "fireemu-oracle-query/firestore/indexes?create_composite=ClBwcm9qZWN0cy9maXJlZW11LW9yYWNsZS1xdWVyeS9kYXRhYmFz"
        "ZXMvKGRlZmF1bHQpL2NvbGxlY3Rpb25Hcm91cHMvZmx0L2luZGV4ZXMvXxABGgUKAXEQARoFCgF6EAEaDAoIX19uYW1lX18QAQ"
    )
    assert second == (
        'Or add to `indexes` of firestore.indexes.json: {"collectionGroup": "flt", "queryScope": "COLLECTION", '
        '"fields": [{"fieldPath": "q", "order": "ASCENDING"}, {"fieldPath": "z", "order": "ASCENDING"}]}'
    )


def test_the_message_of_a_fields_own_index_is_productions() -> None:
    """The link is one that production gave."""
    query = structured(("userId", "EQUAL", 1), collection="members", group=True)
    first, second = message_of(query, [], "projects/nascar-pick-em/databases/(default)/documents").split("\n")
    assert first == (
        "The query requires a COLLECTION_GROUP_ASC index for collection members and field userId. You can create it "
        "here: https://console.firebase.google.com/v1/r/project/nascar-pick-em/firestore/indexes?create_exemption="
        "ClJwcm9qZWN0cy9uYXNjYXItcGljay1lbS9kYXRhYmFzZXMvKGRlZmF1bHQpL2NvbGxlY3Rpb25Hcm91cHMvbWVtYmVycy9maWVsZHMvdXNl"
        "cklkEAIaCgoGdXNlcklkEAE"
    )
    entry = override("userId", "asc", "desc", "array", "asc group", group="members")
    assert second == "Or put into `fieldOverrides` of firestore.indexes.json: " + json.dumps(entry)


def test_what_replaces_an_override_keeps_its_ttl_policy() -> None:
    (entry,) = to_add(message_of(structured(A), [{**override("a"), "ttl": True}]))
    assert entry == {**override("a", "asc"), "ttl": True}


def test_ranges_on_several_fields_come_with_productions_advice() -> None:
    query = structured([("a", "LESS_THAN", 1), ("b", "LESS_THAN", 1)])
    assert (
        " .\nThe query contains range and inequality filters on multiple fields, please refer to the documentation for "
        "index selection best practices: https://cloud.google.com/firestore/docs/query-data/multiple-range-fields.\nOr"
    ) in message_of(query, [])


def test_all_that_is_missing_is_told_at_once() -> None:
    query = structured(("OR", [A, ("a", "ARRAY_CONTAINS", 1), ("b", "EQUAL", 1)]), group=True)
    message = message_of(query, [override("a"), override("b")])
    assert to_add(message) == [override("a", "asc group", "array group"), override("b", "asc group")]
    query = structured(("OR", [A, ("b", "EQUAL", 1)]), "x")
    assert to_add(message_of(query, [])) == [index("a, x"), index("b, x")]


def test_a_long_name_is_encoded_as_google_reads_it() -> None:
    field = "f" * 200
    assert asked(message_of(structured(A, field), [])) == f"a, {field}, __name__"


def test_a_query_of_more_conjunctions_than_production_takes_is_left_to_other_checks() -> None:
    choices = [("OR", [(f"{name}{n}", "EQUAL", 1) for name in "xy"]) for n in range(40)]
    assert message_of(structured(choices, "z"), []) == ""


def test_collections_of_whatever_id_need_none() -> None:
    assert message_of(structured((), "__name__", collection="", group=True), [override("*")]) == ""


@pytest.mark.parametrize(
    ("condition", "orders", "fields", "entries"),
    [
        ((), "", (), [override("*")]),
        ((), "", ("x",), []),
        ((), "", ("x",), [override("x", "desc")]),
        (("x", "LESS_THAN", 1), "", ("x",), []),
        (("x", "EQUAL", 1), "", ("x",), []),
        (A, "", ("x",), [index("a, x desc")]),
        (A, "", ("x", "y"), [index("a, y, x")]),
        ([A, TAG], "", ("x",), [index("a, x"), index("t array, x")]),
        ((), "a desc", ("x",), [index("a desc, x")]),
    ],
)
def test_an_aggregation_with_its_fields_in_the_index_is_served(
    condition: Any, orders: Any, fields: Any, entries: Any
) -> None:
    assert message_of(structured(condition, orders), entries, aggregations=sums(*fields)) == ""


@pytest.mark.parametrize(
    ("condition", "orders", "fields", "entries", "expected"),
    [
        ((), "", ("x",), [override("x")], "COLLECTION_ASC x"),
        ((), "", ("x", "y"), [], "x, y, __name__"),
        (A, "", ("x",), [], "a, x, __name__"),
        (A, "", ("x",), [index("a, x, y")], "a, x, __name__"),
        (("a", "LESS_THAN", 1), "", ("x",), [], "a, x, __name__"),
        ((), "a", ("x",), [index("x, a")], "a, x, __name__"),
    ],
)
def test_an_aggregated_field_has_to_be_in_the_index(
    condition: Any, orders: Any, fields: Any, entries: Any, expected: str
) -> None:
    assert asked(message_of(structured(condition, orders), entries, aggregations=sums(*fields))) == expected


def nearest(condition: Any, dimension: int = 3) -> Any:
    query = structured(condition)
    query.find_nearest.vector_field.field_path = "v"
    vector = query.find_nearest.query_vector.map_value.fields
    vector["__type__"].string_value = "__vector__"
    for _ in range(dimension):
        vector["value"].array_value.values.add(double_value=1.0)
    query.find_nearest.limit.value = 5
    query.find_nearest.distance_measure = 1
    return query


@pytest.mark.parametrize(
    ("condition", "entries"),
    [
        ((), [index("v 3")]),
        ((), [index("__name__, v 3")]),
        (A, [index("a desc, v 3")]),
        ([A, ("b", "LESS_THAN", 1)], [index("a, b, v 3")]),
        ([A, TAG], [index("t array, a, v 3")]),
        (("OR", [A, ("b", "EQUAL", 1)]), [index("a, v 3"), index("b, v 3")]),
    ],
)
def test_a_vector_search_with_its_index_is_served(condition: Any, entries: Any) -> None:
    assert message_of(nearest(condition), entries) == ""


@pytest.mark.parametrize(
    "entries",
    [[], [index("__name__ desc")], [index("v 4")], [index("v 3", "COLLECTION_GROUP")], [index("a, v 3")]],
)
def test_a_vector_search_without_its_index_tells_productions_command(entries: Any) -> None:
    first, second = message_of(nearest(()), entries).split("\n")
    assert first == (
        "Missing vector index configuration. Please create the required index with the following gcloud command: "
        "gcloud firestore indexes composite create --project=demo --collection-group=c --query-scope=COLLECTION "
        """--field-config=vector-config='{"dimension":"3","flat": "{}"}',field-path=v"""
    )
    assert second == "Or add to `indexes` of firestore.indexes.json: " + json.dumps(index("v 3"))


def test_what_comes_before_a_vector_is_in_the_command_and_is_not_merged() -> None:
    entries = [index("v 3"), index("a, v 3"), index("t array, v 3")]
    message = message_of(nearest([A, TAG]), entries, "projects/demo/databases/other/documents")
    assert (
        "create --project=demo --database=other --collection-group=c --query-scope=COLLECTION "
        "--field-config=array-config=CONTAINS,field-path=t --field-config=order=ASCENDING,field-path=a "
        "--field-config=vector"
    ) in message
    assert to_add(message) == [index("t array, a, v 3")]


FIELDS = ["a", "b", "m.x"]
LEAVES: st.SearchStrategy[Any] = st.one_of(
    st.tuples(
        st.sampled_from(FIELDS),
        st.sampled_from(
            ["EQUAL", "IN", "ARRAY_CONTAINS", "ARRAY_CONTAINS_ANY", "LESS_THAN", "NOT_EQUAL", "NOT_IN"]
        ),
        st.just(1),
    ),
    st.tuples(st.sampled_from(FIELDS), st.sampled_from(["IS_NULL", "IS_NOT_NULL"])),
)
CONDITIONS = st.just(()) | st.recursive(
    LEAVES,
    lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=6,
)
DIRECTED = st.tuples(st.sampled_from([*FIELDS, "__name__"]), st.sampled_from(["", " desc"]))
ORDERS = st.lists(DIRECTED, max_size=3, unique_by=lambda order: order[0]).map(
    lambda orders: ", ".join(map("".join, orders))
)
QUERIES = st.builds(structured, CONDITIONS, ORDERS, group=st.booleans())
AGGREGATIONS = st.lists(st.sampled_from(FIELDS), max_size=2).map(lambda fields: sums(*fields))

SCOPES = st.sampled_from(["COLLECTION", "COLLECTION_GROUP"])
COMPOSITES = st.lists(
    st.builds(
        index,
        st.lists(DIRECTED, min_size=2, max_size=3, unique_by=lambda order: order[0]).map(
            lambda orders: ", ".join(map("".join, orders))
        ),
        SCOPES,
    ),
    max_size=3,
)
MODES = ["asc", "desc", "array", "asc group", "desc group", "array group"]
OVERRIDES = st.lists(
    st.builds(
        lambda field, modes: override(field, *sorted(modes)),
        st.sampled_from([*FIELDS, "m", "*"]),
        st.sets(st.sampled_from(MODES)),
    ),
    max_size=3,
)


def is_sound(query: Any) -> bool:
    """Whether production takes such a query at all."""
    try:
        compile_query("projects/p/databases/d/documents", query)
    except Status:
        return False
    return True


@given(QUERIES, COMPOSITES, OVERRIDES, AGGREGATIONS)
def test_with_what_the_error_says_to_add_the_query_is_served(
    query: Any, composites: Any, overrides: Any, aggregations: Any
) -> None:
    assume(is_sound(query))
    entries = composites + overrides
    message = message_of(query, entries, aggregations=aggregations)
    if message:
        added = to_add(message)
        assert added
        assert message_of(query, entries + added, aggregations=aggregations) == ""


@given(QUERIES, COMPOSITES, OVERRIDES, COMPOSITES)
def test_another_composite_index_takes_nothing_away(
    query: Any, composites: Any, overrides: Any, others: Any
) -> None:
    assume(is_sound(query))
    if not message_of(query, composites + overrides):
        assert message_of(query, composites + overrides + others) == ""
