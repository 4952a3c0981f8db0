"""What the indexes are for: a query looks at the documents that it gives, and at hardly any other."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given

from emulator.firestore import protos
from emulator.firestore.ordered_index import MAX_INDEXES, OrderedIndexes
from emulator.firestore.query import Query, compile_query
from emulator.firestore.versions import Version
from tests.emulator.firestore.strategies import version_of

ROOT = "projects/p/databases/d/documents"

Fields = dict[str, Any]
Filter = tuple[Any, ...]


class Documents:
    """Documents in one collection, kept in indexes, that tells which of them a query has looked at."""

    def __init__(self) -> None:
        self.latest: dict[str, Any] = {}
        self.looked_at: list[str] = []
        self.indexes = OrderedIndexes(self._below, lambda query: self._document)

    def put(self, id: str, fields: Fields | None) -> None:
        name = f"{ROOT}/c/{id}"
        before, after = self.latest.pop(name, None), None
        if fields is not None:
            after = self.latest[name] = document(id, fields)
        if before is not None or after is not None:
            self.indexes.update(f"{ROOT}/c", [(before, after or Version(name, None, 0, 0))])

    def run(self, query: Any, changed: dict[str, Any] | None = None) -> list[str]:
        self.looked_at.clear()
        return ids(self.indexes.run(compiled(query), changed))

    def _below(self, query: Query) -> Iterator[Any]:
        return filter(lambda one: query.covers(one.name), list(self.latest.values()))

    def _document(self, name: str) -> Any:
        self.looked_at.append(name)
        return self.latest[name]


def compiled(structured: Any) -> Query:
    """A query that need not keep production's rules, which would narrow what is tried."""
    return compile_query(ROOT, structured, ruled=False)


def ids(documents: Any) -> list[str]:
    return [one.name.rpartition("/")[2] for one in documents]


def value(raw: Any) -> Any:
    match raw:
        case bool():
            return protos.Value(boolean_value=raw)
        case int():
            return protos.Value(integer_value=raw)
        case float():
            return protos.Value(double_value=raw)
        case str():
            return protos.Value(string_value=raw)
        case list():
            return protos.Value(array_value=protos.ArrayValue(values=map(value, raw)))
    return protos.Value(null_value=0)


def document(id: str, fields: Fields) -> Version:
    return version_of(
        protos.Document(name=f"{ROOT}/c/{id}", fields={field: value(raw) for field, raw in fields.items()})
    )


def query(where: Filter | None = None, *orders: str, **rest: Any) -> Any:
    """A query on `c`: `where` is (field, operator, value) or (AND or OR, filter, ...), `-a` orders by a, falling."""
    structured = protos.StructuredQuery(**rest)
    structured.from_.add(collection_id="c")
    if where is not None:
        structured.where.CopyFrom(_filter(where))
    for order in orders:
        structured.order_by.add(direction=2 if order[0] == "-" else 1).field.field_path = order.lstrip("-")
    return structured


def _filter(where: Filter) -> Any:
    result = protos.StructuredQuery.Filter()
    if where[0] in ("AND", "OR"):
        operators = protos.StructuredQuery.CompositeFilter.Operator
        result.composite_filter.op = operators.Value(where[0])
        result.composite_filter.filters.extend(map(_filter, where[1:]))
    else:
        path, op, raw = where
        result.field_filter.field.field_path = path
        result.field_filter.op = protos.StructuredQuery.FieldFilter.Operator.Value(op)
        result.field_filter.value.CopyFrom(raw if isinstance(raw, protos.Value) else value(raw))
    return result


def limit(count: int) -> Any:
    return protos.Int32Value(value=count)


def reference(id: str) -> Any:
    return protos.Value(reference_value=f"{ROOT}/c/{id}")


@pytest.fixture(scope="module")
def crowd() -> Documents:
    """1,000 documents: `n` is their number, `half` 0 or 1, `tags` an array, `due` ready for one in a hundred."""
    documents = Documents()
    for n in range(1_000):
        fields = {
            "n": n,
            "half": n % 2,
            "due": 0 if n % 100 == 0 else 1 << 62,
            "tags": [n % 250, "all", n % 250],
        }
        documents.put(f"{n:04}", fields)
    return documents


N = [f"{n:04}" for n in range(1_000)]


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (query(("due", "LESS_THAN_OR_EQUAL", 5), "due"), N[::100]),
        (query(("due", "LESS_THAN_OR_EQUAL", 5), "-due"), N[900::-100]),
        (query(("n", "EQUAL", 7)), N[7:8]),
        (query(("n", "EQUAL", 7), "n"), N[7:8]),
        (query(("AND", ("half", "EQUAL", 1), ("n", "LESS_THAN", 6)), "-n"), N[5:0:-2]),
        (query(("AND", ("half", "EQUAL", 1), ("n", "GREATER_THAN", 994)), "half", "n"), N[995::2]),
        (query(("AND", ("half", "EQUAL", 1), ("n", "EQUAL", 7)), "due", "n"), N[7:8]),
        (query(("AND", ("half", "EQUAL", 1), ("half", "EQUAL", 0))), []),
        (query(("n", "IN", [900, 3, 3, 500])), [N[3], N[500], N[900]]),
        (query(("n", "IN", [900, 3, 500]), "-n"), [N[900], N[500], N[3]]),
        (query(("AND", ("half", "IN", [0, 1]), ("due", "EQUAL", 0)), limit=limit(3)), N[:300:100]),
        (query(("OR", ("n", "LESS_THAN", 3), ("n", "GREATER_THAN", 997)), "n"), [*N[:3], *N[998:]]),
        (query(("OR", ("n", "EQUAL", 3), ("due", "EQUAL", 0)), "-n", limit=limit(2)), [N[900], N[800]]),
        (query(("tags", "ARRAY_CONTAINS", 8)), N[8::250]),
        (query(("tags", "ARRAY_CONTAINS_ANY", [8, 9]), "-n", limit=limit(3)), [N[759], N[758], N[509]]),
        (
            query(("AND", ("tags", "ARRAY_CONTAINS", 8), ("half", "EQUAL", 0), ("n", "LESS_THAN", 500))),
            [N[8], N[258]],
        ),
        (query(("tags", "ARRAY_CONTAINS", "all"), "n", limit=limit(2)), N[:2]),
        (query(("__name__", "EQUAL", reference("0007"))), N[7:8]),
        (query(("__name__", "GREATER_THAN", reference("0997"))), N[998:]),
        (query(("__name__", "GREATER_THAN", reference("0997")), "-__name__"), N[999:997:-1]),
        (query(None, "n", start_at=protos.Cursor(values=[value(990)], before=False)), N[991:]),
        (query(None, "-n", end_at=protos.Cursor(values=[value(997)], before=False)), N[999:996:-1]),
        (
            query(
                None,
                "n",
                start_at=protos.Cursor(values=[value(5), reference("0005")], before=True),
                limit=limit(2),
            ),
            N[5:7],
        ),
    ],
)
def test_a_query_looks_at_no_document_that_it_does_not_give(
    crowd: Documents, asked: Any, expected: list[str]
) -> None:
    assert crowd.run(asked) == expected
    # one that two ranges give is looked at in both, and a merge has looked at the next of each range
    ranges = len(compiled(asked).condition.disjuncts)
    spare = 0 if ranges == 1 else 2 * ranges
    assert len(crowd.looked_at) <= len(expected) + spare


def test_what_is_not_null_is_found_without_a_look_at_the_nulls() -> None:
    documents = Documents()
    for n in range(100):
        documents.put(f"{n:02}", {"a": 1 if n == 50 else None})
    asked = query(None, "a")
    asked.where.unary_filter.field.field_path = "a"
    asked.where.unary_filter.op = protos.StructuredQuery.UnaryFilter.Operator.IS_NOT_NULL
    assert documents.run(asked) == ["50"]
    assert len(documents.looked_at) == 1


def test_a_document_that_two_parts_of_an_or_let_through_is_given_once(crowd: Documents) -> None:
    both = ("OR", ("n", "LESS_THAN", 4), ("due", "EQUAL", 0), ("tags", "ARRAY_CONTAINS_ANY", [0, "all"]))
    assert crowd.run(query(both, "n", limit=limit(5), offset=1)) == N[1:6]


def test_an_equality_and_an_order_of_one_field_share_an_index() -> None:
    documents = Documents()
    for asked in (
        query(("n", "EQUAL", 7)),
        query(None, "n"),
        query(("n", "GREATER_THAN", 3)),
        query(("n", "IN", [1]), "n"),
    ):
        documents.run(asked)
    assert len(documents.indexes._indexes) == 1


def test_more_disjuncts_than_an_index_merges_are_still_answered(crowd: Documents) -> None:
    sevens = query(
        (
            "AND",
            ("n", "IN", list(range(0, 42, 7))),
            ("half", "IN", [0, 1]),
            ("tags", "ARRAY_CONTAINS_ANY", [7, 14, "all"]),
        )
    )
    many = query(("OR", *(("n", "IN", list(range(start, start + 20))) for start in (0, 20))))
    assert crowd.run(sevens) == N[0:42:7]
    assert crowd.run(many) == N[:40]
    for asked in (sevens, many):
        assert 1 <= len(compiled(asked).condition.disjuncts) <= 30


def test_an_array_that_is_asked_for_two_elements_has_both(crowd: Documents) -> None:
    both = (("tags", "ARRAY_CONTAINS", 8), ("tags", "ARRAY_CONTAINS", 9))
    assert crowd.run(query(("AND", *both))) == []
    assert crowd.run(query(("AND", both[0], ("tags", "ARRAY_CONTAINS", "all")))) == N[8::250]
    assert crowd.run(query(("AND", both[0], both[0]))) == N[8::250]


def test_an_array_has_an_entry_for_each_of_its_elements_until_it_loses_them() -> None:
    documents = Documents()
    contains = [query(("tags", "ARRAY_CONTAINS", tag)) for tag in (1, 2, 3)]
    states: list[tuple[Any, list[list[str]]]] = [
        ([1, 2, 1.0], [["x"], ["x"], []]),
        ([2, 3], [[], ["x"], ["x"]]),
        (3, [[], [], []]),
        ([3, [1]], [[], [], ["x"]]),
        (None, [[], [], []]),
    ]
    for tags, expected in states:
        documents.put("x", {"tags": tags})
        assert [documents.run(asked) for asked in contains] == expected
    documents.put("x", None)
    assert [documents.run(asked) for asked in contains] == [[], [], []]


@pytest.mark.parametrize("deep", [False, True])
def test_queries_that_are_all_different_leave_no_more_indexes_than_a_collection_keeps(deep: bool) -> None:
    documents = Documents()
    for id in ("x", "y"):
        documents.put(id, {"first": id})

    def ordered_by(field: str) -> Any:
        asked = query(None, field)
        asked.from_[0].all_descendants = deep
        return asked

    assert documents.run(ordered_by("first")) == ["x", "y"]
    for n in range(2 * MAX_INDEXES):
        assert documents.run(ordered_by(f"f{n}")) == []
    assert len(documents.indexes._indexes) == MAX_INDEXES
    documents.put("a", {"first": "a"})  # while its index is not kept
    documents.put("x", None)
    assert documents.run(ordered_by("first")) == ["a", "y"]
    documents.put("y", {"first": "Y"})
    assert documents.run(ordered_by("first")) == ["y", "a"]


def test_the_past_is_merged_into_every_range() -> None:
    documents = Documents()
    for id, n in [("a", 1), ("b", 2), ("c", 3)]:
        documents.put(id, {"n": n, "tags": [n, 9]})
    changed = {
        f"{ROOT}/c/a": document("a", {"n": 3, "tags": [9, 9.0]}),  # it was different
        f"{ROOT}/c/b": None,  # it was not there
        f"{ROOT}/c/z": document("z", {"n": 2, "tags": [9]}),  # it is no longer there
        f"{ROOT}/d/z": protos.Document(name=f"{ROOT}/d/z", fields={"n": value(2)}),  # it lies elsewhere
    }
    assert documents.run(query(("n", "IN", [2, 3]), "-n"), changed) == ["c", "a", "z"]
    assert documents.run(query(("tags", "ARRAY_CONTAINS", 9)), changed) == ["a", "c", "z"]
    assert documents.run(query(("tags", "ARRAY_CONTAINS", 9), "-n"), {}) == ["c", "b", "a"]


RAW = st.sampled_from([None, 0, 1, 2, 1.0, float("nan"), "", "x", [], [1], [1, "x"]])
PATHS = st.sampled_from(["a", "b"])
LEAVES = st.one_of(
    st.tuples(PATHS, st.sampled_from(["EQUAL", "NOT_EQUAL", "LESS_THAN", "GREATER_THAN_OR_EQUAL"]), RAW),
    st.tuples(
        PATHS, st.sampled_from(["IN", "ARRAY_CONTAINS_ANY", "NOT_IN"]), st.lists(RAW, min_size=1, max_size=9)
    ),
    st.tuples(PATHS, st.just("ARRAY_CONTAINS"), RAW),
    st.tuples(
        st.just("__name__"),
        st.sampled_from(["EQUAL", "LESS_THAN", "GREATER_THAN_OR_EQUAL"]),
        st.sampled_from("123456").map(reference),
    ),
)
WHERE: st.SearchStrategy[Any] = st.none() | st.recursive(
    LEAVES,
    lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), inner, inner),
    max_leaves=5,
)
CONTENTS = st.dictionaries(st.sampled_from("123456"), st.dictionaries(PATHS, RAW))
ORDERS = st.lists(st.sampled_from(["a", "-a", "b", "-b", "__name__", "-__name__"]), max_size=3).filter(
    lambda orders: len({order.lstrip("-") for order in orders}) == len(orders)
)
CURSORS = st.none() | st.tuples(st.lists(RAW, max_size=2), st.booleans())


@given(CONTENTS, CONTENTS, WHERE, ORDERS, CURSORS, CURSORS, st.integers(0, 2), st.none() | st.integers(0, 4))
def test_ranges_give_what_sorting_all_that_match_gives(
    first: Any, second: Any, where: Any, orders: Any, start: Any, end: Any, offset: int, count: int | None
) -> None:
    asked = query(where, *orders, offset=offset, limit=None if count is None else limit(count))
    for field, cursor in (("start_at", start), ("end_at", end)):
        if cursor is not None:
            values = [
                reference("3") if order.endswith("__name__") else value(raw)
                for order, raw in zip(orders, cursor[0], strict=False)
            ]
            getattr(asked, field).CopyFrom(protos.Cursor(values=values, before=cursor[1]))
    documents = Documents()
    for contents in (first, second):
        for id in "123456":
            documents.put(id, contents.get(id))
        assert documents.run(asked) == sorted_out(asked, contents)
    changed = {f"{ROOT}/c/{id}": document(id, first[id]) if id in first else None for id in "123456"}
    assert documents.run(asked, changed) == sorted_out(asked, first)


def sorted_out(asked: Any, contents: dict[str, Fields]) -> list[str]:
    """What a query gives, by asking each document, and sorting and cutting those that match."""
    query = compiled(asked)
    everything = [document(id, fields) for id, fields in contents.items()]

    def key(one: Any) -> tuple[bytes, ...]:
        return tuple(order.key(one.message) or b"" for order in query.orders)

    found = sorted((one for one in everything if query.matches(one.message)), key=key)
    if (start := query.start) is not None:
        size = len(start.keys)
        found = [
            d for d in found if key(d)[:size] > start.keys or (start.before and key(d)[:size] == start.keys)
        ]
    if (end := query.end) is not None:
        size = len(end.keys)
        found = [
            d for d in found if key(d)[:size] < end.keys or (not end.before and key(d)[:size] == end.keys)
        ]
    last = None if query.limit is None else query.offset + query.limit
    return ids(found[query.offset : last])
