"""The data folder: every commit, on disk before it is acknowledged.

One SQLite file in WAL mode. A commit of ours is a transaction of its, so a process that is killed at any moment leaves
whole commits behind, and every one that was acknowledged. WAL with `synchronous=NORMAL` does not wait for the disk at
each commit: a power failure may take the last ones, a `kill -9` does not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from grpc import StatusCode

from emulator.firestore.versions import Version
from emulator.status import Status

_FILE = "firestore.sqlite3"
_APPLICATION_ID = 0x46495245  # "FIRE"
_FORMAT = 1

_RIVALS = 0.2
"""Seconds to wait for the lock: two emulators that start at once must not both be refused."""

_CHECKPOINT_PAGES = 4_000
"""16 MB of log before it is copied into the file: fewer copies of the same pages, and of waits for the disk."""

# rows in order of arrival, with an index of the names: a commit of many documents writes half the pages of a table
# that is ordered by name, and documents of more than 1 KB keep together
_SCHEMA = """
CREATE TABLE document (
    name TEXT PRIMARY KEY, data BLOB NOT NULL, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL
);
CREATE TABLE clock (last_us INTEGER NOT NULL);
INSERT INTO clock VALUES (0);
"""

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
        folder = Path(folder)
        self._path = folder / _FILE
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"the data folder {folder} cannot be used: it is a file")
        if not create and not self._path.exists():
            raise ValueError(f"there are no emulator's data in {folder}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # the engine's own lock keeps threads apart
            self._database = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=_RIVALS
            )
        except (OSError, sqlite3.Error) as error:
            raise ValueError(f"the data folder {folder} cannot be used: {error}") from error
        try:
            self._open()
        except sqlite3.Error as error:
            self._database.close()
            raise self._unusable(error) from error
        except ValueError:
            self._database.close()
            raise

    def load(self, *, ordered: bool = False) -> Iterator[Row]:
        """Each document, where `ordered` in the order of the names' characters.

        Raises:
            ValueError: the file is damaged.
        """
        query = "SELECT name, data, created_us, updated_us FROM document"
        try:
            yield from self._database.execute(f"{query} ORDER BY name" if ordered else query)
        except sqlite3.Error as error:
            raise self._unusable(error) from error

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
        """Write a commit, whose versions have its time: all of it, or none.

        Raises:
            Status: RESOURCE_EXHAUSTED where there is no room, INTERNAL for other failures.
        """
        try:
            if len(versions) == 1 and versions[0].data is not None:
                self._database.execute(_PUT, _row(versions[0]))  # is a transaction by itself
                return
            put = [_row(version) for version in versions if version.data is not None]
            with self._transaction():
                self._database.executemany(_PUT, put)
                self._database.executemany(_DELETE, [(one.name,) for one in versions if one.data is None])
                if not put:
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
            with self._transaction():
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
            with self._transaction():
                self._database.execute("DELETE FROM document")
                self._database.execute(_SET_CLOCK, (time_us,))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Let go of the folder."""
        self._database.close()

    def _open(self) -> None:
        execute = self._database.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("BEGIN EXCLUSIVE")  # takes the folder, for as long as this connection lives
        # nothing is written to a file before it is known to be ours
        (application,) = execute("PRAGMA application_id").fetchone()
        (found,) = execute("PRAGMA user_version").fetchone()
        empty = execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        execute("COMMIT")
        if not empty and application != _APPLICATION_ID:
            raise ValueError(f"{self._path} is not an emulator's data: take another folder")
        if not empty and found != _FORMAT:
            raise ValueError(
                f"{self._path} has format {found}, and this emulator reads format {_FORMAT}: export the data with "
                "the version that wrote it, and import them here"
            )
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        if empty:
            with self._transaction():
                for statement in filter(str.strip, _SCHEMA.split(";")):
                    execute(statement)
                execute(f"PRAGMA application_id = {_APPLICATION_ID}")
                execute(f"PRAGMA user_version = {_FORMAT}")

    def _number(self, query: str) -> int:
        try:
            (number,) = self._database.execute(query).fetchone()
        except sqlite3.Error as error:
            raise self._unusable(error) from error
        return int(number)

    @contextmanager
    def _transaction(self) -> Iterator[None]:
        self._database.execute("BEGIN")
        try:
            yield
            self._database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # some errors have rolled it back already
                self._database.execute("ROLLBACK")
            raise

    def _unusable(self, error: sqlite3.Error) -> ValueError:
        folder = self._path.parent
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the rest tells more than matters here
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return ValueError(
                    f"the data folder {folder} is in use by another emulator; stop it, or take another folder"
                )
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_ERROR:
                return ValueError(f"{self._path} is not an emulator's data, or is damaged: {error}")
        return ValueError(f"the data folder {folder} cannot be used: {error}")

    def _failed(self, error: sqlite3.Error) -> Status:
        code = getattr(error, "sqlite_errorcode", 0)
        # a file that may not grow, by a quota or a limit of the process, is a failed write to SQLite
        no_room = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
        return Status(
            StatusCode.RESOURCE_EXHAUSTED if no_room else StatusCode.INTERNAL,
            f"The commit could not be written to {self._path}: {str(error).rstrip('.')}.",
        )


def _row(version: Version) -> Row:
    assert version.data is not None
    return version.name, version.data, version.created_us, version.time_us
