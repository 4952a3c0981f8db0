"""A data folder that no emulator has: its documents into a file, and a file's into it, as they stream by."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO

from emulator.firestore.document_lines import document_line, read_documents
from emulator.firestore.journal import Journal
from emulator.firestore.versions import Version

Progress = Callable[[int, int | None], None]
"""Called now and then with the number of documents that are done, and of all (None: not known)."""

_STEP = 1_000


def export_folder(folder: Path, target: IO[str], progress: Progress) -> int:
    """Write each document as a line, sorted by name; how many.

    Raises:
        ValueError: the folder has no emulator's data, is in use, or is damaged.
        OSError: the file cannot be written.
    """
    journal = Journal(folder, create=False)
    try:
        total = journal.count()
        done = 0
        for done, (_, data, _, _) in enumerate(journal.load(ordered=True), 1):
            target.write(document_line(data))
            if not done % _STEP:
                progress(done, total)
        progress(done, total)
        return done
    finally:
        journal.close()


def import_folder(folder: Path, source: IO[bytes], progress: Progress) -> int:
    """Put each line's document into the folder, which is made where it is missing; how many lines.

    They take the place of those of the same names; others stay. All are taken, or none: also where this process is
    killed.

    Raises:
        InvalidLine: a line is no document that could be written.
        ValueError: the folder cannot be used, or is in use.
        Status: it cannot be written.
    """
    journal = Journal(folder)
    try:
        time_us = max(time.time_ns() // 1_000, journal.last_us() + 1)
        return journal.replace(_told(read_documents(source, time_us), progress), time_us)
    finally:
        journal.close()


def _told(versions: Iterator[Version], progress: Progress) -> Iterator[Version]:
    done = 0
    for done, version in enumerate(versions, 1):
        yield version
        if not done % _STEP:
            progress(done, None)
    progress(done, done)
