"""The command line: an emulator as a process of its own."""

from __future__ import annotations

import asyncio
import signal
import sys
from pathlib import Path

import click


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """Local stand-ins for Google Cloud services."""


@main.command()
@click.option(
    "--port", default=8080, show_default=True, type=click.IntRange(0, 65535), help="0: any free port."
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; loopback unless told otherwise."
)
@click.option(
    "--concurrency",
    default="pessimistic",
    show_default=True,
    type=click.Choice(["pessimistic", "optimistic"]),
    help="How transactions are kept apart that do not say so themselves.",
)
@click.option(
    "--indexes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A firestore.indexes.json, for its TTL policies and its indexes.",
)
@click.option(
    "--enforce-indexes",
    is_flag=True,
    help="Let a query fail without the indexes that production would ask for.",
)
@click.option(
    "--control-stdio", is_flag=True, hidden=True, help="Take commands from standard input; end with it."
)
def firestore(
    port: int,
    host: str,
    concurrency: str,
    indexes: Path | None,
    enforce_indexes: bool,
    control_stdio: bool,
) -> None:
    """A Firestore over gRPC. It keeps its data in memory."""
    # a Ctrl-C while the imports are under way must end it as quietly as one later
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    from emulator.firestore.command import run

    try:
        asyncio.run(
            run(
                host,
                port,
                concurrency,
                indexes,
                enforce_indexes=enforce_indexes,
                control_stdio=control_stdio,
            )
        )
    except (OSError, ValueError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


@main.command()
@click.option("--port", default=8123, show_default=True, type=click.IntRange(0, 65535))
def tasks(port: int) -> None:
    """A Cloud Tasks. Not available yet."""
    raise click.UsageError("the Cloud Tasks emulator is not available yet; `python -m emulator firestore` is")
