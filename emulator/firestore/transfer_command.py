"""What `python -m emulator export` and `import` do, with what they say on standard error."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bar, TextColumn, TimeElapsedColumn

from emulator.firestore.data_folder import Progress, export_folder, import_folder
from emulator.firestore.document_lines import InvalidLine
from emulator.firestore.line_files import reading, writing
from emulator.status import Status

_INTERRUPTED = 130


def export_documents(folder: Path, file: str) -> int:
    """Write a data folder's documents to a file, or to standard output where it is `-`; the exit status."""

    def work() -> str:
        if file == "-":
            # sorted names compare alike on every machine, and so must bytes
            sys.stdout.reconfigure(encoding="utf-8", newline="\n")  # type: ignore[union-attr]
        with writing(sys.stdout if file == "-" else file) as target, _progress("Exporting") as progress:
            count = export_folder(folder, target, progress)
            target.flush()
        return f"Exported {_documents(count)}{'' if file == '-' else f' to {file}'}."

    return _carry_out(work)


def import_documents(folder: Path, file: str) -> int:
    """Put a file's documents into a data folder, standard input's where it is `-`; the exit status."""
    name = "standard input" if file == "-" else file

    def work() -> str:
        try:
            with (
                reading(sys.stdin.buffer if file == "-" else file) as source,
                _progress("Importing") as progress,
            ):
                count = import_folder(folder, source, progress)
        except InvalidLine as error:
            raise ValueError(f"{name}, {error}; nothing was imported") from error
        return f"Imported {_documents(count)} into {folder}."

    return _carry_out(work)


def _carry_out(work: Callable[[], str]) -> int:
    try:
        click.echo(work(), err=True)
    except BrokenPipeError:  # whoever read our output has enough
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # the rest of it must not fail as well
        return 1
    except (OSError, ValueError, Status) as error:
        reason = error.message if isinstance(error, Status) else error
        click.echo(f"Error: {reason}", err=True)
        return 1
    except KeyboardInterrupt:
        click.echo("Interrupted.", err=True)
        return _INTERRUPTED
    return 0


@contextmanager
def _progress(title: str) -> Iterator[Progress]:
    """Shows how far it is, where standard error is a terminal."""
    console = Console(stderr=True)
    columns = (
        TextColumn(title),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("documents"),
        TimeElapsedColumn(),
    )
    with Bar(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(title, total=None)
        yield lambda done, total: bar.update(task, completed=done, total=total)


def _documents(count: int) -> str:
    return f"{count:,} document{'' if count == 1 else 's'}"
