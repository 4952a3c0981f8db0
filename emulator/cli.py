"""The command line: an emulator as a process of its own."""

from __future__ import annotations

import asyncio
import ipaddress
import os
import random
import signal
import sys
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import click

from emulator.manual_clock import ManualClock

_START = "2030-01-01T00:00:00Z"


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
    "--seed",
    default=0,
    show_default=True,
    help="What transaction IDs, and faults that chance decides, are made from.",
)
@click.option(
    "--control-port",
    type=click.IntRange(0, 65535),
    help="Take orders over HTTP there: faults, counters, clock, clearing. 0: any free port.",
)
@click.option(
    "--control-host",
    default="127.0.0.1",
    show_default=True,
    help="Where the control port listens. Whoever can reach it can delete all data.",
)
@click.option(
    "--manual-clock",
    metavar="[START]",
    is_flag=False,
    flag_value=_START,
    help=f"A clock that stands still until the control port moves it; from {_START} unless another time is given.",
)
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Keep the data in this folder, made where it is missing; in memory otherwise.",
)
@click.option(
    "--control-stdio", is_flag=True, hidden=True, help="Take commands from standard input; end with it."
)
def firestore(
    port: int,
    host: str,
    concurrency: Any,
    indexes: Path | None,
    enforce_indexes: bool,
    seed: int,
    control_port: int | None,
    control_host: str,
    manual_clock: str | None,
    data_dir: Path | None,
    control_stdio: bool,
) -> None:
    """A Firestore over gRPC."""
    # a Ctrl-C while the imports are under way must end it as quietly as one later
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it would say, we say
    from emulator.firestore.command import run
    from emulator.firestore.emulator import Emulator

    clock = None if manual_clock is None else ManualClock(_time(manual_clock))
    _warn_of_outsiders("--host", host, "read, write and delete all data")
    control = None
    if control_port is not None:
        _warn_of_outsiders("--control-host", control_host, "delete all data")
        control = join_address(control_host, control_port)
    with _errors_in_words():
        emulator = Emulator(
            concurrency=concurrency,
            indexes=indexes,
            enforce_indexes=enforce_indexes,
            data_dir=data_dir,
            clock=clock,
            seed=seed,
        )
        with closing(emulator):
            asyncio.run(run(emulator, join_address(host, port), control, control_stdio=control_stdio))


@main.command()
@click.option(
    "--port", default=8123, show_default=True, type=click.IntRange(0, 65535), help="0: any free port."
)
@click.option(
    "--host", default="127.0.0.1", show_default=True, help="Where to listen; loopback unless told otherwise."
)
@click.option(
    "--queue",
    "queues",
    metavar="NAME",
    multiple=True,
    help="A queue that there is from the start: projects/P/locations/L/queues/Q, or Q for one of projects/demo/"
    "locations/us-central1. As often as there are queues.",
)
@click.option(
    "--data-dir",
    metavar="DIR",
    type=click.Path(path_type=Path),
    help="Keep queues and tasks in this folder, made where it is missing; in memory otherwise.",
)
@click.option(
    "--certs-port",
    type=click.IntRange(0, 65535),
    show_default="the one after --port",
    help="Where the certificates are that OIDC tokens are verified with. 0: any free port.",
)
@click.option(
    "--dedup-window",
    metavar="SECONDS",
    default=86_400.0,
    show_default=True,
    type=click.FloatRange(min=0, max=10**9),
    help="How long the name of a task that is done or deleted may not be used again.",
)
@click.option(
    "--seed",
    type=int,
    help="What the names of tasks without one, and faults that chance decides, are made from; by chance otherwise.",
)
@click.option(
    "--control-stdio", is_flag=True, hidden=True, help="Take commands from standard input; end with it."
)
def tasks(
    port: int,
    host: str,
    queues: tuple[str, ...],
    data_dir: Path | None,
    certs_port: int | None,
    dedup_window: float,
    seed: int | None,
    control_stdio: bool,
) -> None:
    """A Cloud Tasks over gRPC, which calls workers over HTTP."""
    # a Ctrl-C while the imports are under way must end it as quietly as one later
    signal.signal(signal.SIGINT, signal.SIG_DFL)
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it would say, we say
    from emulator.tasks.command import ensure_queue, run
    from emulator.tasks.emulator import TasksEmulator

    _warn_of_outsiders("--host", host, "create tasks, which call any address that this machine can reach,")
    if certs_port is None:
        certs_port = port and min(port + 1, 65_535)
    with _errors_in_words():
        emulator = TasksEmulator(
            data_dir=data_dir,
            dedup_window=timedelta(seconds=dedup_window),
            # a worker may take the name of a task for known: with a data folder, none must come again
            seed=random.getrandbits(63) if seed is None else seed,
        )
        with closing(emulator):
            for queue in queues:
                ensure_queue(emulator, queue)
            asyncio.run(
                run(
                    emulator,
                    join_address(host, port),
                    join_address(host, certs_port),
                    control_stdio=control_stdio,
                )
            )


@main.command("export")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("file", default="-")
def export_command(folder: Path, file: str) -> None:
    """Write the documents in a data folder as lines of JSON.

    DIR is a folder of `firestore --data-dir` that no emulator has open; FILE is standard output where it is - or
    left out. One line is one document, as Firestore's REST API represents it; they are sorted by name.
    """
    from emulator.firestore.transfer_command import export_documents

    sys.exit(export_documents(folder, file))


@main.command("import")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.argument("file")
def import_command(folder: Path, file: str) -> None:
    """Put documents into a data folder, from lines of JSON.

    DIR is made where it is missing, and must be no running emulator's; FILE is standard input where it is -. Documents
    of the same names are replaced, others stay. All lines are taken, or none if one of them is bad.
    """
    from emulator.firestore.transfer_command import import_documents

    sys.exit(import_documents(folder, file))


@contextmanager
def _errors_in_words() -> Iterator[None]:
    """End with status 1, and what is wrong in one line."""
    try:
        yield
    except BrokenPipeError:
        raise  # whom it tells its address has gone: it ends without a word
    except (OSError, ValueError) as error:
        click.echo(f"Error: {error}", err=True)
        sys.exit(1)


def join_address(host: str, port: int) -> str:
    """Host and port in one; an IPv6 address goes into brackets."""
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _time(text: str) -> datetime:
    try:
        start = datetime.fromisoformat(text)
    except ValueError as error:
        raise click.BadParameter(
            f"expected a time such as {_START}: {error}", param_hint="--manual-clock"
        ) from error
    return start if start.tzinfo is not None else start.replace(tzinfo=UTC)


def _warn_of_outsiders(option: str, host: str, what: str) -> None:
    try:
        inside = host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        inside = False
    if not inside:
        click.echo(
            f"Warning: {option} {host} is not loopback: whoever can reach this machine there can {what}, "
            "without a password.",
            err=True,
        )
