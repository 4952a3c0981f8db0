"""Queries: google/firestore/v1/query.proto, and "perform simple and compound queries" in Firestore's documentation."""

from __future__ import annotations

import math
from typing import Any

from emulator.firestore import protos
from tests.emulator.firestore.conformance.calls import NAME, Call, commit, contents, put, query, run
from tests.emulator.firestore.conformance.plain import Moment, Reference, name_of
from tests.emulator.firestore.conformance.rows import Fails, Row, table
from tests.emulator.firestore.conformance.ways import Way

NAN = math.nan
CITIES: dict[str, dict[str, Any]] = {
    "c/bern": {"people": 146, "country": "CH", "tags": ["old", "small"], "at": {"x": 1}},
    "c/bonn": {"people": 336, "country": "DE", "tags": ["small"], "at": {"x": 2}},
    "c/rome": {"people": 2750, "country": "IT", "tags": ["old", "big"], "at": {"x": 1}},
    "c/oslo": {"people": 717, "country": "NO", "tags": [], "odd.name": 1},
    "c/nowhere": {"country": None, "tags": "old"},
}
ODD: dict[str, dict[str, Any]] = {
    "c/a": {"v": None}, "c/b": {"v": NAN}, "c/c": {"v": 1}, "c/d": {"v": "1"}, "c/e": {"v": [1, None, NAN]}, "c/f": {"v": {"k": 1}}, "c/g": {"w": 1},
}  # fmt: skip
TREE: dict[str, dict[str, Any]] = {
    "c/1": {"n": 1}, "c/1/c/2": {"n": 2}, "c/1/d/3": {"n": 3}, "d/4/c/5": {"n": 5}, "d/4": {"n": 4},
}  # fmt: skip


def finds(id: str, says: str, structured: Any, expected: list[str], given: Any = None, **rest: Any) -> Row:
    return Row(id, says, [run(structured, **rest)], expected, CITIES if given is None else given)


def refuses(id: str, says: str, structured: Any, message: str, **rest: Any) -> Row:
    return Row(id, says, [run(structured, **rest)], Fails("INVALID_ARGUMENT", message))


def shows(id: str, says: str, structured: Any, expected: Any, given: Any = None) -> Row:
    return Row(id, says, [contents(run(structured))], expected, CITIES if given is None else given)


def many(count: int, field: str = "a", op: str = "==") -> list[Any]:
    return [(f"{field}{n}", op, n) for n in range(count)]


SINGLE_NEGATION = (
    "Only a single 'NOT_EQUAL', 'NOT_IN', 'IS_NOT_NAN', or 'IS_NOT_NULL' filter allowed per query."
)
NO_NOT_IN = "'NOT_IN' cannot be used in the same query with 'IN', 'ARRAY_CONTAINS_ANY' or 'OR'."
AFTER_KEY = "order by clause cannot contain more fields after the key"

FILTERS = [
    finds("equal", "the field is equal to the value", query(("country", "==", "CH")), ["bern"]),
    finds("equal-map", "a map's too", query(("at", "==", {"x": 1})), ["bern", "rome"]),
    finds("equal-array", "an array's too", query(("tags", "==", ["small"])), ["bonn"]),
    finds("equal-nested", "also in a map", query(("at.x", "==", 1)), ["bern", "rome"]),
    finds("equal-quoted", "names that are no identifiers are quoted", query(("`odd.name`", "==", 1)), ["oslo"]),
    finds("less", "less than the value, and in this order", query(("people", "<", 717)), ["bern", "bonn"]),
    finds("less-or-equal", "or equal", query(("people", "<=", 717)), ["bern", "bonn", "oslo"]),
    finds("greater", "greater than the value", query(("people", ">", 717)), ["rome"]),
    finds("greater-or-equal", "or equal", query(("people", ">=", 717.0)), ["oslo", "rome"]),
    finds("range", "between two values", query(("and", ("people", ">", 146), ("people", "<", 2750))), ["bonn", "oslo"]),
    finds("range-type", "only values of the same type compare", query(("v", ">=", 0)), ["c"], ODD),
    finds("range-text", "of text as well", query(("v", ">", "")), ["d"], ODD),
    finds("not-equal", "exists, and is not the value; null is not", query(("country", "!=", "CH")), ["bonn", "rome", "oslo"]),
    finds("not-equal-all-types", "values of other types are not equal", query(("v", "!=", 1)), ["b", "d", "e", "f"], ODD),
    finds("in", "equal to at least one value", query(("country", "in", ["NO", "CH", "XX"])), ["bern", "oslo"]),
    finds("in-twice", "each document once", query(("people", "in", [146, 146.0, 146])), ["bern"]),
    finds("not-in", "exists, and is none of the values", query(("country", "not in", ["CH", "IT"])), ["bonn", "oslo"]),
    finds("not-in-null", "with a null among them nothing is found", query(("country", "not in", ["CH", None])), []),
    finds("contains", "an array that contains the value", query(("tags", "contains", "old")), ["bern", "rome"]),
    finds("contains-any", "an array that contains any of the values", query(("tags", "contains any", ["small", "big"])), ["bern", "bonn", "rome"]),
    finds("contains-map", "elements are compared whole", query(("v", "contains", {"k": 1})), ["x"], {"c/x": {"v": [{"k": 1.0}]}, "c/y": {"v": [{"k": 1, "l": 1}]}}),
    finds("is-null", "is null", query(("country", "is null")), ["nowhere"]),
    finds("is-not-null", "exists, and is not null", query(("v", "is not null")), ["b", "c", "d", "e", "f"], ODD),
    finds("is-nan", "is NaN", query(("v", "is nan")), ["b"], ODD),
    finds("is-not-nan", "exists, and is neither NaN nor null", query(("v", "is not nan")), ["c", "d", "e", "f"], ODD),
    finds("equal-null", "only IS_NULL finds nulls", query(("v", "==", None)), [], ODD),
    finds("equal-nan", "only IS_NAN finds NaN", query(("v", "==", NAN)), [], ODD),
    finds("not-equal-null", "only IS_NOT_NULL excludes nulls", query(("v", "!=", None)), [], ODD),
    finds("in-null", "IN finds neither", query(("v", "in", [None, NAN, 1])), ["c"], ODD),
    finds("contains-null", "nor do arrays contain them", query(("v", "contains", None)), [], ODD),
    finds("contains-any-null", "but what else is asked for", query(("v", "contains any", [None, NAN, 1])), ["e"], ODD),
    finds("range-null", "null compares with nothing", query(("v", ">=", None)), [], ODD),
    finds("range-nan", "neither does NaN", query(("v", "<=", NAN)), [], ODD),
    finds("and", "all filters", query(("and", ("country", "==", "CH"), ("people", "<", 200))), ["bern"]),
    finds("or", "at least one", query(("or", ("country", "==", "NO"), ("people", "<", 200))), ["bern", "oslo"]),
    finds("and-of-or", "of each other", query(("and", ("or", ("country", "==", "NO"), ("country", "==", "CH")), ("people", ">", 200))), ["oslo"]),
    finds("or-lacks", "an OR with an inequality leaves out what lacks its field", query(("or", ("people", ">", 9999), ("tags", "==", "old"))), []),
    finds("two-inequalities", "ranges of several fields", query(("and", ("people", ">", 150), ("at.x", ">", 0))), ["rome", "bonn"]),
    finds("name", "a document by its name", query((NAME, "==", Reference("c/rome"))), ["rome"]),
    finds("name-in", "several", query((NAME, "in", [Reference("c/rome"), Reference("c/bern"), Reference("c/none")])), ["bern", "rome"]),
    finds("name-range", "names compare too", query((NAME, ">", Reference("c/nowhere"))), ["oslo", "rome"]),
    finds("name-not-in", "and exclude", query((NAME, "not in", [Reference("c/rome"), Reference("c/bern")])), ["bonn", "nowhere", "oslo"]),
    refuses("name-text", "with references", query((NAME, "==", "rome")), "__key__ filter value must be a Key"),
    refuses("name-null", "not null", query((NAME, "is null")), "__key__ filter value must be a Key"),
    refuses("name-array", "a name is no array", query((NAME, "contains", Reference("c/1"))), "the name __key__ is reserved"),
    refuses("name-collection", "with documents", query((NAME, "==", Reference("c"))), f'Document parent name "{name_of("c")}" lacks "/" at index'),
    refuses("name-elsewhere", "of the same database", query((NAME, "==", protos.Value(reference_value="projects/p/databases/d/documents/c/1"))),
            "attempting to access database 'projects/p/databases/d'"),
    refuses("in-empty", "IN takes a non-empty array", query(("a", "in", [])), "'IN' requires an non-empty ArrayValue."),
    refuses("in-scalar", "an array", query(("a", "in", 1)), "'IN' requires an ArrayValue."),
    refuses("in-31", "of at most 30 values", query(("a", "in", list(range(31)))), "'IN' supports up to 30 comparison values."),
    refuses("contains-any-31", "and so does ARRAY_CONTAINS_ANY", query(("a", "contains any", list(range(31)))), "'ARRAY_CONTAINS_ANY' supports up to 30 comparison values."),
    refuses("not-in-11", "NOT_IN takes at most 10 values", query(("a", "not in", list(range(11)))), "'NOT_IN' supports up to 10 comparison values."),
    finds("in-30", "30 disjunctions are allowed", query(("people", "in", list(range(120, 150)))), ["bern"]),
    refuses("disjunctions-31", "and no more, in disjunctive normal form", query(("or", ("a", "in", list(range(30))), ("b", "==", 1))),
            "Too many disjunctions after normalization. Result had 31 disjunctions which is more than the maximum of 30"),
    refuses("disjunctions-product", "where those of an AND multiply", query(("and", ("a", "in", list(range(6))), ("b", "in", list(range(6))))),
            "Result had 36 disjunctions"),
    refuses("two-not-equal", "no other NOT_EQUAL, NOT_IN, IS_NOT_NULL, or IS_NOT_NAN", query(("and", ("a", "!=", 1), ("b", "!=", 1))), SINGLE_NEGATION),
    refuses("not-equal-not-null", "of any kind", query(("and", ("a", "!=", 1), ("b", "is not null"))), SINGLE_NEGATION),
    refuses("not-in-not-equal", "together", query(("and", ("a", "not in", [1]), ("a", "!=", 2))), SINGLE_NEGATION),
    refuses("not-in-in", "NOT_IN: no IN", query(("and", ("a", "not in", [1]), ("b", "in", [2]))), NO_NOT_IN),
    refuses("not-in-contains-any", "no ARRAY_CONTAINS_ANY", query(("and", ("a", "not in", [1]), ("b", "contains any", [2]))), NO_NOT_IN),
    refuses("not-in-or", "no OR", query(("or", ("a", "not in", [1]), ("b", "==", 2))), NO_NOT_IN),
    refuses("two-contains", "one ARRAY_CONTAINS in a disjunction", query(("and", ("a", "contains", 1), ("b", "contains", 1))),
            "A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction."),
    refuses("contains-and-any", "of either kind", query(("and", ("a", "contains", 1), ("b", "contains any", [1]))),
            "A maximum of 1 'ARRAY_CONTAINS' filter is allowed per disjunction."),
    finds("contains-or-contains", "but one in each", query(("or", ("tags", "contains", "big"), ("tags", "contains", "small"))), ["bern", "bonn", "rome"]),
    refuses("inequalities-11", "at most 10 fields are compared by inequality", query(("and", *many(11, op=">"))),
            "The query contains 11 distinct inequality fields: [a0, a1, a10"),
    finds("inequalities-10", "which is allowed", query(("and", *many(10, op=">"))), []),
    refuses("components-101", "filters, sort orders and the ancestor are at most 100", query(("and", *many(100)), "z"),
            "The query may not have more than 100 filters + sort orders + ancestor total. Currently there are 100 filters, 1 sort orders, and no ancestor"),
    refuses("components-ancestor", "of which a parent document is one", query(("and", *many(100))), "and one ancestor filter", parent="a/1"),
    refuses("components-expanded", "filters of each disjunction count", query(("and", ("x", "in", list(range(30))), *many(3))), "Currently there are 120 filters"),
    finds("components-100", "100 are allowed", query(("and", *many(100))), []),
    refuses("key-equality", "an equality on the name and an inequality on another field", query(("and", (NAME, "==", Reference("c/1")), ("a", "!=", 1))),
            "Equality on key is not allowed if there are other inequality fields and key does not appear in inequalities."),
    refuses("composite-empty", "at least one filter is present", query(("and",)), "Composite filter must have at least one sub-filter."),
    refuses("or-empty", "in an OR as well", query(("or",)), "Composite filter must have at least one sub-filter."),
    refuses("composite-operator", "OPERATOR_UNSPECIFIED must not be used",
            protos.StructuredQuery(where={"composite_filter": {"filters": [{"unary_filter": {"op": 3, "field": {"field_path": "a"}}}]}}),
            "Unsupported CompositeFilter operator."),
    refuses("field-operator", "neither in a field filter",
            protos.StructuredQuery(where={"field_filter": {"field": {"field_path": "a"}, "value": {"integer_value": 1}}}), "Unknown FieldFilter operator."),
    refuses("unary-operator", "nor in a unary one", protos.StructuredQuery(where={"unary_filter": {"field": {"field_path": "a"}}}), "Unknown UnaryFilter operator."),
    refuses("path-malformed", "paths follow their syntax", query(("a..b", "==", 1)), 'Invalid property path "a..b".'),
    refuses("path-reserved", "and are not reserved", query(("__x__", "==", 1)), "Invalid reserved name in field path __x__"),
    refuses("no-value", "a value has a type", query(("a", "==", protos.Value())), "type unset"),
]  # fmt: skip

ORDERS = [
    finds("unordered", "by name", query(), ["bern", "bonn", "nowhere", "oslo", "rome"]),
    finds("ordered", "by a field; documents that lack it are left out", query(None, "people"), ["bern", "bonn", "oslo", "rome"]),
    finds("ordered-falling", "descending", query(None, "-people"), ["rome", "oslo", "bonn", "bern"]),
    finds("ordered-twice", "by several fields, then by name in the last direction", query(None, "at.x", "-people"), ["rome", "bern", "bonn"]),
    finds("ordered-ties", "ties by name in the direction of the last order", query(None, "-at.x"), ["bonn", "rome", "bern"]),
    finds("ordered-name", "by name", query(None, "-at.x", NAME), ["bonn", "bern", "rome"]),
    finds("ordered-equality", "a field that is compared by equality may order", query(("country", "==", "CH"), "country", "people"), ["bern"]),
    finds("implicit", "what is compared by inequality orders the result", query(("people", ">", 0)), ["bern", "bonn", "oslo", "rome"]),
    finds("implicit-direction", "behind the orders given, in the direction of the last", query(("people", ">", 0), "-at.x"), ["bonn", "rome", "bern"]),
    finds("implicit-lexicographical", "several by their names", query(("and", ("people", ">", 0), ("at.x", ">", 0))), ["bern", "rome", "bonn"]),
    finds("inequality-elsewhere", "the first order need not be the field of the inequality", query(("people", ">", 146), "country"), ["bonn", "rome", "oslo"]),
    refuses("ordered-same", "no field twice", query(None, "a", "-a"), "order by clause cannot contain duplicate fields a"),
    refuses("after-name", "nothing behind the name", query(None, NAME, "a"), AFTER_KEY),
    refuses("after-name-implicit", "an inequality's field is behind it as well", query(("a", "!=", 42), NAME), AFTER_KEY),
    finds("limit", "at most so many", query(None, "people", limit=2), ["bern", "bonn"]),
    finds("limit-0", "none at all", query(limit=0), []),
    refuses("limit-negative", "greater than or equal to zero", query(limit=-1), "limit is negative"),
    finds("offset", "skips", query(None, "people", offset=1, limit=2), ["bonn", "oslo"]),
    finds("offset-all", "everything, if it has to", query(offset=99), []),
    refuses("offset-negative", "greater than or equal to zero", query(offset=-1), "offset is negative"),
    Row("skipped", "skipped_results tells how many", [run(query(offset=2)).showing(lambda r: sum(one.skipped_results for one in r))], 2, CITIES),
    Row("nothing", "a response without a document tells the read time", [run(query(of="none")).showing(lambda r: [one.HasField("read_time") for one in r])], [True]),
    finds("start-at", "right before the values", query(None, "people", start=[336]), ["bonn", "oslo", "rome"]),
    finds("start-after", "right behind them", query(None, "people", start=([336], "behind")), ["oslo", "rome"]),
    finds("end-at", "ends right behind the values", query(None, "people", end=([336], "behind")), ["bern", "bonn"]),
    finds("end-before", "or before them", query(None, "people", end=[336]), ["bern"]),
    finds("cursor-falling", "in the query's direction", query(None, "-people", start=[717], end=([336], "behind")), ["oslo", "bonn"]),
    finds("cursor-prefix", "a prefix of the order", query(None, "at.x", "people", start=([1], "behind")), ["bonn"]),
    finds("cursor-whole", "or all of it", query(None, "at.x", "people", start=([1, 146], "behind")), ["rome", "bonn"]),
    finds("cursor-nowhere", "need not be a document's", query(None, "people", start=[200]), ["bonn", "oslo", "rome"]),
    finds("cursor-type", "a value of another type has its place too", query(None, "country", start=[0]), ["bern", "bonn", "rome", "oslo"]),
    finds("cursor-name", "names are references", query(None, NAME, start=([Reference("c/bonn")], "behind")), ["nowhere", "oslo", "rome"]),
    finds("cursor-tie", "as the last resort", query(None, "at.x", NAME, start=([1, Reference("c/bern")], "behind")), ["rome", "bonn"]),
    finds("cursor-crossed", "an end before the start", query(None, "people", start=[700], end=[100]), []),
    refuses("cursor-too-many", "no more values than there are orders", query(None, "a", start=[1, 2]), "Cursor has too many values."),
    refuses("cursor-unordered", "which are stated", query(start=[Reference("c/1")]), "Cursor has too many values."),
    refuses("cursor-implicit", "an inequality's does not count", query(("a", ">", 1), end=[2]), "Cursor has too many values."),
    refuses("cursor-name-text", "a name is a reference", query(None, NAME, start=["bern"]), "Cursor __key__ value is not a document reference."),
    refuses("cursor-elsewhere", "of the same database", query(None, NAME, start=[protos.Value(reference_value="projects/p/databases/d/documents/c/1")]),
            "The cursor key is in a different database than the query"),
    shows("select", "the fields to return", query(("country", "==", "CH"), select=["people", "at.x", "none"]), [["c/bern", {"at": {"x": 1}, "people": 146}]]),
    shows("select-name", "only the name", query(("country", "==", "CH"), select=[NAME]), [["c/bern", {}]]),
    shows("select-nothing", "if empty, all fields are returned", query(("country", "==", "NO"), select=[]), [["c/oslo", CITIES["c/oslo"]]]),
    shows("select-twice", "the same field twice, once", query(("country", "==", "CH"), select=["people", "people"]), [["c/bern", {"people": 146}]]),
    shows("select-quoted", "names that are no identifiers are quoted", query(("country", "==", "NO"), select=["`odd.name`"]), [["c/oslo", {"odd.name": 1}]]),
    finds("collection", "those of one collection", query(None), ["1"], TREE),
    finds("subcollection", "under a document", query(), ["2"], TREE, parent="c/1"),
    finds("group", "all collections of this ID", query(group=True), ["1", "2", "5"], TREE),
    finds("group-below", "all that lie below a document", query(group=True), ["5"], TREE, parent="d/4"),
    finds("group-below-name", "names can be compared there", query((NAME, ">", Reference("c/1")), NAME, group=True), ["5"], TREE, parent="d/4"),
    refuses("group-below-filter", "but nothing else", query(("n", "==", 1), group=True), "collection group queries are only allowed at the root parent", parent="d/4"),
    refuses("group-below-null", "no null either", query(("n", "is null"), group=True), "collection group queries are only allowed at the root parent", parent="d/4"),
    refuses("group-below-order", "nor ordered by", query(None, "n", group=True), "collection group queries are only allowed at the root parent", parent="d/4"),
    Row("group-below-descending", "not even by name, falling", [run(query(None, f"-{NAME}", group=True), "d/4")],
        Fails("FAILED_PRECONDITION", "The query requires an index.")),
    finds("group-filter", "with filters", query(("n", ">", 1), group=True), ["2", "5"], TREE),
    finds("kindless", "without a collection ID: everything right below", query(of=""), ["1", "4"], TREE),
    finds("kindless-group", "and everything at all", query(of="", group=True), ["1", "2", "3", "4", "5"], TREE),
    finds("kindless-none", "as without a selector", query(of=None), ["1", "2", "3", "4", "5"], TREE),
    finds("kindless-name", "names can be compared", query((NAME, ">=", Reference("d/4")), of="", group=True), ["4", "5"], TREE),
    refuses("kindless-filter", "but nothing else", query(("n", "==", 1), of="", group=True), "kind is required for filter: n"),
    refuses("kindless-order", "nor ordered by", query(None, "n", of="", group=True), "kind is required for all orders except __key__ ascending"),
    refuses("two-collections", "one collection selector at most", protos.StructuredQuery(from_=[{"collection_id": "a"}, {"collection_id": "b"}]),
            "StructuredQuery.from cannot have more than one collection selector."),
    refuses("collection-path", "an ID, no path", query(of="a/1/b"), 'Collection id "a/1/b" is invalid because it contains "/".'),
    refuses("collection-reserved", "that is not reserved", query(of="__x__"), 'Collection id "__x__" is invalid because it is reserved.'),
    refuses("parent-collection", "a parent is a document or the root", query(), 'lacks "/" at index', parent="a"),
    Row("no-query", "there is a query", [Call("RunQuery", protos.RunQueryRequest(parent=name_of("")))], Fails("INVALID_ARGUMENT", "only structured queries are supported")),
    Row("read-time-future", "not in the future", [run(query(), read_time=protos.Timestamp(seconds=4_000_000_000))], Fails("INVALID_ARGUMENT", "future")),
    Row("read-time-old", "not more than an hour ago", [run(query(), read_time=protos.Timestamp(seconds=1_000_000_000))], Fails("FAILED_PRECONDITION", "too old")),
    Row("read-time-precision", "of microseconds", [run(query(), read_time=protos.Timestamp(seconds=1_000_000_000, nanos=1))], Fails("INVALID_ARGUMENT", "microsecond")),
    Row("after-a-write", "a query sees every commit before it", [commit(put("c/x", {"n": 1})), run(query(("n", "==", 1)))], ["x"]),
    Row("timestamps", "timestamps order", [run(query(None, "t"))], ["b", "a"], {"c/a": {"t": Moment(2)}, "c/b": {"t": Moment(1, 5_000)}}),
]  # fmt: skip


@table(FILTERS)
async def test_filters_do_what_the_documentation_says(way: Way, row: Row) -> None:
    await row.check(way)


@table(ORDERS)
async def test_orders_cursors_and_selections_do_what_the_documentation_says(way: Way, row: Row) -> None:
    await row.check(way)
