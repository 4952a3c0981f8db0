"""Emulators on data folders, opened, looked into and made to suffer."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

from emulator.firestore import Emulator

FILE = "firestore.sqlite3"


@contextmanager
def opened(folder: Path, **arguments: Any) -> Iterator[Emulator]:
    with closing(Emulator(data_dir=folder, **arguments)) as emulator:
        yield emulator


def content(emulator: Emulator) -> dict[str, bytes | None]:
    """Every document, times included."""
    return {version.name: version.data for version in emulator._service.documents()}


def database_of(emulator: Emulator) -> sqlite3.Connection:
    """What the journal writes to, to make its life hard."""
    journal = emulator._service._journal
    assert journal is not None
    return journal._database
