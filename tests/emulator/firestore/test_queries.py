"""Queries by ordered indexes, against an evaluator that filters, sorts and cuts everything."""

from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from emulator.clock import SystemClock
from emulator.firestore import protos
from emulator.firestore.query import compile_query
from emulator.firestore.query_filters import _Op
from emulator.firestore.store import Store
from emulator.firestore.values import sort_key
from emulator.firestore.versions import new_version
from emulator.status import Status
from tests.emulator.firestore.strategies import ORDER, compare, version_of

ROOT = "projects/p/databases/d/documents"
FIELDS = ["a", "b", "m.x"]
NUMBERS = st.sampled_from([0, 1, 2, 1.0, float("nan"), -0.0])


def value(x: Any) -> Any:
    if x is None:
        return protos.Value(null_value=0)
    if isinstance(x, bool):
        return protos.Value(boolean_value=x)
    if isinstance(x, int):
        return protos.Value(integer_value=x)
    if isinstance(x, float):
        return protos.Value(double_value=x)
    if isinstance(x, str):
        return protos.Value(string_value=x)
    return protos.Value(array_value=protos.ArrayValue(values=map(value, x)))


RAW = st.one_of(
    NUMBERS, st.sampled_from([None, True, "", "x", "y"]), st.lists(st.sampled_from([1, "x"]), max_size=2)
)
DOCUMENTS = st.dictionaries(
    st.tuples(st.sampled_from(["c", "c", "d", "c/1/c"]), st.sampled_from("123456789")),
    st.dictionaries(st.sampled_from(FIELDS), RAW),
    max_size=12,
)
SIMPLE_OPS = [
    "EQUAL",
    "NOT_EQUAL",
    "LESS_THAN",
    "LESS_THAN_OR_EQUAL",
    "GREATER_THAN",
    "GREATER_THAN_OR_EQUAL",
    "ARRAY_CONTAINS",
]
LIST_OPS = ["IN", "NOT_IN", "ARRAY_CONTAINS_ANY"]
LEAVES = st.one_of(
    st.tuples(st.sampled_from(FIELDS), st.sampled_from(SIMPLE_OPS), RAW),
    st.tuples(st.sampled_from(FIELDS), st.sampled_from(LIST_OPS), st.lists(RAW, min_size=1, max_size=3)),
)
FILTERS: st.SearchStrategy[Any] = st.none() | st.recursive(
    LEAVES,
    lambda inner: st.tuples(st.sampled_from(["AND", "OR"]), st.lists(inner, min_size=1, max_size=3)),
    max_leaves=4,
)
ORDERS = st.lists(
    st.tuples(st.sampled_from(FIELDS), st.booleans()), max_size=2, unique_by=lambda order: order[0]
)


def filter_proto(condition: Any) -> Any:
    if condition is None:
        return None
    if condition[0] in ("AND", "OR"):
        op = getattr(protos.StructuredQuery.CompositeFilter.Operator, condition[0])
        filters = map(filter_proto, condition[1])
        return protos.StructuredQuery.Filter(
            composite_filter=protos.StructuredQuery.CompositeFilter(op=op, filters=filters)
        )
    path, op, raw = condition
    return protos.StructuredQuery.Filter(
        field_filter=protos.StructuredQuery.FieldFilter(
            field=protos.StructuredQuery.FieldReference(field_path=path),
            op=getattr(_Op, op),
            value=value(raw),
        )
    )


def query_proto(condition: Any, orders: Any, **rest: Any) -> Any:
    query = protos.StructuredQuery(where=filter_proto(condition), **rest)
    query.from_.add(collection_id="c")
    for path, descending in orders:
        order = query.order_by.add()
        order.field.field_path = path
        order.direction = 2 if descending else 1
    return query


def document(key: tuple[str, str], fields: dict[str, Any]) -> Any:
    result = protos.Document(name=f"{ROOT}/{key[0]}/{key[1]}")
    for path, raw in fields.items():
        first, _, inner = path.partition(".")
        (result.fields[first].map_value.fields[inner] if inner else result.fields[first]).CopyFrom(value(raw))
    return result


def holds(condition: Any, fields: dict[str, Any]) -> bool:
    """Whether a document's fields satisfy a condition: written from the documentation, with no keys."""
    if condition is None:
        return True
    if condition[0] in ("AND", "OR"):
        return (all if condition[0] == "AND" else any)(holds(part, fields) for part in condition[1])
    path, op, raw = condition
    if path not in fields:
        return False
    found = value(fields[path])
    order = compare(found, value(raw))
    kinds = {
        k.replace("integer", "double")
        for k in (found.WhichOneof("value_type"), value(raw).WhichOneof("value_type"))
    }
    nans = [isinstance(x, float) and x != x for x in (fields[path], raw)]
    same_kind = len(kinds) == 1 and nans[0] == nans[1]
    listed = raw if isinstance(raw, list) else []
    among = any(compare(found, value(one)) == 0 for one in listed)
    among_equals = any(equals(found, one) for one in listed)
    elements = found.array_value.values
    match op:
        case "EQUAL":
            return equals(found, raw)
        case "NOT_EQUAL":
            return order != 0 and fields[path] is not None and raw is not None
        case "LESS_THAN":
            return same_kind and order < 0
        case "LESS_THAN_OR_EQUAL":
            return same_kind and order <= 0 and comparable(raw)
        case "GREATER_THAN":
            return same_kind and order > 0
        case "GREATER_THAN_OR_EQUAL":
            return same_kind and order >= 0 and comparable(raw)
        case "IN":
            return among_equals
        case "NOT_IN":
            return not among and None not in raw and fields[path] is not None
        case "ARRAY_CONTAINS":
            return any(equals(one, raw) for one in elements)
        case _:
            return any(equals(one, wanted) for one in elements for wanted in raw)


def comparable(raw: Any) -> bool:
    """Null and NaN are compared by the unary filters only; no other comparison holds for them."""
    return raw is not None and raw == raw


def equals(found: Any, raw: Any) -> bool:
    return comparable(raw) and compare(found, value(raw)) == 0


def inequalities(condition: Any) -> set[str]:
    if condition is None:
        return set()
    if condition[0] in ("AND", "OR"):
        return set().union(*map(inequalities, condition[1]))
    return (
        set() if condition[1] in ("EQUAL", "IN", "ARRAY_CONTAINS", "ARRAY_CONTAINS_ANY") else {condition[0]}
    )


def evaluate(documents: dict[Any, Any], condition: Any, orders: Any) -> list[str]:
    """The names that a query should give, in order."""
    descending = orders[-1][1] if orders else False
    explicit = {path for path, _ in orders}
    full = [*orders, *((path, descending) for path in sorted(inequalities(condition) - explicit))]
    found = [
        (key, fields)
        for key, fields in documents.items()
        if key[0] == "c" and holds(condition, fields) and all(path in fields for path, _ in full)
    ]
    found.sort(key=lambda one: one[0][1], reverse=descending)
    for path, backwards in reversed(full):
        found.sort(key=lambda one: ORDER(value(one[1][path])), reverse=backwards)
    return [f"{ROOT}/{key[0]}/{key[1]}" for key, _ in found]


def run(store: Store, query: Any, read_us: int | None = None) -> list[str]:
    compiled = compile_query(ROOT, query, ruled=False)  # production's rules would narrow what is tried
    changed = None if read_us is None else store.changed_since(compiled, read_us)
    return [found.name for found in store.indexes.run(compiled, changed)]


def write(store: Store, name: str, fields: dict[str, Any] | None) -> None:
    """Make one document what it should be, in a commit of its own; None: delete it."""
    before, after, now_us = store.latest(name), None, store.commit_time()
    if fields is not None:
        key = tuple(name.removeprefix(f"{ROOT}/").rsplit("/", 1))
        body = document(key, fields).SerializeToString(deterministic=True)
        same = before is not None and before.has_body(body)
        after = before if same else new_version(name, body, now_us, now_us)
    store.commit({name: (before, after)}, now_us)


def put(store: Store, documents: dict[Any, Any]) -> None:
    """Make the store hold these documents and no others."""
    for key in (
        [("c", i) for i in "123456789"]
        + [("d", i) for i in "123456789"]
        + [("c/1/c", i) for i in "123456789"]
    ):
        name = f"{ROOT}/{key[0]}/{key[1]}"
        write(store, name, documents.get(key))


@given(DOCUMENTS, DOCUMENTS, FILTERS, ORDERS)
@settings(max_examples=300)
def test_a_query_finds_what_the_evaluator_finds_also_after_changes_and_in_the_past(
    first: Any, second: Any, condition: Any, orders: Any
) -> None:
    store = Store(SystemClock())
    query = query_proto(condition, orders)
    put(store, first)
    then = store.read_time()
    assert run(store, query) == evaluate(first, condition, orders)
    put(store, second)
    assert run(store, query) == evaluate(second, condition, orders)
    assert run(store, query, then) == evaluate(first, condition, orders)


@given(DOCUMENTS, FILTERS, ORDERS, st.integers(0, 3), st.integers(0, 3))
def test_offset_and_limit_cut_the_result(
    documents: Any, condition: Any, orders: Any, offset: int, limit: int
) -> None:
    store = Store(SystemClock())
    put(store, documents)
    everything = evaluate(documents, condition, orders)
    query = query_proto(condition, orders, offset=offset, limit=protos.Int32Value(value=limit))
    assert run(store, query) == everything[offset : offset + limit]


@given(DOCUMENTS, ORDERS, st.lists(RAW, max_size=2), st.booleans(), st.booleans())
def test_cursors_cut_the_result(documents: Any, orders: Any, at: Any, before: bool, end: bool) -> None:
    store = Store(SystemClock())
    put(store, documents)
    at = at[: len(orders)]
    query = query_proto(None, orders)
    cursor = protos.Cursor(values=map(value, at), before=before)
    (query.end_at if end else query.start_at).CopyFrom(cursor)

    def place(name: str) -> int:
        """Where a document lies relative to the cursor."""
        fields = documents["c", name.rpartition("/")[2]]
        for (path, descending), raw in zip(orders, at, strict=False):
            if order := compare(value(fields[path]), value(raw)):
                return -order if descending else order
        return 0

    everything = evaluate(documents, None, orders)
    if end:
        expected = [name for name in everything if place(name) < 0 or (place(name) == 0 and not before)]
    else:
        expected = [name for name in everything if place(name) > 0 or (place(name) == 0 and before)]
    assert run(store, query) == expected


def test_a_range_touches_only_what_lies_in_it() -> None:
    store = Store(SystemClock())
    for n in range(2_000):
        name = f"{ROOT}/c/{n}"
        due = 0 if n % 100 == 0 else 1 << 62
        write(store, name, {"due": due})
    looked_up: list[str] = []
    finder = store.indexes._finder
    store.indexes._finder = lambda query: lambda name: looked_up.append(name) or finder(query)(name)  # type: ignore[func-returns-value]
    found = run(store, query_proto(("due", "LESS_THAN_OR_EQUAL", 5), [("due", False)]))
    assert len(found) == len(looked_up) == 20


@pytest.mark.parametrize(
    ("parent", "selector", "expected"),
    [
        (ROOT, {"collection_id": "c"}, ["c/1", "c/2"]),
        (ROOT, {"collection_id": "c", "all_descendants": True}, ["c/1", "c/1/c/3", "c/2", "d/1/c/4"]),
        (f"{ROOT}/c/1", {"collection_id": "c"}, ["c/1/c/3"]),
        (f"{ROOT}/d/1", {"all_descendants": True}, ["d/1/c/4"]),
        (ROOT, {"all_descendants": True}, ["c/1", "c/1/c/3", "c/2", "d/1", "d/1/c/4"]),
    ],
)
def test_a_query_covers_its_collection_or_all_of_its_name(
    parent: str, selector: Any, expected: list[str]
) -> None:
    store = Store(SystemClock())
    query = protos.StructuredQuery()
    query.from_.add(**selector)
    store.indexes.run(compile_query(parent, query))  # the index is there before the documents come
    for path in ("c/1", "c/2", "c/1/c/3", "d/1", "d/1/c/4"):
        name = f"{ROOT}/{path}"
        write(store, name, {})
    found = store.indexes.run(compile_query(parent, query))
    assert [one.name.removeprefix(f"{ROOT}/") for one in found] == expected


def test_a_projection_keeps_the_selected_fields() -> None:
    query = protos.StructuredQuery()
    query.select.fields.add(field_path="m.x")
    query.select.fields.add(field_path="__name__")
    full = document(("c", "1"), {"a": 1, "m.x": 2})
    full.fields["m"].map_value.fields["y"].integer_value = 3
    projected = compile_query(ROOT, query).project(version_of(full))
    assert projected == version_of(document(("c", "1"), {"m.x": 2})).data


def test_a_projection_on_no_fields_keeps_all_of_them_and_one_on_the_name_none() -> None:
    full = document(("c", "1"), {"a": 1})
    query = protos.StructuredQuery()
    query.select.SetInParent()
    version = version_of(full)
    assert compile_query(ROOT, query).project(version) == version.data
    query.select.fields.add(field_path="__name__")
    assert compile_query(ROOT, query).project(version) == version_of(document(("c", "1"), {})).data


def name_filter(op: str, raw: Any) -> Any:
    return query_proto(("__name__", op, raw), [])


@pytest.mark.parametrize(
    "query",
    [
        query_proto(None, [("a", False), ("a", True)]),
        query_proto(("a", "IN", []), []),
        query_proto(("a", "IN", "x"), []),
        query_proto(("a", "IN", list(range(31))), []),
        query_proto(("a", "NOT_IN", list(range(11))), []),
        query_proto(("a..b", "EQUAL", 1), []),
        name_filter("EQUAL", "x"),
        query_proto(None, [], offset=-1),
        query_proto(None, [], limit=protos.Int32Value(value=-1)),
        query_proto(None, [], start_at=protos.Cursor(values=[value(1), value(2)])),
        query_proto(None, [], start_at=protos.Cursor(values=[value(1)])),
        query_proto(("OR", []), []),
        protos.StructuredQuery(
            where=protos.StructuredQuery.Filter(field_filter={"field": {"field_path": "a"}})
        ),
        protos.StructuredQuery(
            where=protos.StructuredQuery.Filter(unary_filter={"field": {"field_path": "a"}})
        ),
    ],
)
def test_a_malformed_query_is_an_invalid_argument(query: Any) -> None:
    with pytest.raises(Status, match="INVALID_ARGUMENT"):
        compile_query(ROOT, query)


def test_names_can_be_compared_and_are_the_last_order() -> None:
    store = Store(SystemClock())
    for n in "123":
        name = f"{ROOT}/c/{n}"
        write(store, name, {})
    for op, expected in [("EQUAL", ["2"]), ("GREATER_THAN", ["3"]), ("LESS_THAN_OR_EQUAL", ["1", "2"])]:
        query = name_filter(op, 0)
        query.where.field_filter.value.CopyFrom(protos.Value(reference_value=f"{ROOT}/c/2"))
        assert [name[-1] for name in run(store, query)] == expected


def test_null_and_nan_are_found_by_their_unary_filters() -> None:
    store = Store(SystemClock())
    put(
        store,
        {("c", "1"): {"a": None}, ("c", "2"): {"a": float("nan")}, ("c", "3"): {"a": 1}, ("c", "4"): {}},
    )
    unary = protos.StructuredQuery.UnaryFilter.Operator
    expected = {"IS_NULL": ["1"], "IS_NAN": ["2"], "IS_NOT_NULL": ["2", "3"], "IS_NOT_NAN": ["3"]}
    for op, names in expected.items():
        query = protos.StructuredQuery()
        query.from_.add(collection_id="c")
        query.where.unary_filter.field.field_path = "a"
        query.where.unary_filter.op = getattr(unary, op)
        assert [name[-1] for name in run(store, query)] == names


def test_sort_keys_of_fields_are_what_an_index_holds() -> None:
    store = Store(SystemClock())
    put(store, {("c", "1"): {"a": 1}})
    run(store, query_proto(None, [("a", False)]))
    (index,) = store.indexes._indexes.values()
    ((key, name, _),) = index.entries
    assert key.startswith(sort_key(value(1)))
    assert name == f"{ROOT}/c/1"
