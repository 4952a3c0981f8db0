"""Field transforms and their results: `DocumentTransform.FieldTransform` in google/firestore/v1/write.proto."""

from __future__ import annotations

import math
from typing import Any

from emulator.firestore import protos
from tests.emulator.firestore.conformance.calls import (
    DATABASE,
    SERVER_TIME,
    Call,
    commit,
    exists,
    get,
    increment,
    maximum,
    minimum,
    put,
    remove,
    transform,
    union,
)
from tests.emulator.firestore.conformance.plain import Moment, vector
from tests.emulator.firestore.conformance.rows import Fails, Row, table
from tests.emulator.firestore.conformance.ways import Way

NAN, MAX, MIN = math.nan, 2**63 - 1, -(2**63)
MISSING: Any = object()
MIXED = [1, 1.0, "1", None, NAN, {"k": 1}, {"k": 1.0}, True]


def becomes(
    id: str, says: str, before: Any, operation: dict[str, Any], after: Any, result: Any = MISSING
) -> Row:
    """One operation on one field: what it is afterwards, and the transform's result (the same, unless given)."""
    given = {} if before is MISSING else {"a/1": {"v": before}}
    expected = [after if result is MISSING else result]
    return Row(id, says, [commit(transform("a/1", v=operation))], expected, given, {"a/1": {"v": after}})


def times(responses: list[Any]) -> Any:
    """Whether the server's time is the commit's, with millisecond precision, and one and the same everywhere."""
    found = {
        (one.timestamp_value.seconds, one.timestamp_value.nanos)
        for w in responses[0].write_results
        for one in w.transform_results
    }
    at = responses[0].commit_time
    return found == {(at.seconds, at.nanos - at.nanos % 1_000_000)}


ROWS = [
    becomes("increment", "adds the given value to the current one", 5, increment(2), 7),
    becomes("increment-missing", "a field that does not exist is set to the given value", MISSING, increment(2), 2),
    becomes("increment-text", "a field that is no number is set to the given value", "5", increment(2), 2),
    becomes("increment-null", "null is none", None, increment(2.5), 2.5),
    becomes("increment-double", "if either is a double, both are interpreted as doubles", 5, increment(0.5), 5.5),
    becomes("increment-double-by-integer", "the other way round too", 0.5, increment(5), 5.5),
    becomes("increment-stays-double", "even if the sum is whole", 0.5, increment(0.5), 1.0),
    becomes("increment-zero", "adding nothing", 5, increment(0), 5),
    becomes("increment-overflow", "positive overflow is resolved to the largest integer", MAX - 1, increment(5), MAX),
    becomes("increment-underflow", "negative overflow to the smallest", MIN + 1, increment(-5), MIN),
    becomes("increment-overflow-double", "doubles follow IEEE 754", 1.7976931348623157e308, increment(1.7976931348623157e308), math.inf),
    becomes("increment-nan", "NaN is contagious", 5, increment(NAN), NAN),
    becomes("increment-negative-zero", "-0.0 + -0.0 is -0.0", -0.0, increment(-0.0), -0.0),
    becomes("increment-negative-zero-integer", "-0.0 + 0 is 0.0", -0.0, increment(0), 0.0),
    Row("increment-operand", "the operand must be an integer or a double", [commit(transform("a/1", v=increment("1")))], Fails("INVALID_ARGUMENT")),
    becomes("maximum", "the maximum of the current and the given value", 5, maximum(7), 7),
    becomes("maximum-keeps", "which may be the current one", 5, maximum(3), 5),
    becomes("maximum-missing", "a field that does not exist is set to the given value", MISSING, maximum(-3), -3),
    becomes("maximum-text", "and so is one that is no number", "z", maximum(-3), -3),
    becomes("maximum-mixed", "the field takes on the type of the larger operand", 3, maximum(3.5), 3.5),
    becomes("maximum-mixed-keeps", "the stored one's too", 3, maximum(2.5), 3),
    becomes("maximum-equivalent", "if the operands are equivalent (3 and 3.0), the field does not change", 3, maximum(3.0), 3),
    becomes("maximum-equivalent-double", "in neither direction", 3.0, maximum(3), 3.0),
    becomes("maximum-zeros", "the maximum of a zero stored value and zero input value is always the stored value", -0.0, maximum(0), -0.0),
    becomes("maximum-zeros-integer", "0, 0.0, and -0.0 are all zero", 0, maximum(0.0), 0),
    becomes("maximum-nan", "the maximum of any numeric value and NaN is NaN", 5, maximum(NAN), NAN),
    becomes("maximum-nan-stored", "also if NaN is stored", NAN, maximum(5), NAN),
    becomes("minimum", "the minimum of the current and the given value", 5, minimum(3), 3),
    becomes("minimum-keeps", "which may be the current one", 5, minimum(7), 5),
    becomes("minimum-mixed", "the field takes on the type of the smaller operand", 3, minimum(2.5), 2.5),
    becomes("minimum-equivalent", "if the operands are equivalent, the field does not change", 3.0, minimum(3), 3.0),
    becomes("minimum-zeros", "the minimum of a zero stored value and zero input value is always the stored value", 0, minimum(-0.0), 0),
    becomes("minimum-nan", "the minimum of any numeric value and NaN is NaN", 5, minimum(NAN), NAN),
    becomes("minimum-array", "a field that is no number is set to the given value", [1], minimum(9), 9),
    becomes("union", "appends the elements that are not present, in order; the result is null", [1, 2], union(3, 2, 0), [1, 2, 3, 0], None),
    becomes("union-missing", "a field that does not exist is first set to the empty array", MISSING, union(1), [1], None),
    becomes("union-text", "and so is one that is no array", "x", union(1), [1], None),
    becomes("union-vector", "which a vector is not", vector(1), union(1), [1], None),
    becomes("union-nothing", "also if there is nothing to append", "x", union(), [], None),
    becomes("union-equivalent", "equivalent numbers of different types are equal, NaN is itself, and null is", MIXED,
            union(1.0, 1, NAN, None, {"k": 1.0}, True, "1"), MIXED, None),
    becomes("union-first", "of several equivalent values only the first is considered", [], union(2.0, 2, 2.0), [2.0], None),
    becomes("union-timestamps", "values are equal as they are stored", [Moment(5, 1_000)], union(Moment(5, 1_999)), [Moment(5, 1_000)], None),
    Row("union-arrays", "an array cannot contain another", [commit(transform("a/1", v=union([1])))], Fails("INVALID_ARGUMENT"), leaves={"a/1": None}),
    becomes("remove", "removes all of the given elements", [1, 2, 3, 2], remove(2, 3), [1], None),
    becomes("remove-equivalent", "and all that are equivalent", MIXED, remove(1.0, NAN, {"k": 1}), ["1", None, True], None),
    becomes("remove-absent", "what is not there cannot be removed", [1], remove(5), [1], None),
    becomes("remove-missing", "a field that does not exist is set to the empty array", MISSING, remove(1), [], None),
    becomes("remove-number", "and so is one that is no array", 1, remove(1), [], None),
    Row("server-time", "REQUEST_TIME is the time at which the server processed the request, with millisecond precision, the same everywhere",
        [commit(transform("a/1", v=SERVER_TIME, m__t=SERVER_TIME), put("a/2", {}, update_transforms=[{"field_path": "t", **SERVER_TIME}])).showing(times)], True),
    Row("server-value", "SERVER_VALUE_UNSPECIFIED must not be used", [commit(transform("a/1", v={"set_to_server_value": 0}))], Fails("INVALID_ARGUMENT")),
    Row("nothing-to-do", "a transform says what to do", [commit(transform("a/1", v={}))], Fails("INVALID_ARGUMENT")),
    Row("empty", "field_transforms must not be empty", [commit(transform("a/1"))], Fails("INVALID_ARGUMENT")),
    Row("in-order", "transforms are applied in order, each to what the one before left", [
        commit(put("a/1", {}, update_transforms=[
            {"field_path": "v", **increment(2)}, {"field_path": "v", **maximum(10)}, {"field_path": "v", **union("x")}]))],
        [2, 10, None], {}, {"a/1": {"v": ["x"]}}),
    Row("after-the-update", "transforms are performed after the update", [
        commit(put("a/1", {"v": 10}, ["v"], update_transforms=[{"field_path": "v", **increment(1)}]))], [11], {"a/1": {"v": 1, "w": 2}}, {"a/1": {"v": 11, "w": 2}}),
    Row("below-a-scalar", "a path below what is no map makes it a map", [commit(transform("a/1", v__x=increment(1)))], [1], {"a/1": {"v": 5}}, {"a/1": {"v": {"x": 1}}}),
    Row("below-nothing", "and makes the maps on the way", [commit(transform("a/1", v__x__y=increment(1)))], [1], {}, {"a/1": {"v": {"x": {"y": 1}}}}),
    Row("no-document", "a transform of a document that does not exist creates it", [commit(transform("a/1", v=union(1)))], [None], {}, {"a/1": {"v": [1]}}),
    Row("precondition", "unless it must exist", [
        Call("Commit", protos.CommitRequest(database=DATABASE, writes=[protos.Write(
            transform=transform("a/1", v=increment(1)).transform, current_document=exists(True))]))], Fails("NOT_FOUND"), leaves={"a/1": None}),
    Row("no-change", "what changes nothing keeps the update time", [
        commit(put("a/1", {"v": [1, NAN]})),
        commit(transform("a/1", v=union(1.0))),
        get("a/1").showing(lambda r: r[0].update_time == r[0].create_time)], True),
    Row("many", "a document has up to 500 field transforms in a commit", [
        commit(transform("a/1", **{f"f{n}": increment(1) for n in range(500)})).showing(lambda r: len(r[0].write_results[0].transform_results))], 500),
    Row("too-many", "and no more", [commit(transform("a/1", **{f"f{n}": increment(1) for n in range(501)}))], Fails("INVALID_ARGUMENT"), leaves={"a/1": None}),
    Row("malformed-path", "a path follows the syntax", [
        commit(put("a/1", {}, update_transforms=[{"field_path": "a.", **increment(1)}]))], Fails("INVALID_ARGUMENT", "Invalid property path")),
    Row("reserved-path", "and is not reserved", [
        commit(put("a/1", {}, update_transforms=[{"field_path": "__name__", **increment(1)}]))], Fails("INVALID_ARGUMENT", "Invalid reserved name")),
]  # fmt: skip


@table(ROWS)
async def test_transforms_do_what_the_documentation_says(way: Way, row: Row) -> None:
    await row.check(way)
