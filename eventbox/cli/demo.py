"""`eventbox demo`."""

from __future__ import annotations

import asyncio
import importlib.util
import io
import os
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
@click.option(
    "--chaos",
    is_flag=True,
    help="Kill (SIGKILL) a worker and the process that takes the history in, again and again, while it runs.",
)
def demo(repo: Path | None, workers: int, since: str | None, chaos: bool) -> None:
    """Process a git history, and compare with git's totals.

    Each changed file of each commit is an event to its author and one to the file, and each commit is an entry of a
    log. It goes as in production: two processes compete for taking the history in, an emulator of Cloud Tasks calls the
    workers over HTTP, they process on an emulator of Firestore, and a follower counts what the log has. Kill any of the
    workers and of the two, or let --chaos do it: the totals stay right.
    """
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it would say, we say
    try:
        ok = _run(repo, workers, since, chaos)
    except KeyboardInterrupt:
        click.echo("demo: interrupted", err=True)
        sys.exit(_INTERRUPTED)
    sys.exit(0 if ok else 1)


def _run(repo: Path | None, workers: int, since: str | None, chaos: bool) -> bool:
    if importlib.util.find_spec("uvicorn") is None:
        click.echo("demo: failed: uvicorn is missing: pip install 'eventbox[dev]'")
        return False
    from rich.console import Console

    from eventbox.demo.command import demo as run
    from eventbox.sources.ingestors.git_process import GitError

    # Not before the imports: an exception that a handler raises in a callback of theirs is printed, and lost.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")  # names hold what an ASCII terminal cannot show
    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH_OF_A_LOG)
    try:
        return asyncio.run(run(repo, since, workers, console, chaos=chaos))
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
