"""One index: the entries of the documents that a query may ask, in order, and how they follow the documents."""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import Any

from sortedcontainers import SortedList

from emulator.firestore.field_paths import get_field
from emulator.firestore.query import Query
from emulator.firestore.query_filters import NAME
from emulator.firestore.query_plan import IndexShape
from emulator.firestore.values import invert, name_key, sort_key
from emulator.firestore.versions import Move, Version

Entry = tuple[bytes, str, object]
"""A key, the name of the document that has it, and the mark of the index."""

_REBUILT = 4  # sorting all entries takes less time than moving a quarter of them one by one


class SortedEntries:
    """The entries of one shape.

    Args:
        shape: what the keys are made of.
        query: one that asks the same documents, to tell which belong here.
    """

    def __init__(self, shape: IndexShape, query: Query) -> None:
        self.shape = shape
        self.query = query
        self.entries: Any = SortedList()
        self._mark = object()  # tells the entries from those of other indexes
        self._fields = tuple(column for column in shape.columns if column.path != NAME)
        self._descending = shape.columns[-1].descending
        # every order is made total by the name; as a rule it comes once, and last
        self._is_plain = shape.array is None and shape.columns[:-1] == self._fields

    def fill(self, versions: Iterable[Version]) -> None:
        """Take in all documents that there are."""
        entries: list[Entry] = []
        for version in versions:
            for key in self.keys(version):
                entry = (key, version.name, self._mark)
                entries.append(entry)
                if self._is_plain:
                    version.entry = entry
            version.forget()
        self.entries.update(entries)

    def keys(self, version: Version) -> Collection[bytes]:
        """The document's keys; none where it lacks a field, and one an element where there is an array."""
        if version.data is None:
            return ()
        own = name_key(version.name)
        if self._is_plain:
            key = self._plain_key(version, own)
            return () if key is None else (key,)
        fields = version.message.fields
        whole = b""
        for column in self.shape.columns:
            if column.path == NAME:
                part = own
            else:
                value = get_field(fields, column.path)
                if value is None:
                    return ()
                part = sort_key(value)
            whole += invert(part) if column.descending else part
        if self.shape.array is None:
            return (whole,)
        array = get_field(fields, self.shape.array)
        return () if array is None else {sort_key(element) + whole for element in array.array_value.values}

    def move(self, moves: Iterable[Move]) -> None:
        """Follow documents to their next versions, each of another document."""
        removed, added = self._plainly(moves) if self._is_plain else self._apart(moves)
        if _REBUILT * len(removed) > len(self.entries):
            gone = set(removed)
            kept = [entry for entry in self.entries if entry not in gone]
            self.entries.clear()
            self.entries.update(kept + added)
            return
        for entry in removed:
            self.entries.remove(entry)
        if len(added) == 1:
            self.entries.add(added[0])
        elif added:
            self.entries.update(added)

    def _plainly(self, moves: Iterable[Move]) -> tuple[list[Entry], list[Entry]]:
        """As `_apart`, where each document has one entry, which its version keeps: nothing is decoded to find it."""
        removed: list[Entry] = []
        added: list[Entry] = []
        mark = self._mark
        for old, new in moves:
            name = new.name
            own = name_key(name)
            before = None if old is None or old.data is None else self._entry_of(old, own)
            key = None if new.data is None else self._plain_key(new, own)
            if before is not None:
                if before[0] == key:
                    new.entry = before
                    continue
                removed.append(before)
            if key is not None:
                new.entry = entry = (key, name, mark)
                added.append(entry)
        return removed, added

    def _entry_of(self, version: Version, own: bytes) -> Entry | None:
        """The entry of a document that has one at most; of those of several indexes, a version keeps the last one."""
        entry = version.entry
        if entry is not None and entry[2] is self._mark:
            version.entry = None
            return entry
        key = self._plain_key(version, own)
        return None if key is None else (key, version.name, self._mark)

    def _apart(self, moves: Iterable[Move]) -> tuple[list[Entry], list[Entry]]:
        """The entries that the moves take away, and those that they bring."""
        removed: list[Entry] = []
        added: list[Entry] = []
        for old, new in moves:
            before = () if old is None else self.keys(old)
            after = self.keys(new)
            removed.extend((key, new.name, self._mark) for key in before if key not in after)
            added.extend((key, new.name, self._mark) for key in after if key not in before)
        return removed, added

    def _plain_key(self, version: Version, own: bytes) -> bytes | None:
        """The keys of the fields, and behind them that of the name; None where the document lacks a field."""
        if self._descending:
            own = invert(own)
        if not self._fields:
            return own
        fields = version.message.fields
        prefix = b""
        for column in self._fields:
            path = column.path
            value = fields.get(path[0]) if len(path) == 1 else get_field(fields, path)
            if value is None:
                return None
            key = sort_key(value)
            prefix += invert(key) if column.descending else key
        return prefix + own
