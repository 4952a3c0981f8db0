"""One SQLite file in a data folder: opened by one process at a time, and known to be an emulator's.

In WAL mode, where a transaction that has ended outlives a process that is killed at any moment. With
`synchronous=NORMAL` none waits for the disk: a power failure may take the last ones, a `kill -9` does not.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from grpc import StatusCode

from emulator.status import Status

_RIVALS = 0.2
"""Seconds to wait for the lock: two emulators that start at once must not both be refused."""

_CHECKPOINT_PAGES = 4_000
"""16 MB of log before it is copied into the file: fewer copies of the same pages, and of waits for the disk."""


@dataclass(frozen=True)
class DataFormat:
    """What a file is.

    Args:
        file: its name in the folder.
        application_id: the number that SQLite keeps for its owner.
        version: that of the schema.
        schema: the statements that make an empty one, each with a `;` behind it.
        way_out: what to do with a file of another version.
    """

    file: str
    application_id: int
    version: int
    schema: str
    way_out: str


class DataFile:
    """An open file, made where it is missing, and locked until it is closed.

    Args:
        folder: where it lies; made where it is missing.
        format: what it has to be.
        create: whether a file that is missing is made.

    Raises:
        ValueError: it cannot be used; the message says why, and what to do.
    """

    def __init__(self, folder: Path, format: DataFormat, *, create: bool = True) -> None:
        folder = Path(folder)
        self.path = folder / format.file
        self._format = format
        if folder.exists() and not folder.is_dir():
            raise ValueError(f"the data folder {folder} cannot be used: it is a file")
        if not create and not self.path.exists():
            raise ValueError(f"there are no emulator's data in {folder}")
        try:
            folder.mkdir(parents=True, exist_ok=True)
            # the engine's own lock keeps threads apart
            self.database = sqlite3.connect(
                self.path, isolation_level=None, check_same_thread=False, timeout=_RIVALS
            )
        except (OSError, sqlite3.Error) as error:
            raise ValueError(f"the data folder {folder} cannot be used: {error}") from error
        try:
            self._open()
        except sqlite3.Error as error:
            self.database.close()
            raise self.unusable(error) from error
        except ValueError:
            self.database.close()
            raise

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that is executed inside, or none of it."""
        self.database.execute("BEGIN")
        try:
            yield
            self.database.execute("COMMIT")
        except BaseException:
            with suppress(sqlite3.Error):  # some errors have rolled it back already
                self.database.execute("ROLLBACK")
            raise

    def unusable(self, error: sqlite3.Error) -> ValueError:
        """Why the file cannot be read."""
        folder = self.path.parent
        match getattr(error, "sqlite_errorcode", 0) & 0xFF:  # the rest tells more than matters here
            case sqlite3.SQLITE_BUSY | sqlite3.SQLITE_LOCKED:
                return ValueError(
                    f"the data folder {folder} is in use by another emulator; stop it, or take another folder"
                )
            case sqlite3.SQLITE_NOTADB | sqlite3.SQLITE_CORRUPT | sqlite3.SQLITE_ERROR:
                return ValueError(f"{self.path} is not an emulator's data, or is damaged: {error}")
        return ValueError(f"the data folder {folder} cannot be used: {error}")

    def failed(self, what: str, error: sqlite3.Error) -> Status:
        """Why something ("The commit") could not be written."""
        code = getattr(error, "sqlite_errorcode", 0)
        # a file that may not grow, by a quota or a limit of the process, is a failed write to SQLite
        no_room = code in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR_WRITE)
        return Status(
            StatusCode.RESOURCE_EXHAUSTED if no_room else StatusCode.INTERNAL,
            f"{what} could not be written to {self.path}: {str(error).rstrip('.')}.",
        )

    def close(self) -> None:
        """Let go of it."""
        self.database.close()

    def _open(self) -> None:
        execute = self.database.execute
        execute("PRAGMA locking_mode = EXCLUSIVE")
        execute("BEGIN EXCLUSIVE")  # takes the file, for as long as this connection lives
        # nothing is written to a file before it is known to be ours
        (application,) = execute("PRAGMA application_id").fetchone()
        (found,) = execute("PRAGMA user_version").fetchone()
        empty = execute("SELECT count(*) FROM sqlite_master").fetchone() == (0,)
        execute("COMMIT")
        if not empty and application != self._format.application_id:
            raise ValueError(f"{self.path} is not an emulator's data: take another folder")
        if not empty and found != self._format.version:
            raise ValueError(
                f"{self.path} has format {found}, and this emulator reads format {self._format.version}: "
                f"{self._format.way_out}"
            )
        execute("PRAGMA journal_mode = WAL")
        execute("PRAGMA synchronous = NORMAL")
        execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        if empty:
            with self.transaction():
                for statement in filter(str.strip, self._format.schema.split(";")):
                    execute(statement)
                execute(f"PRAGMA application_id = {self._format.application_id}")
                execute(f"PRAGMA user_version = {self._format.version}")
