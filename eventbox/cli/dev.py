"""`eventbox dev`."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import re
import signal
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import click

_INTERRUPTED = 128 + signal.SIGINT
_QUEUE = re.compile(r"[A-Za-z0-9-]{1,100}")
_PROJECT = re.compile(r"[a-z][a-z0-9-]{4,28}[a-z0-9]")


@click.command()
@click.argument("target", metavar="MODULE:WORKER")
@click.option("--host", default="127.0.0.1", show_default=True, help="Where the app listens.")
@click.option(
    "--port",
    default=8000,
    show_default=True,
    type=click.IntRange(0, 65535),
    help="Where the app listens; 0: any free port. Tasks that are kept know it.",
)
@click.option("--reload/--no-reload", default=True, show_default=True, help="Begin it anew on changes.")
@click.option(
    "--reload-dir",
    "reload_dirs",
    multiple=True,
    type=click.Path(exists=True, file_okay=False, path_type=Path),
    help="What to watch for changes of Python files; the current folder by default. May be repeated.",
)
@click.option(
    "--data-dir",
    default=".eventbox",
    show_default=True,
    type=click.Path(file_okay=False, path_type=Path),
    help="Where documents and tasks are kept between runs. Delete it to begin from nothing.",
)
@click.option("--queue", default="default", show_default=True, help="The name of the queue.")
@click.option("--project", default="demo-eventbox", show_default=True, help="The name of the project.")
@click.option("--firestore-port", default=0, type=click.IntRange(0, 65535), help="Any free one by default.")
@click.option("--tasks-port", default=0, type=click.IntRange(0, 65535), help="Any free one by default.")
@click.option(
    "--indexes",
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    help="A firestore.indexes.json, for its TTL policies.",
)
@click.option(
    "--sweep-every",
    default=60.0,
    show_default=True,
    metavar="SECONDS",
    type=click.FloatRange(min=0),
    help="How often to ask for a sweep, as Cloud Scheduler does; 0: never.",
)
def dev(**options: Any) -> None:
    """Run a worker on this machine, with emulators.

    They are a Firestore and a Cloud Tasks. MODULE:WORKER is a Worker, or an ASGI application that one is mounted in,
    such as orders.app:app. It finds in its environment FIRESTORE_EMULATOR_HOST, CLOUD_TASKS_EMULATOR_HOST and
    GOOGLE_CLOUD_PROJECT, and what a TaskQueue wants to know: EVENTBOX_QUEUE, EVENTBOX_TARGET, EVENTBOX_SERVICE_ACCOUNT,
    and EVENTBOX_CERTS_URL for Auth.verify.
    """
    try:
        code = _run(**options)
    except KeyboardInterrupt:
        click.echo("dev: ended")
        code = _INTERRUPTED
    sys.exit(code)


def _run(
    target: str,
    host: str,
    port: int,
    reload: bool,
    reload_dirs: tuple[Path, ...],
    data_dir: Path,
    queue: str,
    project: str,
    firestore_port: int,
    tasks_port: int,
    indexes: Path | None,
    sweep_every: float,
) -> int:
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")  # what it would say, we say
    missing = [
        name
        for name in ("uvicorn", "watchfiles")[: 2 if reload else 1]
        if importlib.util.find_spec(name) is None
    ]
    if missing:
        raise click.ClickException(f"{' and '.join(missing)} missing: pip install 'eventbox[dev]'")
    if not _QUEUE.fullmatch(queue):
        raise click.BadParameter("expected 1 to 100 letters, digits and hyphens", param_hint="--queue")
    if not _PROJECT.fullmatch(project):
        raise click.BadParameter(
            "expected 6 to 30 lower-case letters, digits and hyphens, such as demo-eventbox",
            param_hint="--project",
        )
    from eventbox.dev.command import DevError, Options, run
    from eventbox.dev.target import Target, TargetError

    # Not before the imports: an exception that a handler raises in a callback of theirs is printed, and lost.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        found = Target.parse(target)
    except TargetError as error:
        raise click.BadParameter(str(error), param_hint="MODULE:WORKER") from error
    options = Options(
        target=found,
        host=host,
        port=port,
        reload=reload,
        reload_dirs=reload_dirs or (Path(),),
        data_dir=data_dir,
        queue=queue,
        project=project,
        firestore_port=firestore_port,
        tasks_port=tasks_port,
        indexes=indexes,
        sweep_every=timedelta(seconds=sweep_every),
    )
    try:
        return asyncio.run(run(options, lambda text: click.echo(text)))
    except DevError as error:
        click.echo(f"dev: {error}", err=True)
        return 1
