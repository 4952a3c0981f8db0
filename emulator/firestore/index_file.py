"""The text of `firestore.indexes.json`: JSON with comments, checked as the Firebase command line and Firestore do.

https://firebase.google.com/docs/reference/firestore/indexes
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NoReturn

from emulator.firestore.field_paths import Path, parse_field_path
from emulator.firestore.indexes import WILDCARD, FieldIndex, Index, IndexField, Mode, Scope
from emulator.firestore.query_filters import NAME
from emulator.status import Status

_MAX_FIELDS = 100  # of a composite index: https://firebase.google.com/docs/firestore/quotas#indexes
_MAX_DIMENSION = 2_048  # https://firebase.google.com/docs/firestore/vector-search#limitations
_COMMENTS = re.compile(r'("(?:[^"\\]|\\.)*")|//[^\n]*|/\*.*?\*/', re.DOTALL)
_CONFIGS = ("order", "arrayConfig", "vectorConfig")
_ORDERS = ("ASCENDING", "DESCENDING")
_API_SCOPES = ("ANY_API", "DATASTORE_MODE_API", "MONGODB_COMPATIBLE_API")
_DENSITIES = ("DENSITY_UNSPECIFIED", "SPARSE_ALL", "SPARSE_ANY", "DENSE")


@dataclass(frozen=True, slots=True)
class IndexFile:
    """What the file says: composite indexes, the indexes of overridden fields, and fields with a TTL policy."""

    indexes: tuple[Index, ...]
    overrides: dict[tuple[str, Path], tuple[FieldIndex, ...]]
    ttl_fields: dict[str, str]


def parse_index_file(text: str) -> IndexFile:
    """The file's content.

    Raises:
        ValueError: the text is not what the Firebase command line takes, or what Firestore would refuse of it; the
            message says which entry is wrong and what was expected.
    """
    try:
        content = json.loads(_COMMENTS.sub(_without_comment, text))
    except json.JSONDecodeError as error:
        raise ValueError(f"expected JSON: {error}") from error
    file = _object(content, "the file")
    indexes = tuple(
        index
        for where, entry in _entries(file, "indexes", "")
        if (index := _index(_object(entry, where), where)) is not None
    )
    overrides: dict[tuple[str, Path], tuple[FieldIndex, ...]] = {}
    ttl_fields: dict[str, str] = {}
    seen: set[tuple[str, Path]] = set()
    for where, entry in _entries(file, "fieldOverrides", ""):
        override = _object(entry, where)
        group = _text(override, "collectionGroup", where)
        field = _text(override, "fieldPath", where)
        path = WILDCARD if field == "*" else _path(field, f"{where}.fieldPath")
        if (group, path) in seen:
            _wrong(where, f"one entry for the field {field} of {group}", "a second one")
        seen.add((group, path))
        if "indexes" in override:  # without, it leaves the field's indexing as it is
            overrides[group, path] = tuple(
                _field_index(_object(one, place), place)
                for place, one in _entries(override, "indexes", where)
            )
        if _flag(override, "ttl", where):
            if path == WILDCARD:
                _wrong(f"{where}.ttl", "a TTL policy on a field by its name", 'one on "*"')
            if group in ttl_fields:
                _wrong(
                    f"{where}.ttl", f"one TTL policy for {group}", f"a second one beside {ttl_fields[group]}"
                )
            ttl_fields[group] = field
    return IndexFile(indexes, overrides, ttl_fields)


def _without_comment(match: re.Match[str]) -> str:
    # the lines stay, so that an error names the right one
    return match.group(1) or "\n" * match.group().count("\n") or " "


def _index(entry: dict[str, Any], where: str) -> Index | None:
    """The index; None where it is for another API than this one."""
    old = (
        "collectionGroup" not in entry and "collectionId" in entry
    )  # the format of 2018, which is still taken
    group = _text(entry, "collectionId" if old else "collectionGroup", where)
    scope = Scope(_choice(entry, "queryScope", where, tuple(Scope), "COLLECTION" if old else None))
    api = _choice(entry, "apiScope", where, _API_SCOPES, "ANY_API")
    _choice(entry, "density", where, _DENSITIES, "SPARSE_ALL")
    for flag in ("multikey", "multiKey", "unique"):
        _flag(entry, flag, where)
    if "fields" not in entry:
        _wrong(where, "a list `fields`", "none")
    fields = tuple(_field(_object(one, place), place) for place, one in _entries(entry, "fields", where))
    if api != "ANY_API":
        return None
    _check_fields(fields, where)
    return Index(group, scope, fields)


def _field(entry: dict[str, Any], where: str) -> IndexField:
    path = _path(_text(entry, "fieldPath", where), f"{where}.fieldPath")
    mode = entry.get("mode")
    if mode is not None and not any(config in entry for config in _CONFIGS):  # the format of 2018
        _choice(entry, "mode", where, (*_ORDERS, "ARRAY_CONTAINS"), None)
        return IndexField(path, Mode.CONTAINS if mode == "ARRAY_CONTAINS" else Mode(mode))
    return IndexField(path, *_mode(entry, where))


def _field_index(entry: dict[str, Any], where: str) -> FieldIndex:
    mode, dimension = _mode(entry, where)
    return FieldIndex(mode, Scope(_choice(entry, "queryScope", where, tuple(Scope), "COLLECTION")), dimension)


def _mode(entry: dict[str, Any], where: str) -> tuple[Mode, int]:
    given = [config for config in _CONFIGS if entry.get(config) is not None]
    if len(given) != 1:
        _wrong(
            where, "exactly one of `order`, `arrayConfig` and `vectorConfig`", " and ".join(given) or "none"
        )
    match given[0]:
        case "order":
            return Mode(_choice(entry, "order", where, _ORDERS, None)), 0
        case "arrayConfig":
            _choice(entry, "arrayConfig", where, ("CONTAINS",), None)
            return Mode.CONTAINS, 0
    config = _object(entry["vectorConfig"], f"{where}.vectorConfig")
    dimension = config.get("dimension")
    if type(dimension) is not int or not 1 <= dimension <= _MAX_DIMENSION:
        _wrong(f"{where}.vectorConfig.dimension", f"an integer of 1 to {_MAX_DIMENSION}", repr(dimension))
    _object(config.get("flat"), f"{where}.vectorConfig.flat")
    return Mode.VECTOR, dimension


def _check_fields(fields: tuple[IndexField, ...], where: str) -> None:
    """What Firestore would refuse when the file is deployed."""
    place = f"{where}.fields"
    if not 1 <= len(fields) <= _MAX_FIELDS:
        _wrong(place, f"1 to {_MAX_FIELDS} fields", str(len(fields)))
    modes = [field.mode for field in fields]
    if modes.count(Mode.CONTAINS) > 1:
        _wrong(place, "at most one field with `arrayConfig`", str(modes.count(Mode.CONTAINS)))
    if Mode.VECTOR in modes[:-1]:
        _wrong(place, "the field with `vectorConfig` as the last", "another behind it")
    columns = [(field.path, field.mode.is_order) for field in fields]
    if len(set(columns)) < len(columns):
        _wrong(place, "each field once", "one twice")
    if len(fields) == 1 and fields[0].path != NAME and fields[0].mode is not Mode.VECTOR:
        _wrong(
            place,
            "two or more fields (this index is not necessary, configure the field in `fieldOverrides`)",
            "one",
        )


def _entries(parent: dict[str, Any], key: str, where: str) -> Iterator[tuple[str, Any]]:
    place = f"{where}.{key}" if where else key
    value = parent.get(key, [])
    if not isinstance(value, list):
        _wrong(place, "a list", _kind(value))
    for position, entry in enumerate(value):
        yield f"{place}[{position}]", entry


def _object(value: Any, where: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        _wrong(where, "an object", _kind(value))
    return value


def _text(entry: dict[str, Any], key: str, where: str) -> str:
    value = entry.get(key)
    if not isinstance(value, str) or not value:
        _wrong(where, f"a string `{key}`", "none" if value is None else repr(value))
    return value


def _flag(entry: dict[str, Any], key: str, where: str) -> bool:
    value = entry.get(key)
    if value is not None and not isinstance(value, bool):
        _wrong(f"{where}.{key}", "true or false", _kind(value))
    return value is True


def _choice(
    entry: dict[str, Any], key: str, where: str, choices: tuple[str, ...], default: str | None
) -> str:
    value = entry.get(key, default)
    if value not in choices:
        _wrong(f"{where}.{key}", " or ".join(choices), "none" if value is None else repr(value))
    return str(value)


def _path(text: str, where: str) -> Path:
    try:
        return parse_field_path(text)
    except Status:
        _wrong(where, "a field path, quoted by backticks where it has to be", repr(text))


def _kind(value: Any) -> str:
    return (
        "nothing"
        if value is None
        else repr(value)
        if isinstance(value, int | float | str)
        else type(value).__name__
    )


def _wrong(where: str, expected: str, found: str) -> NoReturn:
    raise ValueError(f"{where}: expected {expected}, found {found}")
