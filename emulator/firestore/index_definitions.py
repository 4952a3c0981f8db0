"""Which indexes there are: those of `firestore.indexes.json`, and what each field has by itself."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path as FilePath

from emulator.firestore.field_paths import Path
from emulator.firestore.index_file import parse_index_file
from emulator.firestore.indexes import AUTOMATIC, FieldIndex, Index, Scope

_EVERY_GROUP = "__default__"
"""The collection group whose `*` is for all groups that have none of their own."""


@dataclass(frozen=True, slots=True)
class IndexDefinitions:
    """The definitions.

    `ttl_fields` maps a collection ID to the field after which its documents expire, `overrides` a collection ID and a
    field to the indexes that the field has instead of the automatic ones.
    """

    ttl_fields: dict[str, str] = field(default_factory=dict)
    composites: tuple[Index, ...] = ()
    overrides: Mapping[tuple[str, Path], tuple[FieldIndex, ...]] = field(default_factory=dict)

    @classmethod
    def load(cls, path: FilePath | None) -> IndexDefinitions:
        """The definitions in a file; none without one.

        Raises:
            OSError: the file cannot be read.
            ValueError: the file is not what the Firebase command line takes; the message says which entry is wrong
                and what was expected.
        """
        if path is None:
            return cls()
        try:
            file = parse_index_file(FilePath(path).read_text(encoding="utf-8"))
        except ValueError as error:
            raise ValueError(f"{path} is no firestore.indexes.json: {error}") from error
        return cls(file.ttl_fields, file.indexes, file.overrides)

    def of_field(self, collection_group: str, path: Path) -> tuple[FieldIndex, ...]:
        """The indexes of a field's own.

        An override of a map is one of all that is in it, until a deeper one says otherwise; `*` is above them all.
        https://firebase.google.com/docs/firestore/query-data/index-overview#single-field_index_exemptions
        """
        for length in range(len(path), -1, -1):
            found = self.overrides.get((collection_group, path[:length]))
            if found is not None:
                return found
        return self.overrides.get((_EVERY_GROUP, ()), AUTOMATIC)

    def candidates(self, collection_group: str, scope: Scope, paths: Iterator[Path]) -> Iterator[Index]:
        """The indexes of a scope that may be of use to a query on these fields."""
        for index in self.composites:
            if index.collection_group == collection_group and index.scope is scope:
                yield index
        for path in paths:
            for one in self.of_field(collection_group, path):
                if one.scope is scope:
                    yield one.of(collection_group, path)

    def with_index(self, index: Index) -> IndexDefinitions:
        """These, and one more: a composite, or one more of a field's own."""
        single = index.single
        if single is None:
            return replace(self, composites=(*self.composites, index))
        group = index.collection_group
        indexes = (*self.of_field(group, single.path), FieldIndex(single.mode, index.scope))
        return replace(self, overrides={**self.overrides, (group, single.path): indexes})
