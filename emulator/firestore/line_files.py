"""Files of lines, by their path or open already; a file that is written appears whole, or not at all."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any


@contextmanager
def reading(source: Path | str | IO[Any]) -> Iterator[IO[Any]]:
    """The file to read from, in bytes where it is a path."""
    if isinstance(source, str | Path):
        with open(source, "rb") as file:
            yield file
    else:
        yield source


@contextmanager
def writing(target: Path | str | IO[str]) -> Iterator[IO[str]]:
    """The text file to write to.

    Of a path, the file that was there stays as it is until all is written, and if that fails. What is no regular file,
    such as a pipe, is written to directly.
    """
    if not isinstance(target, str | Path):
        yield target
        return
    path = Path(target).resolve()
    if path.exists() and not path.is_file():
        with _open(path) as file:
            yield file
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        with _open(partial) as file:
            yield file
        os.replace(partial, path)
    finally:
        with suppress(FileNotFoundError):
            partial.unlink()


def _open(path: Path) -> IO[str]:
    return path.open("w", encoding="utf-8", newline="\n")
