"""What commands about one recipient have in common: how they find it, and what they say when they cannot."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING, TypeAlias, TypeVar

import click

from eventbox.cli.connecting import connection_options

if TYPE_CHECKING:
    from google.cloud.firestore import AsyncClient, AsyncDocumentReference

    from eventbox import EventBox, Recipient

T = TypeVar("T")
Connect: TypeAlias = "Callable[[], AsyncClient]"

_EMULATOR = "FIRESTORE_EMULATOR_HOST"
_ANSWERS_WITHIN_S = 5.0


def about_a_recipient(command: Callable[..., None]) -> Callable[..., None]:
    """Give a command the argument PATH, and `connect` as `connection_options` does."""
    return click.argument("path")(connection_options(command))


def run(
    connect: Connect,
    path: str,
    work: Callable[[EventBox, Recipient], Awaitable[T]],
) -> T:
    """What `work` returns for the recipient at this path.

    Raises:
        ClickException: it cannot be done, with what to do about it.
    """
    # the imports take longest, so that --help does without
    from google.api_core.exceptions import GoogleAPIError
    from google.auth.exceptions import GoogleAuthError

    from eventbox import EventBox, EventboxError, Recipient

    async def connected() -> T:
        await _check_emulator()
        client = connect()
        try:
            return await work(EventBox(client), Recipient(_document(client, path), "command line"))
        finally:
            await client._firestore_api.transport.close()

    try:
        return asyncio.run(connected())
    except GoogleAuthError as error:
        raise click.ClickException(
            f"no usable credentials: {error}\nRun `gcloud auth application-default login`, or set {_EMULATOR} to "
            "speak to an emulator."
        ) from error
    except GoogleAPIError as error:
        raise click.ClickException(f"Firestore says: {error}") from error
    except (EventboxError, ValueError) as error:
        raise click.ClickException(str(error)) from error


def _document(client: AsyncClient, path: str) -> AsyncDocumentReference:
    try:
        return client.document(path.strip("/"))
    except ValueError as error:
        raise click.BadParameter(
            f"{path!r} is no document: give a path such as orders/1, with a collection and an ID in turn",
            param_hint="PATH",
        ) from error


async def _check_emulator() -> None:
    """Do not let the client retry for a minute where nobody listens."""
    address = os.environ.get(_EMULATOR)
    if not address:
        return
    host, _, port = address.rpartition(":")
    try:
        async with asyncio.timeout(_ANSWERS_WITHIN_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, ValueError) as error:
        raise click.ClickException(
            f"nothing answers at {address}, which {_EMULATOR} names: start an emulator with `python -m emulator "
            "firestore`, or unset the variable"
        ) from error
    writer.close()
