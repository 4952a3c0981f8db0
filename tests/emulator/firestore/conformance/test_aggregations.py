"""count, sum and average: `StructuredAggregationQuery` in google/firestore/v1/query.proto."""

from __future__ import annotations

import math
from typing import Any

from emulator.firestore import protos
from tests.emulator.firestore.conformance.calls import NAME, Call, aggregate, average, count, query, total
from tests.emulator.firestore.conformance.plain import name_of, vector
from tests.emulator.firestore.conformance.rows import Fails, Row, table
from tests.emulator.firestore.conformance.ways import Way

NAN, INFINITY, MAX = math.nan, math.inf, 2**63 - 1


def of(*values: Any) -> dict[str, dict[str, Any]]:
    """Documents with these values."""
    return {f"c/{n:02}": {"v": one} for n, one in enumerate(values)}


def sums(id: str, says: str, values: list[Any], sum_: Any, mean: Any) -> Row:
    return Row(
        id, says, [aggregate(query(), s=total("v"), m=average("v"))], {"s": sum_, "m": mean}, of(*values)
    )


def refuses(id: str, says: str, call: Call, message: str) -> Row:
    return Row(id, says, [call], Fails("INVALID_ARGUMENT", message))


BOOKS = {
    "c/a": {"pages": 100, "year": 1980}, "c/b": {"pages": 50, "year": 2020}, "c/c": {"pages": 150, "year": 2021}, "c/d": {"pages": 50},
    "c/e": {"year": 2000}, "c/f": {"pages": "many", "year": 1},
}  # fmt: skip

ROWS = [
    Row("count", "COUNT(*): documents that match", [aggregate(query(), n=count())], {"n": 6}, BOOKS),
    Row("count-filter", "with filters", [aggregate(query(("pages", "==", 50)), n=count())], {"n": 2}, BOOKS),
    Row("count-nothing", "nothing is zero", [aggregate(query(of="none"), n=count())], {"n": 0}),
    Row("count-limit", "after limit", [aggregate(query(limit=4), n=count())], {"n": 4}, BOOKS),
    Row("count-offset", "and offset", [aggregate(query(offset=4, limit=4), n=count())], {"n": 2}, BOOKS),
    Row("count-cursor", "and cursors", [aggregate(query(None, "pages", start=([50], "behind")), n=count())], {"n": 3}, BOOKS),
    Row("count-group", "of a collection group", [aggregate(query(group=True), n=count())], {"n": 2}, {"c/1": {}, "a/1/c/2": {}}),
    Row("count-up-to", "up_to bounds it", [aggregate(query(), n=count(4), m=count(9), k=count())], {"n": 4, "m": 6, "k": 6}, BOOKS),
    Row("count-up-to-limit", "as does a limit, whichever is less", [aggregate(query(limit=3), n=count(4), m=count(2))], {"n": 3, "m": 2}, BOOKS),
    Row("count-up-to-offset", "behind the offset", [aggregate(query(offset=5), n=count(4))], {"n": 1}, BOOKS),
    refuses("count-up-to-0", "up_to must be greater than zero", aggregate(query(), n=count(0)), "greater than zero"),
    refuses("count-up-to-negative", "not less", aggregate(query(), n=count(-1)), "greater than zero"),
    sums("integers", "the sum of integers is an integer, an average always a double", [1, 2, 3], 6, 2.0),
    sums("doubles", "one double makes a double", [1, 0.5], 1.5, 0.75),
    sums("whole-doubles", "even if it is whole", [1.0, 2], 3.0, 1.5),
    sums("not-numbers", "values that are no numbers are skipped", [1, "5", None, True, [7], {"x": 7}, vector(7), 3], 4, 2.0),
    sums("no-numbers", "of nothing the sum is 0, the average null", ["x", None], 0, None),
    sums("none", "also if there is no document", [], 0, None),
    sums("nan", "with NaN, both are NaN", [1, NAN], NAN, NAN),
    sums("infinity", "infinity math follows IEEE 754", [1, INFINITY], INFINITY, INFINITY),
    sums("infinities", "both infinities make NaN", [INFINITY, -INFINITY], NAN, NAN),
    sums("overflow", "a sum that does not fit into 64 bits is a double", [MAX, 1], float(2**63), float(2**62)),
    sums("overflow-back", "but not if it fits in the end", [MAX, 1, -1], MAX, MAX / 3),
    sums("underflow", "to the other side too", [-MAX - 1, -1], -float(2**63), -float(2**62)),
    sums("double-overflow", "doubles overflow to infinity", [1.7976931348623157e308, 1.7976931348623157e308], INFINITY, INFINITY),
    sums("negative-zero", "negative zeros sum up to zero", [-0.0, -0.0], 0.0, 0.0),
    Row("nested", "of a nested field", [aggregate(query(), s=total("m.x"))], {"s": 6}, {"c/1": {"m": {"x": 5}}, "c/2": {"m": {"x": 1}}, "c/3": {"m": 1}}),
    Row("quoted", "of a field whose name is quoted", [aggregate(query(), s=total("`a.b`"))], {"s": 5}, {"c/1": {"a.b": 5}}),
    Row("field-missing", "documents that lack a field that is aggregated are left out, of all aggregations",
        [aggregate(query(), n=count(), p=total("pages"), y=average("year"))], {"n": 4, "p": 300, "y": 1505.5}, BOOKS),
    Row("field-missing-limit", "before the limit", [aggregate(query(limit=4), n=count(), p=total("pages"))], {"n": 4, "p": 350}, BOOKS),
    Row("field-missing-order", "which follows an order that is given", [aggregate(query(None, "year", limit=2), p=total("pages"))], {"p": 100}, BOOKS),
    Row("alias-default", "the default aliases are field_1, field_2, ... over the unnamed",
        [aggregate(query(), unnamed_1=count(), named=count(), unnamed_2=total("pages"))], {"field_1": 5, "named": 5, "field_2": 350}, BOOKS),
    Row("alias-odd", "an alias may be any field name", [aggregate(query(), **{"a b.c": count()})], {"a b.c": 6}, BOOKS),
    refuses("alias-twice", "aliases are unique", Call("RunAggregationQuery", protos.RunAggregationQueryRequest(
        parent=name_of(""), structured_aggregation_query={"structured_query": query(), "aggregations": [
            {"count": {}, "alias": "n"}, {"count": {}, "alias": "n"}]})), "Aggregation aliases contain duplicate alias: n."),
    refuses("alias-default-taken", "the default ones too", aggregate(query(), field_1=count(), unnamed=count()), "duplicate alias: field_1."),
    refuses("alias-reserved", "and no reserved field names", aggregate(query(), __x__=count()), 'The property.name "__x__" is reserved.'),
    refuses("alias-long", "of at most 1,500 bytes", aggregate(query(), **{"x" * 1_501: count()}), "The property.name is longer than 1500 bytes."),
    Row("five", "up to five aggregations", [aggregate(query(), a=count(), b=count(), c=count(), d=count(), e=count())], dict.fromkeys("abcde", 0)),
    refuses("six", "and no more", aggregate(query(), **{name: count() for name in "abcdef"}),
            "The maximum number of aggregations allowed in an aggregation query is 5. Received: 6"),
    refuses("no-aggregation", "at least one", aggregate(query()), "Aggregations can not be empty."),
    refuses("no-operator", "each has an operator", aggregate(query(), n={}), "Operator field in Aggregation is not set."),
    refuses("of-the-name", "a name is no number", aggregate(query(), s=total(NAME)), "Aggregations are not supported for the property: __key__"),
    refuses("of-nothing", "a field has a path", aggregate(query(), s=total("")), "Invalid empty property path string."),
    refuses("of-malformed", "that follows the syntax", aggregate(query(), s=average("a.")), "Invalid property path"),
    refuses("behind-the-name", "what is aggregated orders behind the orders given, which the name ends", aggregate(query(None, NAME), s=total("v")),
            "This query requires an index with fields [v] after __name__"),
    Row("count-below", "what lies below a document can be counted", [aggregate(query(group=True), "a/1", n=count())], {"n": 1}, {"c/1": {"v": 1}, "a/1/c/2": {"v": 2}}),
    refuses("sum-below", "but there are only the names to go through", aggregate(query(group=True), "a/1", s=total("v")),
            "This query requires an index with fields [v] after __name__"),
    refuses("sum-kindless", "as without a collection ID", aggregate(query(of="", group=True), s=total("v")),
            "This query requires an index with fields [v] after __name__"),
    refuses("no-query", "there is a query", Call("RunAggregationQuery", protos.RunAggregationQueryRequest(parent=name_of(""))),
            "Only structured aggregation queries are supported."),
    refuses("malformed-query", "which is a good one", aggregate(query(limit=-1), n=count()), "limit is negative"),
]  # fmt: skip


@table(ROWS)
async def test_aggregations_do_what_the_documentation_says(way: Way, row: Row) -> None:
    await row.check(way)
