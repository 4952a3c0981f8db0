"""The sizes of queries, and nearest neighbours, against definitions that do the whole work."""

from __future__ import annotations

import itertools
import math
from typing import Any

import hypothesis.strategies as st
from hypothesis import given

from emulator.firestore import protos
from emulator.firestore.nearest import Nearest
from emulator.firestore.query_rules import _size
from tests.emulator.firestore.conformance.calls import condition
from tests.emulator.firestore.conformance.plain import fields, vector
from tests.emulator.firestore.strategies import version_of

LEAVES = st.one_of(
    st.tuples(st.sampled_from("ab"), st.sampled_from(["==", "<", "contains"]), st.just(1)),
    st.tuples(
        st.sampled_from("ab"),
        st.sampled_from(["in", "contains any", "not in"]),
        st.lists(st.integers(0, 9), min_size=1, max_size=3),
    ),
    st.tuples(st.sampled_from("ab"), st.sampled_from(["is null", "is not nan"])),
)
FILTERS: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.builds(
        lambda op, parts: (op, *parts),
        st.sampled_from(["and", "or"]),
        st.lists(inner, min_size=1, max_size=3),
    ),
    max_leaves=6,
)


def expanded(where: Any) -> list[list[Any]]:
    """The disjunctive normal form."""
    if where[0] == "or":
        return [term for part in where[1:] for term in expanded(part)]
    if where[0] == "and":
        return [[*itertools.chain(*terms)] for terms in itertools.product(*map(expanded, where[1:]))]
    if len(where) == 3 and where[1] in ("in", "contains any"):
        return [[(where[0], "contains" if where[1] == "contains any" else "==", one)] for one in where[2]]
    return [[where]]


@given(FILTERS)
def test_a_filter_is_as_large_as_its_disjunctive_normal_form(where: Any) -> None:
    terms = expanded(where)
    size = _size(condition(where))
    assert size.disjunctions == len(terms)
    assert size.filters == sum(map(len, terms))
    assert size.contains == max(sum(leaf[1:2] == ("contains",) for leaf in term) for term in terms)


NUMBERS = st.integers(-3, 3).map(float)
VECTORS = st.one_of(*(st.tuples(*[NUMBERS] * size) for size in (1, 2, 3)))


@given(
    st.lists(VECTORS, max_size=8), VECTORS, st.sampled_from([1, 2, 3]), st.integers(1, 9), st.none() | NUMBERS
)
def test_the_nearest_are_those_that_sorting_by_distance_gives(
    stored: list[Any], asked: Any, measure: int, limit: int, threshold: float | None
) -> None:
    if measure == 2:  # vectors of zeros have no angle
        stored = [one for one in stored if any(one)]
        asked = asked if any(asked) else (1.0,)
    documents = [
        version_of(
            protos.Document(
                name=f"projects/p/databases/d/documents/c/{n}", fields=fields({"v": vector(*one)})
            )
        )
        for n, one in enumerate(stored)
    ]

    def distance(one: Any) -> float:
        product = sum(x * y for x, y in zip(one, asked, strict=True))
        match measure:
            case 1:
                return math.sqrt(sum((x - y) ** 2 for x, y in zip(one, asked, strict=True)))
            case 2:
                return 1 - product / math.hypot(*one) / math.hypot(*asked)
        return product

    ranked = sorted(
        ((-1 if measure == 3 else 1) * round(distance(one), 9), n)
        for n, one in enumerate(stored)
        if len(one) == len(asked)
    )
    if threshold is not None:
        bound = (-1 if measure == 3 else 1) * threshold
        ranked = [entry for entry in ranked if entry[0] <= bound]
    search = Nearest(("v",), asked, measure, limit, "d", threshold)
    found = search.ranked(documents)
    distances = [round(one.message.fields["d"].double_value, 9) for one in found]
    assert [round(abs(one), 9) for one in distances] == [abs(one) for one, _ in ranked[:limit]]
    if measure != 2:  # rounding may tell angles apart that are the same
        assert [int(one.name[-1]) for one in found] == [n for _, n in ranked[:limit]]
