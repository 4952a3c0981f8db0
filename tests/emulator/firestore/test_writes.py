"""What writes make of documents: preconditions, masks, transforms, limits, and their documented errors."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore import AsyncClient

from emulator.firestore import protos
from emulator.firestore.versions import Version
from emulator.firestore.writes import apply_write, check_transforms
from emulator.status import Status
from tests.emulator.firestore.strategies import version_of

NAME = "projects/p/databases/d/documents/a/1"


def value(x: Any) -> Any:
    match x:
        case bool():
            return protos.Value(boolean_value=x)
        case int():
            return protos.Value(integer_value=x)
        case float():
            return protos.Value(double_value=x)
        case list():
            return protos.Value(array_value=protos.ArrayValue(values=map(value, x)))
        case dict():
            return protos.Value(map_value=protos.MapValue(fields={k: value(v) for k, v in x.items()}))
        case _:
            return protos.Value(string_value=x)


def document(fields: dict[str, Any], at: int = 5) -> Version:
    time = protos.Timestamp(seconds=at)
    return version_of(
        protos.Document(
            name=NAME, fields={k: value(v) for k, v in fields.items()}, create_time=time, update_time=time
        )
    )


def update(fields: dict[str, Any], mask: list[str] | None = None, **rest: Any) -> Any:
    write = protos.Write(
        update=protos.Document(name=NAME, fields={k: value(v) for k, v in fields.items()}), **rest
    )
    if mask is not None:
        write.update_mask.SetInParent()
        write.update_mask.field_paths.extend(mask)
    return write


class Written(NamedTuple):
    document: Any
    transform_results: Any


def written(before: Any, write: Any) -> Written:
    check_transforms([NAME], [write])
    return Written(*apply_write(NAME, before, write, 9_000_000))


def fields_of(before: Any, write: Any) -> dict[str, Any]:
    return dict(written(before, write).document.message.fields.items())


@pytest.mark.parametrize(
    ("exists", "precondition", "code", "message"),
    [
        (True, {"exists": False}, "ALREADY_EXISTS", f"Document already exists: {NAME}"),
        (False, {"exists": True}, "NOT_FOUND", f"No document to update: {NAME}"),
        (False, {"update_time": protos.Timestamp(seconds=5)}, "NOT_FOUND", "No document to update"),
        (True, {"update_time": protos.Timestamp(seconds=4)}, "FAILED_PRECONDITION", "5000000.*4000000"),
    ],
)
@pytest.mark.parametrize("delete", [False, True])
def test_a_precondition_that_fails_has_its_documented_code(
    exists: bool, precondition: Any, code: str, message: str, delete: bool
) -> None:
    before = document({}) if exists else None
    condition = protos.Precondition(**precondition)
    write = protos.Write(delete=NAME) if delete else update({})
    write.current_document.CopyFrom(condition)
    with pytest.raises(Status, match=message) as caught:
        written(before, write)
    assert caught.value.code.name == code


@pytest.mark.parametrize(
    ("exists", "precondition"),
    [
        (False, {"exists": False}),
        (True, {"exists": True}),
        (True, {"update_time": protos.Timestamp(seconds=5)}),
    ],
)
def test_a_precondition_that_holds_lets_the_write_pass(exists: bool, precondition: Any) -> None:
    before = document({}) if exists else None
    condition = protos.Precondition(**precondition)
    assert written(before, update({"x": 1}, current_document=condition)).document is not None
    assert written(before, protos.Write(delete=NAME, current_document=condition)).document is None


def test_an_update_without_a_mask_replaces_the_document() -> None:
    assert fields_of(document({"a": 1, "b": 2}), update({"c": 3})) == {"c": value(3)}


def test_a_mask_writes_what_it_names_and_deletes_what_it_names_and_finds_missing() -> None:
    before = document({"a": 1, "b": 2, "m": {"x": 1, "y": 2}, "odd.name": 1})
    after = fields_of(before, update({"b": 3, "m": {"y": 4}}, ["a", "b", "m.y", "m.z.deep", "`odd.name`"]))
    assert after == {"b": value(3), "m": value({"x": 1, "y": 4})}


def test_an_empty_mask_changes_nothing_and_keeps_the_update_time() -> None:
    before = document({"a": 1})
    assert written(before, update({"b": 1}, [])).document is before


def test_a_write_that_changes_nothing_keeps_the_update_time_and_one_that_does_moves_it() -> None:
    before = document({"a": 1, "b": 0.0})
    assert written(before, update({"a": 1, "b": 0.0})).document is before
    after = written(before, update({"a": 1, "b": -0.0})).document
    assert (after.create_time.seconds, after.update_time.seconds) == (5, 9)


@pytest.mark.parametrize("mask", [None, ["a"]])
def test_times_that_a_written_document_brings_are_not_taken(mask: list[str] | None) -> None:
    write = update({"a": 2}, mask)
    write.update.create_time.seconds = write.update.update_time.seconds = 77
    for before, created in ((document({"a": 1}), 5), (None, 9)):
        after = protos.Document.FromString(written(before, write).document.data)
        assert (after.create_time.seconds, after.update_time.seconds) == (created, 9)


@pytest.mark.parametrize(
    ("transform", "before", "after", "result"),
    [
        ({"increment": value(2)}, 5, 7, 7),
        ({"increment": value(2)}, 0.5, 2.5, 2.5),
        ({"increment": value(0.5)}, 2, 2.5, 2.5),
        ({"increment": value(2)}, None, 2, 2),
        ({"increment": value(2)}, "text", 2, 2),
        ({"increment": value(2)}, 2**63 - 2, 2**63 - 1, 2**63 - 1),
        ({"increment": value(-2)}, -(2**63) + 1, -(2**63), -(2**63)),
        ({"maximum": value(2)}, 5, 5, 5),
        ({"maximum": value(7)}, 5, 7, 7),
        ({"maximum": value(7)}, None, 7, 7),
        ({"maximum": value(7)}, "text", 7, 7),
        ({"maximum": value(5.0)}, 5, 5, 5),
        ({"maximum": value(1 << 62)}, (1 << 62) + 1, (1 << 62) + 1, (1 << 62) + 1),
        ({"minimum": value(2)}, 5, 2, 2),
        ({"minimum": value(7)}, 5, 5, 5),
        (
            {"append_missing_elements": protos.ArrayValue(values=[value(1), value(2), value(2)])},
            [1.0],
            [1.0, 2],
            None,
        ),
        ({"append_missing_elements": protos.ArrayValue(values=[value(1)])}, "text", [1], None),
        ({"remove_all_from_array": protos.ArrayValue(values=[value(1)])}, [1, 2, 1.0], [2], None),
        ({"remove_all_from_array": protos.ArrayValue(values=[value(1)])}, None, [], None),
    ],
)
def test_a_transform_has_its_documented_result(transform: Any, before: Any, after: Any, result: Any) -> None:
    write = update({}, [])
    write.update_transforms.add(field_path="x", **transform)
    outcome = written(document({} if before is None else {"x": before}), write)
    assert outcome.document.message.fields["x"] == value(after)
    assert outcome.transform_results == ((protos.Value(null_value=0) if result is None else value(result)),)


@pytest.mark.parametrize(("kind", "operand"), [("maximum", 3), ("minimum", 9)])
def test_each_transform_of_a_field_reports_what_it_made_of_it_and_not_what_came_after(
    kind: str, operand: int
) -> None:
    write = update({}, [])
    write.update_transforms.add(field_path="x", **{kind: value(operand)})
    write.update_transforms.add(field_path="x", increment=value(1))
    outcome = written(document({"x": 5}), write)
    assert outcome.transform_results == (value(5), value(6))


def test_a_transform_with_nan_gives_nan_and_the_servers_time_is_the_commits() -> None:
    write = update({}, [])
    write.update_transforms.add(field_path="n", maximum=value(math.nan))
    write.update_transforms.add(field_path="m.t", set_to_server_value=1)
    after = written(document({"n": 5}), write).document
    assert math.isnan(after.message.fields["n"].double_value)
    assert after.message.fields["m"].map_value.fields["t"].timestamp_value.seconds == 9


@pytest.mark.parametrize(
    "write",
    [
        update({"x": "y" * 1_048_576}),
        update({"x": [[1]]}),
        update({"": 1}),
        update({"__x__": 1}),
        update({"x" * 1_501: 1}),
        update({}, ["a..b"]),
        update({}, [], update_transforms=[{"field_path": "x", "increment": value("text")}]),
        update({}, [], update_transforms=[{"field_path": "x", "set_to_server_value": 0}]),
        update({}, [], update_transforms=[{"field_path": "x"}]),
        update(
            {}, [], update_transforms=[{"field_path": f"x{n}", "increment": value(1)} for n in range(501)]
        ),
    ],
)
def test_what_breaks_a_limit_or_is_malformed_is_an_invalid_argument(write: Any) -> None:
    with pytest.raises(Status, match="INVALID_ARGUMENT"):
        written(document({}), write)


def test_fields_may_be_nested_20_deep_and_no_deeper() -> None:
    def nested(depth: int) -> dict[str, Any]:
        return {"x": nested(depth - 1)} if depth else {}

    written(None, update(nested(19)))
    with pytest.raises(Status, match="20 levels"):
        written(None, update(nested(20)))


async def test_a_commit_is_all_or_nothing_and_in_order(client: AsyncClient) -> None:
    ref, other = client.document("a/1"), client.document("a/2")
    batch = client.batch()
    batch.set(ref, {"n": 1})
    batch.update(ref, {"n": firestore.Increment(1)})
    batch.delete(ref)
    batch.create(ref, {"n": 10})
    batch.set(other, {})
    results = await batch.commit()
    assert len(results) == 5
    assert (await ref.get()).to_dict() == {"n": 10}
    batch = client.batch()
    batch.set(other, {"n": 2})
    batch.create(ref, {})
    with pytest.raises(exceptions.AlreadyExists):
        await batch.commit()
    assert (await other.get()).to_dict() == {}


async def test_commit_times_only_rise(client: AsyncClient) -> None:
    ref = client.document("a/1")
    times = [(await ref.set({"n": n})).update_time for n in range(20)]
    assert times == sorted(times)
    assert len(set(map(str, times))) == 20


async def test_transform_results_come_back(client: AsyncClient) -> None:
    ref = client.document("a/1")
    await ref.set({"n": 5})
    result = await ref.update({"n": firestore.Increment(2)})
    assert result.transform_results[0].integer_value == 7


@pytest.mark.parametrize("path", ["a/.", "a/..", "a/__x__", "__a__/x", "a/" + "x" * 1_501])
async def test_ids_that_production_refuses_are_refused(client: AsyncClient, path: str) -> None:
    with pytest.raises(exceptions.InvalidArgument):
        await client.document(path).set({})


async def test_a_request_that_is_too_large_is_refused(client: AsyncClient) -> None:
    batch = client.batch()
    for n in range(11):
        batch.set(client.document(f"a/{n}"), {"x": b"x" * 1_000_000})
    with pytest.raises(exceptions.InvalidArgument, match="exceeds the limit"):
        await batch.commit()


async def test_the_transforms_of_a_document_are_counted_over_the_commit(client: AsyncClient) -> None:
    batch = client.batch()
    ref, other = client.document("a/1"), client.document("a/2")
    for _ in range(5):
        batch.set(ref, {f"x{n}": firestore.Increment(1) for n in range(100)}, merge=True)
    batch.set(other, {"x": firestore.Increment(1)})
    await batch.commit()
    assert (await ref.get()).get("x99") == 5
    batch = client.batch()
    for count in (500, 1):
        batch.set(ref, {f"x{n}": firestore.Increment(1) for n in range(count)}, merge=True)
    with pytest.raises(exceptions.InvalidArgument, match="500 field transforms"):
        await batch.commit()
    assert (await ref.get()).get("x99") == 5


async def test_a_document_that_only_loses_its_last_field_has_changed(client: AsyncClient) -> None:
    ref = client.document("a/1")
    await ref.set({"a": 1, "b": 2})
    before = (await ref.get()).update_time
    await ref.set({"a": 1})
    snapshot = await ref.get()
    assert snapshot.to_dict() == {"a": 1}
    assert snapshot.update_time > before
