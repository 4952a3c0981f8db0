"""The data folder of a Cloud Tasks: every change of a queue or a task, on disk before it is acknowledged.

A process that is killed at any moment leaves whole changes behind, and every one that was acknowledged. So a task whose
creation was answered is there again, and one that was being dispatched has not gone: it is dispatched once more.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from pathlib import Path

from emulator.data_file import DataFile, DataFormat
from emulator.status import Status
from emulator.tasks.journaling import Change

_FORMAT = DataFormat(
    file="tasks.sqlite3",
    application_id=0x5441534B,  # "TASK"
    version=1,
    # rows in the order of their creation: it is the order in which tasks of one moment are dispatched
    schema="""
CREATE TABLE entry (
    id INTEGER PRIMARY KEY AUTOINCREMENT, kind TEXT NOT NULL, name TEXT NOT NULL, data BLOB NOT NULL,
    UNIQUE (kind, name)
);
CREATE TABLE signing_key (pem BLOB NOT NULL);
""",
    way_out="let the version that wrote it run its tasks to the end, or take another folder",
)

_PUT = (
    "INSERT INTO entry (kind, name, data) VALUES (?, ?, ?) "
    "ON CONFLICT (kind, name) DO UPDATE SET data = excluded.data"
)
_DELETE = "DELETE FROM entry WHERE kind = ? AND name = ?"


class FolderJournal:
    """A folder with a Cloud Tasks' queues, tasks, names that are gone, and signing key. One process has it at a time.

    Args:
        folder: where the file lies; made where it is missing.

    Raises:
        ValueError: the folder cannot be used; the message says why, and what to do.
    """

    def __init__(self, folder: Path) -> None:
        self._file = DataFile(folder, _FORMAT)
        self._database = self._file.database

    def write(self, changes: Sequence[Change]) -> None:
        """Keep changes that are one: all of them or none survive.

        Raises:
            Status: RESOURCE_EXHAUSTED where there is no room, INTERNAL for other failures.
        """
        try:
            if len(changes) == 1:
                self._apply(changes[0])  # is a transaction by itself
            elif changes:
                with self._file.transaction():
                    for change in changes:
                        self._apply(change)
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def read(self) -> Iterator[Change]:
        """What is kept, in the order in which names were first written.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            for kind, name, data in self._database.execute("SELECT kind, name, data FROM entry ORDER BY id"):
                yield Change(kind, name, data)
        except sqlite3.Error as error:
            raise self._file.unusable(error) from error

    def clear(self) -> None:
        """Keep nothing any more but the signing key; a Status as from `write`."""
        try:
            self._database.execute("DELETE FROM entry")
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def signing_key(self) -> bytes | None:
        """The private key in PEM; None: none was kept yet.

        Raises:
            ValueError: the file is damaged.
        """
        try:
            row = self._database.execute("SELECT pem FROM signing_key").fetchone()
        except sqlite3.Error as error:
            raise self._file.unusable(error) from error
        return None if row is None else bytes(row[0])

    def keep_signing_key(self, pem: bytes) -> None:
        """Keep a private key, in the place of any other; a Status as from `write`."""
        try:
            with self._file.transaction():
                self._database.execute("DELETE FROM signing_key")
                self._database.execute("INSERT INTO signing_key VALUES (?)", (pem,))
        except sqlite3.Error as error:
            raise self._failed(error) from error

    def close(self) -> None:
        """Let go of the folder."""
        self._file.close()

    def _apply(self, change: Change) -> None:
        if change.data is None:
            self._database.execute(_DELETE, (change.table, change.name))
        else:
            self._database.execute(_PUT, (change.table, change.name, change.data))

    def _failed(self, error: sqlite3.Error) -> Status:
        return self._file.failed("The change", error)
