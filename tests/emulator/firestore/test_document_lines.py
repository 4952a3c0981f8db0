"""Export and import: lines of JSON that come back as what they were, all of them or none."""

from __future__ import annotations

import io
import json
import math
import struct
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import hypothesis.strategies as st
import pytest
from google.cloud import firestore
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.vector import Vector
from google.protobuf import json_format
from hypothesis import given

from emulator.firestore import Emulator, InvalidLine, protos
from emulator.firestore.document_lines import document_line, read_documents
from emulator.firestore.limits import check_fields
from emulator.firestore.line_files import writing
from emulator.firestore.rest_values import value_from_json, value_to_json
from emulator.firestore.versions import new_version
from emulator.status import Status
from tests.emulator.firestore.lines import DOCUMENTS, exported, line
from tests.emulator.firestore.strategies import TEXTS, VALUES


async def test_a_line_is_a_document_as_the_rest_api_has_it(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    await local_client.document("b/2").set({"z": 1, "a": {"y": [True, None], "b": "ü😀\n"}})
    await local_client.document("b/10").set({})
    await local_client.document("b/3").set({f"f{n * 7 % 30:02}": n for n in range(30)})
    await emulator.client(project="other").document("a/1").set({})
    lines = [json.loads(one) for one in exported(emulator).splitlines()]
    assert [one["name"] for one in lines] == [
        f"{DOCUMENTS}/b/10",
        f"{DOCUMENTS}/b/2",
        f"{DOCUMENTS}/b/3",
        "projects/other/databases/(default)/documents/a/1",
    ]
    assert lines[0]["fields"] == {}
    assert lines[1] == {
        "name": f"{DOCUMENTS}/b/2",
        "fields": {
            "a": {
                "mapValue": {
                    "fields": {
                        "b": {"stringValue": "ü😀\n"},
                        "y": {"arrayValue": {"values": [{"booleanValue": True}, {"nullValue": None}]}},
                    }
                }
            },
            "z": {"integerValue": "1"},
        },
        "createTime": "2030-01-01T00:00:00Z",
        "updateTime": "2030-01-01T00:00:00Z",
    }
    assert list(lines[1]) == ["name", "fields", "createTime", "updateTime"]
    assert list(lines[2]["fields"]) == [f"f{n:02}" for n in range(30)]


async def test_values_of_every_kind_come_back(emulator: Emulator, local_client: AsyncClient) -> None:
    values = {
        "integers": [2**63 - 1, -(2**63), 2**53 + 1, 0],
        "doubles": [math.inf, -math.inf, 5e-324, 1.7976931348623157e308, 0.1, 1.0],
        "texts": ["", "\0", "é😀", "\u2028\u0085\r\n", '`\\"'],
        "bytes": b"\x00\xff",
        "vector": Vector([1.0, -0.0, 2.5]),
        "time": datetime(1, 1, 1, 0, 0, 0, 1, tzinfo=UTC),
        "late": datetime(9999, 12, 31, 23, 59, 59, 999_999, tzinfo=UTC),
        "place": firestore.GeoPoint(-90, 180),
        "other": local_client.document("a/ü"),
        "none": None,
        "empty": [{}, {"x": {}}],
        "odd": {"a b": 1, "`.": 2},
    }
    await local_client.document("a/1").set({**values, "negative": -0.0, "nan": math.nan})
    text = exported(emulator)
    other = Emulator(clock=emulator.clock)
    assert other.import_documents(io.StringIO(text)) == 1
    assert exported(other) == text
    got = (await other.client().document("a/1").get()).to_dict()
    assert math.isnan(got.pop("nan"))
    assert math.copysign(1, got.pop("negative")) == -1
    assert got.pop("other").path == "a/ü"
    del values["other"]
    assert got == values


@given(VALUES)
def test_a_value_is_represented_as_protobuf_represents_it(value: Any) -> None:
    ours = value_to_json(value)
    theirs = protos.Value()
    json_format.ParseDict(ours, theirs)
    assert theirs.SerializeToString(deterministic=True) == value.SerializeToString(deterministic=True)
    if value.WhichOneof("value_type") == "timestamp_value":
        assert ours == json_format.MessageToDict(value)
    back = protos.Value()
    value_from_json(json_format.MessageToDict(value), back)
    assert back.SerializeToString(deterministic=True) == value.SerializeToString(deterministic=True)


def test_what_people_write_by_hand_is_taken() -> None:
    for content, expected in [
        ({"integerValue": 5}, protos.Value(integer_value=5)),
        ({"doubleValue": 5}, protos.Value(double_value=5)),
        ({"doubleValue": "1.5"}, protos.Value(double_value=1.5)),
        ({"bytesValue": "_-8"}, protos.Value(bytes_value=b"\xff\xef")),
        (
            {"timestampValue": "1970-01-01T01:00:00.5+01:00"},
            protos.Value(timestamp_value={"nanos": 500_000_000}),
        ),
        ({"timestampValue": "1970-01-01T00:00:00Z"}, protos.Value(timestamp_value={})),
        ({"nullValue": "NULL_VALUE"}, protos.Value(null_value=0)),
        ({"geoPointValue": {}}, protos.Value(geo_point_value=protos.LatLng())),
        ({"mapValue": {}}, protos.Value(map_value=protos.MapValue())),
        ({"arrayValue": {"values": []}}, protos.Value(array_value=protos.ArrayValue())),
    ]:
        value = protos.Value()
        value_from_json(content, value)
        assert value == expected


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_document_that_can_be_written_comes_back_as_it_was(fields: Any) -> None:
    document = protos.Document(name=f"{DOCUMENTS}/a/é😀", fields=fields)
    try:
        check_fields(document.fields)
    except Status:
        return
    version = new_version(document.name, document.SerializeToString(deterministic=True), 5, 7_000_000)
    assert version.data is not None
    text = document_line(version.data)
    assert text.count("\n") == 1
    (back,) = read_documents(io.BytesIO(text.encode()), 10**15)
    assert same(back.message, version.message)
    assert (back.created_us, back.time_us) == (5, 7_000_000)
    assert document_line(back.data or b"") == text


def same(left: Any, right: Any) -> bool:
    """Whether two documents are the same to the bit; the payload of a NaN, which JSON has no place for, apart."""

    def normal(value: Any) -> Any:
        match value.WhichOneof("value_type"):
            case "double_value":
                number = value.double_value
                return "nan" if math.isnan(number) else struct.pack(">d", number)
            case "map_value":
                return {key: normal(one) for key, one in value.map_value.fields.items()}
            case "array_value":
                return [normal(one) for one in value.array_value.values]
            case _:
                return value.SerializeToString()

    return left.name == right.name and all(
        normal(protos.Value(map_value=protos.MapValue(fields=one.fields)))
        == normal(protos.Value(map_value=protos.MapValue(fields=other.fields)))
        for one, other in ((left, right),)
    )


BAD = [
    ("{", "it is no JSON: Expecting property name enclosed in double quotes at character 3"),
    ("5", "a document must be an object"),
    ("[]", "a document must be an object"),
    ("null", "a document must be an object"),
    ("{}", "it has no name"),
    ('{"name": 5}', "name must be a string"),
    ('{"name": "a/1"}', "Invalid database name"),
    ('{"name": "a", "name": "b"}', "an object has 'name' twice"),
    (f'{{"name": "{DOCUMENTS}/a"}}', "lacks"),
    (f'{{"name": "{DOCUMENTS}/a/.."}}', "index 46"),
    (line("a/" + "x" * 1_501), "longer than 1500 bytes"),
    (line("a/__x__"), "reserved"),
    (line(fields={"x": {"timestampValue": "0001-01-01T00:00:00+01:00"}}), "must lie in the years 1 to 9999"),
    (line(nonsense=1), "and no 'nonsense'"),
    (line(fields=5), "fields must be an object"),
    *(
        (line(fields={"x": value}), f"x: {reason}")
        for value, reason in [
            (5, "a value must be an object"),
            (
                {"integerValue": "1", "stringValue": "1"},
                "a value must be of one kind, not integerValue and stringValue",
            ),
            ({"intValue": "1"}, "'intValue' is no kind of value"),
            ({"integerValue": "9223372036854775808"}, "integerValue must be an integer of 64 bits"),
            ({"integerValue": "x"}, "integerValue must be an integer of 64 bits"),
            ({"integerValue": 1.5}, "integerValue must be an integer of 64 bits"),
            ({"integerValue": True}, "integerValue must be an integer of 64 bits"),
            ({"doubleValue": "x"}, "doubleValue must be a number"),
            ({"doubleValue": True}, "doubleValue must be a number"),
            ({"doubleValue": 10**400}, "doubleValue must be a number"),
            ({"doubleValue": None}, "doubleValue must be a number"),
            ({"booleanValue": 1}, "booleanValue must be true or false"),
            ({"nullValue": 0}, "nullValue must be null"),
            ({"timestampValue": "yesterday"}, "timestampValue must be a time such as"),
            ({"timestampValue": 5}, "timestampValue must be a string"),
            ({"timestampValue": "2025-01-31T12:00:00"}, "timestampValue must be a time such as"),
            ({"timestampValue": "2025-01-31"}, "timestampValue must be a time such as"),
            ({"timestampValue": "2025-02-31T12:00:00Z"}, "timestampValue must be a time such as"),
            ({"stringValue": 5}, "stringValue must be a string"),
            ({"stringValue": "\ud800"}, "stringValue has half a surrogate pair"),
            ({"bytesValue": "%"}, "bytesValue must be base64"),
            ({"bytesValue": "A"}, "bytesValue must be base64"),
            ({"geoPointValue": {"north": 1}}, "geoPointValue has a latitude and a longitude, and no 'north'"),
            ({"geoPointValue": {"latitude": "up"}}, "latitude must be a number"),
            ({"mapValue": []}, "mapValue must be an object"),
            ({"mapValue": {"values": []}}, "mapValue has 'fields', and no 'values'"),
            ({"arrayValue": {"values": {}}}, "values must be an array"),
        ]
    ),
    (
        line(fields={"x": {"mapValue": {"fields": {"y": {"arrayValue": {"values": [{}, {"z": 1}]}}}}}}),
        "x.y[1]: 'z' is no kind of value",
    ),
    (f'{{"name": "{DOCUMENTS}/a/1", "fields": {{"x": {{"doubleValue": NaN}}}}}}', 'write "NaN"'),
    (f'{{"name": "{DOCUMENTS}/a/1", "fields": {{"x": {{"doubleValue": 1e999}}}}}}', "must be a number"),
    (line(fields={"": {"nullValue": None}}), "empty"),
    (line(fields={"__x__": {"nullValue": None}}), "reserved"),
    (line(fields={"x": {"stringValue": "x" * 1_048_576}}), "exceeds the maximum allowed size"),
    (line(fields={"x": {"geoPointValue": {"latitude": 91}}}), "latitude"),
    (
        line(fields={"x": {"arrayValue": {"values": [{"arrayValue": {"values": []}}]}}}),
        "array value in an array",
    ),
    (line(createTime="2021-01-01T00:00:00Z", updateTime="2020-01-01T00:00:00Z"), "createTime is after"),
    (line(updateTime="1969-01-01T00:00:00Z"), "after 1970"),
    (line(updateTime="soon"), "updateTime"),
    ("[" * 100_000, "nested too deep"),
    (
        f'{{"name": "{DOCUMENTS}/a/1", "fields": {{"x": '
        + '{"mapValue": {"fields": {"x": ' * 30
        + '{"nullValue": null}'
        + "}}}" * 30
        + "}}",
        "levels deep",
    ),
]


@pytest.mark.parametrize(("text", "reason"), BAD)
def test_a_bad_line_is_told_with_its_number_and_nothing_is_imported(text: str, reason: str) -> None:
    emulator = Emulator()
    emulator.import_documents(io.StringIO(line("a/0", fields={"x": {"integerValue": "1"}})))
    before = exported(emulator)
    source = io.StringIO(line("a/0") + "\n" + line("a/2") + text.rstrip("\n") + "\n" + line("a/3"))
    with pytest.raises(InvalidLine) as caught:
        emulator.import_documents(source)
    assert caught.value.line == 4
    assert reason in caught.value.reason
    assert str(caught.value) == f"line 4: {caught.value.reason}"
    assert exported(emulator) == before


def test_bytes_that_are_no_text_are_a_bad_line(tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(line().encode() + b'{"name": "\xff"}\n')
    with pytest.raises(InvalidLine, match="line 2: it is not UTF-8"):
        Emulator().import_documents(tmp_path / "x")


def test_a_line_without_end_is_a_bad_line_and_not_read_to_its_end() -> None:
    class Endless(io.RawIOBase):
        def readline(self, size: int | None = -1, /) -> bytes:
            assert size is not None
            assert size > 0
            return b"x" * size

    with pytest.raises(InvalidLine, match="line 1: it has 67,108,864 characters or more"):
        next(read_documents(Endless(), 1))  # type: ignore[arg-type]


def test_a_file_may_have_a_byte_order_mark_and_other_line_ends_and_none_at_the_end(tmp_path: Path) -> None:
    text = "\ufeff" + line("a/1").replace("\n", "\r\n") + "\r\n" + line("a/2").rstrip()
    (tmp_path / "x").write_bytes(text.encode())
    emulator = Emulator()
    assert emulator.import_documents(str(tmp_path / "x")) == 2
    assert emulator.import_documents(io.StringIO("")) == 0


def test_an_export_to_a_path_replaces_the_file_when_it_is_whole(tmp_path: Path) -> None:
    emulator = Emulator()
    emulator.import_documents(io.StringIO(line("a/ü")))
    path = tmp_path / "x.ndjson"
    path.write_text("before")
    assert emulator.export_documents(path) == 1
    assert path.read_text(encoding="utf-8") == exported(emulator)
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(OSError, match="nowhere"):
        emulator.export_documents(tmp_path / "nowhere" / "x")
    with pytest.raises(OSError, match="missing"):
        emulator.import_documents(tmp_path / "missing")


def test_an_export_that_fails_leaves_the_file_that_was_there(tmp_path: Path) -> None:
    path = tmp_path / "x.ndjson"
    path.write_text("before")
    with pytest.raises(RuntimeError, match="half way"), writing(path) as file:
        file.write("after")
        file.flush()
        raise RuntimeError("half way")
    assert path.read_text() == "before"
    assert list(tmp_path.iterdir()) == [path]
