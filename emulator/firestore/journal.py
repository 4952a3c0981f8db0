"""The data folder: every commit, on disk before it is acknowledged.

One SQLite file in WAL mode. A commit of ours is a transaction of its, so a process that is killed at any moment leaves
whole commits behind, and every one that was acknowledged. WAL with `synchronous=NORMAL` does not wait for the disk at
each commit: a power failure may take the last ones, a `kill -9` does not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator
from pathlib import Path

from grpc import StatusCode

from emulator.firestore.status import Status
from emulator.firestore.versions import Version

_FILE = "firestore.sqlite3"
_APPLICATION_ID = 0x46495245  # "FIRE"
_FORMAT = 1

_SCHEMA = """
CREATE TABLE document (
    name TEXT PRIMARY KEY, data BLOB NOT NULL, created_us INTEGER NOT NULL, updated_us INTEGER NOT NULL
);
CREATE TABLE clock (last_us INTEGER NOT NULL);
INSERT INTO clock VALUES (0);
"""


class Journal:
    """A folder with the latest version of each document. One process has it at a time.

    Raises:
        ValueError: the folder cannot be used; the message says why, and what to do.
    """

    def __init__(self, folder: Path) -> None:
        self._path = Path(folder) / _FILE
        try:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            # the engine's own lock keeps threads apart
            self._database = sqlite3.connect(
                self._path, isolation_level=None, check_same_thread=False, timeout=0
            )
        except (OSError, sqlite3.Error) as error:
            raise ValueError(f"the data folder {folder} cannot be used: {error}") from error
        try:
            self._open()
        except sqlite3.Error as error:
            self._database.close()
            if error.sqlite_errorcode == sqlite3.SQLITE_BUSY:
                raise ValueError(
                    f"the data folder {folder} is in use by another emulator; stop it, or take another folder"
                ) from error
            raise ValueError(f"{self._path} is not an emulator's data, or is damaged: {error}") from error
        except ValueError:
            self._database.close()
            raise

    @property
    def last_us(self) -> int:
        """The time of the last commit, in microseconds since the epoch."""
        (last_us,) = self._database.execute("SELECT last_us FROM clock").fetchone()
        return int(last_us)

    def load(self) -> Iterator[tuple[str, bytes, int, int]]:
        """Each document: its name, its encoding, and when it was created and updated."""
        yield from self._database.execute("SELECT name, data, created_us, updated_us FROM document")

    def record(self, versions: Iterable[Version], time_us: int) -> None:
        """Write a commit: all of it, or none.

        Raises:
            Status: RESOURCE_EXHAUSTED where the disk is full, INTERNAL for other failures.
        """
        execute = self._database.execute
        try:
            execute("BEGIN")
            for version in versions:
                if version.data is None:
                    execute("DELETE FROM document WHERE name = ?", (version.name,))
                else:
                    execute(
                        "INSERT INTO document VALUES (?, ?, ?, ?) ON CONFLICT (name) DO UPDATE "
                        "SET data = excluded.data, created_us = excluded.created_us, updated_us = excluded.updated_us",
                        (version.name, version.data, version.created_us, version.time_us),
                    )
            execute("UPDATE clock SET last_us = ?", (time_us,))
            execute("COMMIT")
        except sqlite3.Error as error:
            self._fail(error)

    def clear(self) -> None:
        """Delete all documents.

        Raises:
            Status: as `record`.
        """
        try:
            self._database.execute("DELETE FROM document")
        except sqlite3.Error as error:
            self._fail(error)

    def close(self) -> None:
        """Let go of the folder."""
        self._database.close()

    def _open(self) -> None:
        execute = self._database.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute("BEGIN EXCLUSIVE")  # takes the folder, for as long as this connection lives
        (application,) = execute("PRAGMA application_id").fetchone()
        (found,) = execute("PRAGMA user_version").fetchone()
        empty = execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        if empty:
            for statement in filter(str.strip, _SCHEMA.split(";")):
                execute(statement)
            execute(f"PRAGMA application_id = {_APPLICATION_ID}")
            execute(f"PRAGMA user_version = {_FORMAT}")
        execute("COMMIT")
        if not empty and application != _APPLICATION_ID:
            raise ValueError(f"{self._path} is not an emulator's data: take another folder")
        if not empty and found != _FORMAT:
            raise ValueError(
                f"{self._path} has format {found}, and this emulator reads format {_FORMAT}: export the data with "
                "the version that wrote it, and import them here"
            )

    def _fail(self, error: sqlite3.Error) -> None:
        if self._database.in_transaction:
            self._database.execute("ROLLBACK")
        full = error.sqlite_errorcode == sqlite3.SQLITE_FULL
        code = StatusCode.RESOURCE_EXHAUSTED if full else StatusCode.INTERNAL
        raise Status(code, f"The commit could not be written to {self._path}: {error}.") from error
