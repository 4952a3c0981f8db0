"""Values of every type, as they come back and as they are ordered: google/firestore/v1/document.proto, "data types"."""

from __future__ import annotations

import math
from typing import Any

from emulator.firestore import protos
from tests.emulator.firestore.conformance.calls import commit, get, put, query, run
from tests.emulator.firestore.conformance.plain import Moment, Point, Reference, Vector, value, vector
from tests.emulator.firestore.conformance.rows import Fails, Row, table
from tests.emulator.firestore.conformance.ways import Way

NAN, INFINITY = math.nan, math.inf
DEEPEST: Any = 1
for _ in range(19):
    DEEPEST = {"x": DEEPEST}


def comes_back(id: str, says: str, given: Any, back: Any = None) -> Row:
    return Row(
        id, says, [commit(put("a/1", {"v": given})), get("a/1")], {"v": given if back is None else back}
    )


def is_refused(id: str, says: str, given: Any, message: str = "") -> Row:
    return Row(
        id, says, [commit(put("a/1", {"v": given}))], Fails("INVALID_ARGUMENT", message), leaves={"a/1": None}
    )


ORDERED: list[Any] = [
    None, False, True, NAN, -INFINITY, -(2**63), -1.5, -1, 0, 1, 1.5, 2**53, 2**53 + 1, 2**63 - 1, INFINITY,
    Moment(-1, 999_999_000), Moment(0), Moment(0, 1_000), "", "\0", "Z", "a", "a\0", "aa", "é", "\uffff", "\U0001f600",
    b"", b"\0", b"\xff", Reference("a/b"), Reference("a/b/c/d"), Reference("a/c"), Point(-90.0, 0.0), Point(0.0, -1.0), Point(0.0, 1.0),
    [], [1], [1, 1], [2], vector(5), vector(1, 2), vector(1, 3), vector(0, 0, 0), {}, {"a": 1}, {"a": 1, "b": 0}, {"a": 2}, {"b": 0},
]  # fmt: skip
ALL = {f"c/{n:02}": {"v": one} for n, one in enumerate(ORDERED)}
IDS = [f"{n:02}" for n in range(len(ORDERED))]

ROWS = [
    comes_back("null", "null_value", None),
    comes_back("booleans", "boolean_value", [True, False]),
    comes_back("integers", "integer_value, 64 bits", [0, 2**63 - 1, -(2**63)]),
    comes_back("doubles", "double_value, IEEE 754", [0.0, -0.0, 5e-324, 1.7976931348623157e308, INFINITY, -INFINITY, NAN]),
    comes_back("integer-or-double", "an integer stays one, and so does a double", [3, 3.0]),
    comes_back("timestamps", "precise to microseconds", Moment(1_700_000_000, 123_456_000)),
    comes_back("timestamps-cut", "additional precision is rounded down", Moment(1_700_000_000, 123_456_789), Moment(1_700_000_000, 123_456_000)),
    comes_back("timestamps-cut-down", "down, before 1970 too", Moment(-1, 999_999_999), Moment(-1, 999_999_000)),
    comes_back("timestamps-nested", "wherever they are", [Moment(0, 1_999), {"t": Moment(0, 2_001)}], [Moment(0, 1_000), {"t": Moment(0, 2_000)}]),
    comes_back("timestamps-first-last", "from year 1 to 9999", [Moment(-62_135_596_800), Moment(253_402_300_799, 999_999_000)]),
    comes_back("strings", "UTF-8, any characters", ["", "\0", "é", "\U0001f600"]),
    comes_back("bytes", "bytes_value", [b"", b"\0\xff"]),
    comes_back("references", "reference_value", [Reference("a/1"), Reference("a/1/b/2")]),
    comes_back("geo-points", "latitude and longitude, at their limits", [Point(90.0, 180.0), Point(-90.0, -180.0), Point(-0.0, 0.0)]),
    comes_back("arrays", "an array may hold maps, and these arrays", [1, {"a": [{"b": []}]}]),
    comes_back("maps", "keys may be any text", {"a b": 1, "é": {"x.y": 2}}),
    comes_back("map-empty", "an empty map and an empty array are values", [{}, {"a": []}]),
    comes_back("vector", "a vector is a value", vector(1, -0.5, 3)),
    comes_back("vector-2048", "of 2,048 dimensions at most", Vector((0.5,) * 2_048)),
    comes_back("depth-20", "maps and arrays nest 20 deep", DEEPEST),
    is_refused("depth-21", "and no deeper", {"x": DEEPEST}, "20 levels"),
    is_refused("array-in-array", "an array cannot contain another array", [[1]], "array"),
    is_refused("array-in-array-in-map", "not in a map either", {"a": [[]]}, "array"),
    is_refused("no-type", "a value has a type", protos.Value(), "type unset"),
    is_refused("latitude", "a latitude of -90 to 90", Point(90.1, 0), "latitude"),
    is_refused("longitude", "a longitude of -180 to 180", Point(0, -180.1), "longitude"),
    is_refused("latitude-nan", "which NaN is not", Point(NAN, 0), "latitude"),
    is_refused("timestamp-late", "a timestamp lies in the years 1 to 9999", Moment(253_402_300_800), "years"),
    is_refused("timestamp-early", "and not before", Moment(-62_135_596_801), "years"),
    is_refused("timestamp-nanos", "nanos are those of a second", Moment(0, 1_000_000_000), "timestamp"),
    is_refused("nested-key-reserved", "keys must not match __.*__", {"__a__": 1}, "reserved"),
    is_refused("key-empty", "keys must not be empty", {"": 1}, "empty"),
    is_refused("key-long", "keys have at most 1,500 bytes", {"é" * 751: 1}, "1500 bytes"),
    is_refused("vector-empty", "a vector has a dimension", vector(), "Cannot have a zero length vector."),
    is_refused("vector-2049", "2,048 at most", Vector((0.5,) * 2_049), "Vectors must be at most 2048 dimensions."),
    is_refused("vector-nan", "of numbers", vector(1, NAN), "Vector cannot contain NaN values."),
    is_refused("vector-integers", "of doubles", {"__type__": "__vector__", "value": [1]}, "Vector must only contain values of type 'double'"),
    is_refused("vector-without", "a vector has its value", {"__type__": "__vector__"}, "Vector map is missing key 'value'."),
    is_refused("vector-more", "and nothing else", {"__type__": "__vector__", "value": [1.0], "x": 1}, "extraneous entries"),
    is_refused("vector-no-array", "which is an array", {"__type__": "__vector__", "value": 1.0}, "Vector value type must be an array."),
    is_refused("type-unknown", "no other maps have a type", {"__type__": "other", "value": [1.0]}),
    Row("order", "types in their order, values within them", [run(query(None, "v"))], IDS, ALL),
    Row("order-falling", "and backwards", [run(query(None, "-v"))], IDS[::-1], ALL),
    Row("numbers-mixed", "integers and doubles are ordered together",
        [run(query(None, "v"))], ["b", "a", "c"], {"c/a": {"v": 1}, "c/b": {"v": 0.5}, "c/c": {"v": 1.5}}),
    Row("numbers-same", "1 and 1.0 are the same, and so are 0, 0.0 and -0.0",
        [run(query(("v", "in", [1.0, 0])))], ["a", "b", "d", "e", "f"],
        {"c/a": {"v": 1}, "c/b": {"v": 1.0}, "c/c": {"v": True}, "c/d": {"v": 0}, "c/e": {"v": -0.0}, "c/f": {"v": 0.0}}),
    Row("integers-exact", "2^53 and 2^53 + 1 are not the same", [run(query(("v", "==", 2**53 + 1)))], ["b"],
        {"c/a": {"v": 2**53}, "c/b": {"v": 2**53 + 1}, "c/c": {"v": float(2**53)}}),
    Row("strings-by-bytes", "strings are ordered by their UTF-8 bytes, not by UTF-16", [run(query(None, "v"))], ["b", "a"],
        {"c/a": {"v": "\U0001f600"}, "c/b": {"v": "\uffff"}}),
    Row("maps-compare-whole", "a map is equal to one with the same keys and values", [run(query(("v", "==", {"b": 1, "a": [1.0]})))], ["x"],
        {"c/x": {"v": {"a": [1], "b": 1.0}}, "c/y": {"v": {"a": [1]}}, "c/z": {"v": {"a": [1], "b": 1, "c": 1}}}),
    Row("timestamps-compare-cut", "what is stored is what is compared", [run(query(("v", "==", Moment(5, 1_234))))], ["x"],
        {"c/x": {"v": Moment(5, 1_999)}, "c/y": {"v": Moment(5, 2_000)}}),
    Row("names", "documents are ordered by their names' segments, numeric IDs first", [run(query())], ["__id-5__", "__id9__", "__id10__", "A", "a", "a0", "é"],
        {f"c/{id}": {} for id in ("a", "A", "a0", "é", "__id9__", "__id10__", "__id-5__")}),
]  # fmt: skip


@table(ROWS)
async def test_values_are_what_the_documentation_says(way: Way, row: Row) -> None:
    await row.check(way)


def test_the_helpers_of_the_table_tell_values_apart() -> None:
    assert value(1) != value(1.0)
    assert len({repr(one) for one in ORDERED}) == len(ORDERED)
