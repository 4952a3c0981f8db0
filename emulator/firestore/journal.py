"""The data folder: every commit, on disk before it is acknowledged.

A commit of ours is a transaction of SQLite's, so a process that is killed at any moment leaves whole commits behind,
and every one that was acknowledged.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from emulator.data_file import DataFile, DataFormat
from emulator.firestore.versions import Version
from emulator.status import Status

# rows in order of arrival, with an index of the names: a commit of many documents writes half the pages of a table
# that is ordered by name, and documents of more than 1 KB keep together
_SCHEMA = """
CREATE TABLE document (
    name TEXT PRIMARY KEY, data BLOB NOT NULL, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL
);
CREATE TABLE clock (last_us INTEGER NOT NULL);
INSERT INTO clock VALUES (0);
"""

_FORMAT = DataFormat(
    file="firestore.sqlite3",
    application_id=0x46495245,  # "FIRE"
    version=1,
    schema=_SCHEMA,
    way_out="export the data with the version that wrote it, and import them here",
)

_PUT = (
    "INSERT INTO document VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
    "SET data = excluded.data, created_us = excluded.created_us, updated_us = excluded.updated_us"
)
_DELETE = "DELETE FROM document WHERE name = ?"
_SET_CLOCK = "UPDATE clock SET last_us = ?"

Row = tuple[str, bytes, int, int]
"""A document: its name, its encoding, and when it was created and updated, in microseconds since the epoch."""


class Journal:
    """A folder with the latest version of each document. One process has it at a time.

    Args:
        folder: where the file lies.
        create: whether a folder that is missing is made.

    Raises:
        ValueError: the folder cannot be used; the message says why, and what to do.
    """

    def __init__(self, folder: Path, *, create: bool = True) -> None:
        self._file = DataFile(folder, _FORMAT, create=create)
        self._database = self._file.database

    def load(self, *, ordered: bool = False) -> Iterator[Row]:
        """Each document, where `ordered` in the order of the names' characters.

        Raises:
            ValueError: the file is damaged.
        """
        query = "SELECT name, data, created_us, updated_us FROM document"
        try:
            yield from self._database.execute(f"{query} ORDER BY name" if ordered else query)
        except sqlite3.Error as error:
            raise self._file.unusable(error) from error

    def count(self) -> int:
        """How many documents there are; a ValueError as from `load`."""
        return self._number("SELECT count(*) FROM document")

    def cleared_us(self) -> int:
        """The time of the last commit that left no document with its time, in microseconds since the epoch.

        The last commit of all is this one, or that of the document which was updated last. A ValueError as from `load`.
        """
        return self._number("SELECT last_us FROM clock")

    def last_us(self) -> int:
        """The time of the last commit; it looks at each document. A ValueError as from `load`."""
        return self._number(
            "SELECT max(last_us, ifnull((SELECT max(updated_us) FROM document), 0)) FROM clock"
        )

    def record(self, versions: Sequence[Version], time_us: int) -> None:
        """Write a commit: all of it, or none. No version is later than it, and they come in the order of their times.

        Raises:
            Status: RESOURCE_EXHAUSTED where there is no room, INTERNAL for other failures.
        """
        try:
            if len(versions) == 1 and versions[0].data is not None:
                self._database.execute(_PUT, _row(versions[0]))  # is a transaction by itself
                return
            put = [_row(version) for version in versions if version.data is not None]
            with self._file.transaction():
                self._database.executemany(_PUT, put)
                self._database.executemany(_DELETE, [(one.name,) for one in versions if one.data is None])
                if not put or put[-1][3] < time_us:
                    self._database.execute(_SET_CLOCK, (time_us,))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def replace(self, versions: Iterable[Version], time_us: int) -> int:
        """Write documents with the times that they have, none later than `time_us`; all, or none; how many.

        They may come from a generator: they are not held in memory. What it raises goes through, and nothing is
        written then. Of two with the same name the later is kept.

        Raises:
            Status: as `record`.
        """
        count = 0

        def rows() -> Iterator[Row]:
            nonlocal count
            for version in versions:
                count += 1
                yield _row(version)

        try:
            with self._file.transaction():
                self._database.executemany(_PUT, rows())
                self._database.execute(_SET_CLOCK, (time_us,))
        except sqlite3.Error as error:
            raise self._failed(error) from error
        return count

    def clear(self, time_us: int) -> None:
        """Delete all documents, at a time.

        Raises:
            Status: as `record`.
        """
        try:
            with self._file.transaction():
                self._database.execute("DELETE FROM document")
                self._database.execute(_SET_CLOCK, (time_us,))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Let go of the folder."""
        self._file.close()

    def _number(self, query: str) -> int:
        try:
            (number,) = self._database.execute(query).fetchone()
        except sqlite3.Error as error:
            raise self._file.unusable(error) from error
        return int(number)

    def _failed(self, error: sqlite3.Error) -> Status:
        return self._file.failed("The commit", error)


def _row(version: Version) -> Row:
    assert version.data is not None
    return version.name, version.data, version.created_us, version.time_us
