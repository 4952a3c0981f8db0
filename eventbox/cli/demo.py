"""`eventbox demo`."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import signal
import sys
import traceback
from pathlib import Path

import click

_WIDTH_OF_A_LOG = 110
_INTERRUPTED = 128 + signal.SIGINT


@click.command()
@click.option(
    "--repo",
    type=click.Path(path_type=Path),
    help="The git repository to read; the one that you stand in by default, else a small one that comes along.",
)
@click.option(
    "--workers",
    default=4,
    show_default=True,
    type=click.IntRange(1, 64),
    help="How many processes work at once.",
)
@click.option("--since", metavar="REV", help="Leave out this commit and what came before it.")
def demo(repo: Path | None, workers: int, since: str | None) -> None:
    """Make a git history events, process them, and compare the totals with git's own.

    Each changed file of each commit is an event to its author and one to the file. It goes as in production: emitters
    send, an emulator of Cloud Tasks calls the workers over HTTP, and they process on an emulator of Firestore, each a
    process of its own. Kill any of the workers: the totals stay right.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        ok = _run(repo, workers, since)
    except KeyboardInterrupt:
        click.echo("demo: interrupted", err=True)
        sys.exit(_INTERRUPTED)
    sys.exit(0 if ok else 1)


def _run(repo: Path | None, workers: int, since: str | None) -> bool:
    if importlib.util.find_spec("uvicorn") is None:
        click.echo("demo: failed: uvicorn is missing: pip install 'eventbox[dev]'")
        return False
    # the imports take longest, and a Ctrl-C may come meanwhile
    from rich.console import Console

    from eventbox.demo.command import demo as run
    from eventbox.demo.git import GitError

    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names hold what an ASCII terminal cannot show
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH_OF_A_LOG)
    try:
        return asyncio.run(run(repo, since, workers, console))
    except Exception as error:
        cause = _first(error)
        if not isinstance(cause, GitError):
            traceback.print_exception(error)
        reason = str(cause) if isinstance(cause, GitError) else f"{type(cause).__name__}: {cause}"
        click.echo(f"demo: failed: {reason}")
        return False


def _first(error: BaseException) -> BaseException:
    """The error itself where tasks ran side by side and a group came of it."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error
