"""Indexes, as `firestore.indexes.json` and the Admin API define them: fields in a sequence, over a scope."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from emulator.firestore.field_paths import Path, render_field_path
from emulator.firestore.query_filters import NAME

WILDCARD: Path = ()
"""The path that stands for every field of a collection group: `*` in the file."""


class Scope(StrEnum):
    """Which queries an index is for: those of one collection, or those of a collection group."""

    COLLECTION = "COLLECTION"
    COLLECTION_GROUP = "COLLECTION_GROUP"
    COLLECTION_RECURSIVE = "COLLECTION_RECURSIVE"  # for Datastore mode only: serves no query here


class Mode(StrEnum):
    """How a field is indexed."""

    ASCENDING = "ASCENDING"
    DESCENDING = "DESCENDING"
    CONTAINS = "CONTAINS"
    VECTOR = "VECTOR"

    @property
    def is_order(self) -> bool:
        return self in (Mode.ASCENDING, Mode.DESCENDING)


@dataclass(frozen=True, slots=True)
class IndexField:
    """A field of an index; `dimension` is a vector's."""

    path: Path
    mode: Mode
    dimension: int = 0

    def json(self) -> dict[str, Any]:
        """The field as an entry of the file has it."""
        return {"fieldPath": render_field_path(self.path), **mode_json(self.mode, self.dimension)}


@dataclass(frozen=True, slots=True)
class Index:
    """A composite index, or (with one field) a field's own."""

    collection_group: str
    scope: Scope
    fields: tuple[IndexField, ...]

    @property
    def entries(self) -> tuple[IndexField, ...]:
        """The fields that its entries are sorted by: ends with the name unless that has an earlier place.

        The name goes in the direction of the last field, and ascending behind one that has none.
        """
        if any(field.path == NAME for field in self.fields):
            return self.fields
        descending = self.fields[-1].mode is Mode.DESCENDING
        return (*self.fields, IndexField(NAME, Mode.DESCENDING if descending else Mode.ASCENDING))

    @property
    def given(self) -> tuple[IndexField, ...]:
        """The fields that have to be written down: without a name that goes as it would by itself."""
        shorter = Index(self.collection_group, self.scope, self.fields[:-1])
        return shorter.fields if shorter.fields and shorter.entries == self.fields else self.fields

    @property
    def single(self) -> IndexField | None:
        """The one field, where it is an index of a field's own; None for a composite one."""
        first = self.given[0]
        is_single = len(self.given) == 1 and first.path != NAME and first.mode is not Mode.VECTOR
        return first if is_single else None

    def json(self) -> dict[str, Any]:
        """The entry for the file's list `indexes`."""
        return {
            "collectionGroup": self.collection_group,
            "queryScope": self.scope.value,
            "fields": [field.json() for field in self.given],
        }


@dataclass(frozen=True, slots=True)
class FieldIndex:
    """One of the indexes of a field's own."""

    mode: Mode
    scope: Scope
    dimension: int = 0

    def of(self, collection_group: str, path: Path) -> Index:
        """The same as an `Index`."""
        return Index(collection_group, self.scope, (IndexField(path, self.mode, self.dimension),))

    def json(self) -> dict[str, Any]:
        """The entry for the list `indexes` of a field's override."""
        return {**mode_json(self.mode, self.dimension), "queryScope": self.scope.value}


AUTOMATIC = tuple(
    FieldIndex(mode, Scope.COLLECTION) for mode in (Mode.ASCENDING, Mode.DESCENDING, Mode.CONTAINS)
)
"""What each field has unless an override says otherwise.

https://firebase.google.com/docs/firestore/query-data/index-overview#automatic_indexing
"""


def mode_json(mode: Mode, dimension: int) -> dict[str, Any]:
    """How the file says in which way a field is indexed."""
    match mode:
        case Mode.CONTAINS:
            return {"arrayConfig": "CONTAINS"}
        case Mode.VECTOR:
            return {"vectorConfig": {"dimension": dimension, "flat": {}}}
    return {"order": mode.value}
