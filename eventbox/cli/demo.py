"""`eventbox demo`."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click

_WIDTH_OF_A_LOG = 110


@click.command()
@click.option(
    "--repo",
    type=click.Path(path_type=Path),
    help="The git repository to read; the one that you stand in by default, else a small one that comes along.",
)
@click.option(
    "--workers", default=4, show_default=True, type=click.IntRange(1, 256), help="How many work at once."
)
@click.option("--since", metavar="REV", help="Leave out this commit and what came before it.")
def demo(repo: Path | None, workers: int, since: str | None) -> None:
    """Make a git history events, process them, and compare the totals with git's own.

    Each changed file of each commit is an event to its author and one to the file. Emission and workers run side by
    side, over gRPC, on a Firestore emulator in a process of its own.
    """
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        # the imports take longest, and a Ctrl-C may come meanwhile
        from rich.console import Console

        from eventbox.demo.command import demo as run
        from eventbox.demo.git import GitError

        try:
            console = Console(highlight=False)
            if not console.is_terminal:
                console.width = max(console.width, _WIDTH_OF_A_LOG)
            ok = asyncio.run(run(repo, since, workers, console))
        except* GitError as group:
            click.echo(f"demo: failed: {group.exceptions[0]}", err=False)
            sys.exit(1)
    except KeyboardInterrupt:
        click.echo("demo: interrupted", err=True)
        sys.exit(130)
    sys.exit(0 if ok else 1)
