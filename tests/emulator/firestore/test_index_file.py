"""firestore.indexes.json: what is taken, and what is told of what is not."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from emulator.firestore.index_definitions import IndexDefinitions
from emulator.firestore.indexes import AUTOMATIC, FieldIndex, Index, IndexField, Mode, Scope


def load(tmp_path: Path, content: Any) -> IndexDefinitions:
    path = tmp_path / "firestore.indexes.json"
    path.write_text(content if isinstance(content, str) else json.dumps(content))
    return IndexDefinitions.load(path)


def composite(*fields: Any, **more: Any) -> Any:
    return {"indexes": [{"collectionGroup": "c", "queryScope": "COLLECTION", "fields": [*fields], **more}]}


def override(**entry: Any) -> Any:
    return {"fieldOverrides": [{"collectionGroup": "c", "fieldPath": "a", **entry}]}


A: Any = {"fieldPath": "a", "order": "ASCENDING"}
B: Any = {"fieldPath": "b", "order": "DESCENDING"}
TAGS: Any = {"fieldPath": "tags", "arrayConfig": "CONTAINS"}
VECTOR: Any = {"fieldPath": "v", "vectorConfig": {"dimension": 3, "flat": {}}}
NAME: Any = {"fieldPath": "__name__", "order": "DESCENDING"}


def test_a_composite_index_has_its_fields_and_its_scope(tmp_path: Path) -> None:
    (index,) = load(tmp_path, composite(TAGS, A, B, queryScope="COLLECTION_GROUP")).composites
    fields = (
        IndexField(("tags",), Mode.CONTAINS),
        IndexField(("a",), Mode.ASCENDING),
        IndexField(("b",), Mode.DESCENDING),
    )
    assert index == Index("c", Scope.COLLECTION_GROUP, fields)
    assert index.entries[-1] == IndexField(("__name__",), Mode.DESCENDING)


@pytest.mark.parametrize("fields", [(A, B), (TAGS, A), (VECTOR,), (A, VECTOR), (A, B, NAME), (NAME,)])
def test_what_is_read_is_what_is_written(tmp_path: Path, fields: Any) -> None:
    (index,) = load(tmp_path, composite(*fields)).composites
    given = [field for field in fields if field != NAME or fields[-2:] != (B, NAME)]
    assert index.json() == composite(*given)["indexes"][0]


def test_options_of_newer_files_are_taken(tmp_path: Path) -> None:
    options: Any = {"density": "SPARSE_ALL", "apiScope": "ANY_API", "multikey": False, "unique": False}
    assert len(load(tmp_path, composite(A, B, **options)).composites) == 1


def test_an_index_for_another_api_serves_nothing_here(tmp_path: Path) -> None:
    assert load(tmp_path, composite(A, apiScope="MONGODB_COMPATIBLE_API", density="DENSE")).composites == ()


def test_comments_are_taken_as_the_command_line_takes_them(tmp_path: Path) -> None:
    text = """{
      // "indexes": 5
      "indexes": [], /* and
      more */ "fieldOverrides": [{"collectionGroup": "http://x/*y", "fieldPath": "a", "indexes": []}]
    }"""
    assert load(tmp_path, text).of_field("http://x/*y", ("a",)) == ()


def test_the_format_of_2018_is_taken(tmp_path: Path) -> None:
    fields = [{"fieldPath": "a", "mode": "ASCENDING"}, {"fieldPath": "t", "mode": "ARRAY_CONTAINS"}]
    (index,) = load(tmp_path, {"indexes": [{"collectionId": "c", "fields": fields}]}).composites
    expected = (IndexField(("a",), Mode.ASCENDING), IndexField(("t",), Mode.CONTAINS))
    assert index == Index("c", Scope.COLLECTION, expected)


@pytest.mark.parametrize("content", [{}, {"indexes": []}, {"indexes": [], "fieldOverrides": []}])
def test_a_file_may_say_nothing(tmp_path: Path, content: Any) -> None:
    assert load(tmp_path, content) == IndexDefinitions() == IndexDefinitions.load(None)


def test_an_override_stands_in_for_the_automatic_indexes(tmp_path: Path) -> None:
    indexes = [{"order": "ASCENDING", "queryScope": "COLLECTION_GROUP"}, {"arrayConfig": "CONTAINS"}]
    definitions = load(tmp_path, override(indexes=indexes))
    assert definitions.of_field("c", ("a",)) == (
        FieldIndex(Mode.ASCENDING, Scope.COLLECTION_GROUP),
        FieldIndex(Mode.CONTAINS, Scope.COLLECTION),
    )
    assert definitions.of_field("c", ("b",)) == definitions.of_field("d", ("a",)) == AUTOMATIC


def test_the_nearest_override_counts(tmp_path: Path) -> None:
    sizes = [("c", "*", 1), ("c", "m", 2), ("c", "m.x", 3), ("c", "`*`", 4), ("__default__", "*", 5)]
    entries = [
        {"collectionGroup": group, "fieldPath": field, "indexes": [{"order": "ASCENDING"}] * size}
        for group, field, size in sizes
    ]
    definitions = load(tmp_path, {"fieldOverrides": entries})
    paths = [
        ("c", ("a",)),
        ("c", ("m",)),
        ("c", ("m", "x")),
        ("c", ("m", "y", "z")),
        ("c", ("*",)),
        ("d", ("m",)),
    ]
    assert [len(definitions.of_field(group, path)) for group, path in paths] == [1, 2, 3, 2, 4, 5]


def test_a_ttl_policy_alone_leaves_the_fields_indexing_as_it_is(tmp_path: Path) -> None:
    definitions = load(tmp_path, override(ttl=True))
    assert definitions.ttl_fields == {"c": "a"}
    assert definitions.of_field("c", ("a",)) == AUTOMATIC
    assert load(tmp_path, override(ttl=False, indexes=[])).ttl_fields == {}


TWO = override(indexes=[])["fieldOverrides"] * 2
TTLS = [{"collectionGroup": "c", "fieldPath": field, "ttl": True, "indexes": []} for field in "ab"]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ('{"indexes": [}', "expected JSON: .* line 1 column 14"),
        ('{\n// x\n/* y\n*/ "indexes": [}', "line 4 column 14"),
        ("[]", "the file: expected an object, found list"),
        ({"indexes": {}}, "indexes: expected a list, found dict"),
        ({"indexes": [5]}, r"indexes\[0\]: expected an object, found 5"),
        ({"fieldOverrides": 5}, "fieldOverrides: expected a list, found 5"),
        ({"indexes": [{}]}, r"indexes\[0\]: expected a string `collectionGroup`, found none"),
        (composite(A, B, collectionGroup=""), "expected a string `collectionGroup`, found ''"),
        (
            {"indexes": [{"collectionGroup": "c", "fields": [A, B]}]},
            r"indexes\[0\]\.queryScope: expected COLLECTION or COLLECTION_GROUP or COLLECTION_RECURSIVE, found none",
        ),
        (composite(A, B, queryScope="ALL"), r"indexes\[0\]\.queryScope: .* found 'ALL'"),
        ({"indexes": [{"collectionGroup": "c", "queryScope": "COLLECTION"}]}, "expected a list `fields`, found none"),
        (composite(A, {"order": "ASCENDING"}), r"indexes\[0\]\.fields\[1\]: expected a string `fieldPath`"),
        (composite(A, {"fieldPath": "b"}), r"fields\[1\]: expected exactly one of `order`, `arrayConfig` and .*none"),
        (composite(A, {**B, **TAGS}), r"fields\[1\]: expected exactly one of .* found order and arrayConfig"),
        (composite(A, {**B, "order": "UP"}), r"fields\[1\]\.order: expected ASCENDING or DESCENDING, found 'UP'"),
        (composite(A, {**TAGS, "arrayConfig": "ANY"}), r"fields\[1\]\.arrayConfig: expected CONTAINS, found 'ANY'"),
        (composite(A, {**B, "fieldPath": "b-c"}), r"fields\[1\]\.fieldPath: expected a field path, .* 'b-c'"),
        (composite({"fieldPath": "v", "vectorConfig": 3}), r"vectorConfig: expected an object, found 3"),
        (composite({"fieldPath": "v", "vectorConfig": {"flat": {}}}), r"dimension: expected an integer of 1 to 2048"),
        (composite({"fieldPath": "v", "vectorConfig": {"dimension": "3", "flat": {}}}), r"dimension: .* '3'"),
        (composite({"fieldPath": "v", "vectorConfig": {"dimension": 3}}), r"flat: expected an object, found nothing"),
        (composite(A, B, density="THICK"), r"indexes\[0\]\.density: expected"),
        (composite(A, B, apiScope="NO_API"), r"indexes\[0\]\.apiScope: expected"),
        (composite(A, B, unique="yes"), r"indexes\[0\]\.unique: expected true or false, found 'yes'"),
        (composite(), r"fields: expected 1 to 100 fields, found 0"),
        (composite(A), r"fields: expected two or more fields \(this index is not necessary"),
        (composite(A, B, A), "fields: expected each field once"),
        (composite(TAGS, {**TAGS, "fieldPath": "b"}), "at most one field with `arrayConfig`, found 2"),
        (composite(VECTOR, A), "the field with `vectorConfig` as the last"),
        (override(indexes=[{}]), r"fieldOverrides\[0\]\.indexes\[0\]: expected exactly one of"),
        (override(indexes={}), r"fieldOverrides\[0\]\.indexes: expected a list, found dict"),
        (override(ttl=1, indexes=[]), r"fieldOverrides\[0\]\.ttl: expected true or false, found 1"),
        (override(fieldPath="*", ttl=True), r"expected a TTL policy on a field by its name"),
        ({"fieldOverrides": TWO}, r"fieldOverrides\[1\]: expected one entry for the field a of c"),
        ({"fieldOverrides": TTLS}, r"fieldOverrides\[1\]\.ttl: expected one TTL policy for c, .* beside a"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_told_with_its_place(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(ValueError, match=rf"firestore\.indexes\.json is no .*: {message}|{message}") as info:
        load(tmp_path, content)
    assert str(tmp_path) in str(info.value)


def test_a_file_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        IndexDefinitions.load(tmp_path / "none.json")
