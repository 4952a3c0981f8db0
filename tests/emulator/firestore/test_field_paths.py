from __future__ import annotations

from typing import Any

import hypothesis.strategies as st
import pytest
from google.cloud.firestore_v1.field_path import FieldPath
from hypothesis import given

from emulator.firestore import protos
from emulator.firestore.field_paths import (
    delete_field,
    get_field,
    parse_field,
    parse_field_path,
    render_field_path,
    set_field,
)
from emulator.status import Status

SEGMENTS = st.text(st.characters(codec="utf-8"), min_size=1, max_size=4) | st.sampled_from(
    ["a", "_", "a.b", "`", "\\", "\\`", "`a`", "a\nb", "9", "é", "\0"]
)
PATHS = st.lists(SEGMENTS, min_size=1, max_size=3).map(tuple)


@given(PATHS)
def test_a_rendered_path_is_parsed_to_what_it_was(path: tuple[str, ...]) -> None:
    assert parse_field_path(render_field_path(path)) == path


@given(PATHS)
def test_a_path_is_rendered_as_the_client_renders_it(path: tuple[str, ...]) -> None:
    assert render_field_path(path) == FieldPath(*path).to_api_repr()


@pytest.mark.parametrize(
    ("text", "path"),
    [
        ("a", ("a",)),
        ("_a9.B", ("_a9", "B")),
        ("`a.b`.c", ("a.b", "c")),
        ("`a\\`b`.`\\\\`", ("a`b", "\\")),
        ("__name__", ("__name__",)),
    ],
)
def test_a_path_has_the_segments_that_it_says(text: str, path: tuple[str, ...]) -> None:
    assert parse_field_path(text) == path


@pytest.mark.parametrize(
    "text",
    [".", "a.", ".a", "a..b", "9", "a-b", "a b", "`a", "`a`b", "a`b`", "`a\\`", "a.`b`c", "é", "*", "``"],
)
def test_a_malformed_path_is_an_invalid_argument_that_names_it(text: str) -> None:
    with pytest.raises(Status, match="INVALID_ARGUMENT: Invalid property path") as caught:
        parse_field_path(text)
    assert f'"{text}"' in caught.value.message


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "Invalid empty property path string."),
        ("__x__", "Invalid reserved name in field path __x__"),
        ("a.__type__", "Invalid reserved name in field path __type__"),
        ("`__x__`", "Invalid reserved name in field path __x__"),
        ("a.__name__", "Invalid reserved name in field path __name__"),
        ("x" * 1_501, "property path is longer than 1500 bytes."),
    ],
)
def test_a_path_that_production_refuses_is_refused_in_its_words(text: str, message: str) -> None:
    with pytest.raises(Status, match="INVALID_ARGUMENT") as caught:
        parse_field_path(text)
    assert caught.value.message == message


def test_a_documents_name_is_no_field_of_it() -> None:
    with pytest.raises(Status, match="Invalid reserved name in field path __name__"):
        parse_field("__name__")
    assert parse_field("a.b") == ("a", "b")


def number(value: int) -> Any:
    return protos.Value(integer_value=value)


def document(*paths: tuple[tuple[str, ...], int]) -> Any:
    result = protos.Document()
    for path, value in paths:
        set_field(result.fields, path, number(value))
    return result


def test_a_field_is_found_where_it_was_set() -> None:
    fields = document((("a", "b"), 1), (("a", "c"), 2), (("d",), 3)).fields
    assert get_field(fields, ("a", "b")) == number(1)
    assert get_field(fields, ("a", "c")) == number(2)
    assert get_field(fields, ("d",)) == number(3)


@pytest.mark.parametrize("path", [("x",), ("a", "x"), ("a", "b", "x"), ("x", "y"), ("d", "e")])
def test_looking_for_an_absent_field_finds_and_leaves_nothing(path: tuple[str, ...]) -> None:
    looked_at = document((("a", "b"), 1), (("d",), 3))
    before = looked_at.SerializeToString(deterministic=True)
    assert get_field(looked_at.fields, path) is None
    delete_field(looked_at.fields, path)
    assert looked_at.SerializeToString(deterministic=True) == before


def test_a_field_that_is_set_below_a_scalar_replaces_it_by_a_map() -> None:
    assert document((("a",), 1), (("a", "b"), 2)) == document((("a", "b"), 2))


def test_a_deleted_field_leaves_its_map_behind() -> None:
    emptied = document((("a", "b"), 1), (("c",), 2))
    delete_field(emptied.fields, ("a", "b"))
    delete_field(emptied.fields, ("c",))
    assert emptied == protos.Document(fields={"a": protos.Value(map_value=protos.MapValue())})
