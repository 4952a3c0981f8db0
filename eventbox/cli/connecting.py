"""The options of every command that speaks to a Firestore, and the client that they make."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from google.cloud.firestore import AsyncClient


def connection_options(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command --project and --database, and in their place the argument `connect`.

    `connect()` makes the client, to be called inside a running event loop.
    """

    @click.option(
        "--project", envvar="GOOGLE_CLOUD_PROJECT", help="The project; that of your environment by default."
    )
    @click.option("--database", default="(default)", show_default=True, help="The database.")
    @functools.wraps(command)
    def wrapped(*args: Any, project: str | None, database: str, **kwargs: Any) -> None:
        command(*args, connect=functools.partial(_connect, project, database), **kwargs)

    return wrapped


def _connect(project: str | None, database: str) -> AsyncClient:
    from google.auth.exceptions import DefaultCredentialsError
    from google.cloud.firestore import AsyncClient

    try:
        return AsyncClient(project=project, database=database)
    except DefaultCredentialsError as error:
        raise click.ClickException(
            f"there are no credentials (or set FIRESTORE_EMULATOR_HOST): {error}"
        ) from error
    except OSError as error:
        raise click.UsageError(
            f"which project? Give --project, or set GOOGLE_CLOUD_PROJECT ({error})"
        ) from error
