"""`eventbox listeners`: which listeners there are, and what they keep."""

from __future__ import annotations

import asyncio
import functools
import importlib
import json
import os
import sys
from collections.abc import Callable, Mapping
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from eventbox.cli.connecting import connection_options

if TYPE_CHECKING:
    from eventbox.sources import KVItem
    from eventbox.sources.listener import ListenFunc

_LONGEST = 60


@click.command()
@click.option(
    "--import",
    "modules",
    metavar="MODULE",
    multiple=True,
    help="Import this module first, which registers listeners. May be given several times.",
)
@click.option(
    "--store", "path", metavar="PATH", help="The document of their event store: shows what they keep there."
)
@click.option("--json", "as_json", is_flag=True, help="One JSON object, with whole values.")
@connection_options
def listeners(connect: Callable[[], Any], modules: tuple[str, ...], path: str | None, as_json: bool) -> None:
    """List the installed listeners.

    They are those of the entry points `eventbox.listeners`, and those that modules register.
    """
    from google.api_core.exceptions import GoogleAPICallError

    found = _registered(modules)
    try:
        kept = {} if path is None else asyncio.run(_kept(connect, path, list(found)))
    except GoogleAPICallError as error:
        raise click.ClickException(f"Firestore refused: {error}") from error
    if as_json:
        click.echo(json.dumps({name: _plain(found[name], kept.get(name)) for name in sorted(found)}))
        return
    if not found:
        click.echo("no listeners are registered; --import takes a module that registers some")
    for name in sorted(found):
        click.echo(f"{name}  ({_where(found[name])})")
        for item in kept.get(name, []):
            at = item.written_at.astimezone(UTC).isoformat(" ", "seconds")
            click.echo(f"    {_shown(item.key)} = {_shown(item.value)}  ({len(item.value):,} bytes, {at})")
        if path is not None and not kept[name]:
            click.echo("    keeps nothing yet")


def _registered(modules: tuple[str, ...]) -> Mapping[str, ListenFunc]:
    from eventbox.sources import ListenerError, load_listeners, registered_listeners

    sys.path.insert(0, os.getcwd())  # as `python -m` does
    for module in modules:
        try:
            importlib.import_module(module)
        except Exception as error:
            raise click.ClickException(f"{module} could not be imported: {error!r}") from error
    try:
        load_listeners()
    except (ListenerError, ValueError) as error:
        raise click.ClickException(str(error)) from error
    return registered_listeners()


async def _kept(connect: Callable[[], Any], path: str, names: list[str]) -> dict[str, list[KVItem]]:
    from eventbox.sources import EventStore, ListenerStore

    client = connect()
    try:
        store = EventStore(client.document(path))
    except ValueError as error:
        raise click.BadParameter(
            f"{path!r} is no document: it has an even number of parts, such as sources/main",
            param_hint="--store",
        ) from error
    return {
        name: sorted([item async for item in ListenerStore(store, name).items()], key=_key) for name in names
    }


def _key(item: KVItem) -> bytes:
    return item.key


def _where(listen: ListenFunc) -> str:
    named: Any = listen
    while isinstance(named, functools.partial):
        named = named.func
    if not hasattr(named, "__qualname__"):
        named = type(named)
    return f"{named.__module__}:{named.__qualname__}"


def _shown(value: bytes) -> str:
    """Bytes on one line of a terminal: as text where they are printable, else as hexadecimal digits."""
    text = value.decode("utf-8", "replace")
    if not text.isprintable() or "\ufffd" in text:
        text = "0x" + value.hex()
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}..."


def _plain(listen: ListenFunc, items: list[KVItem] | None) -> dict[str, Any]:
    result: dict[str, Any] = {"function": _where(listen)}
    if items is not None:
        result["keeps"] = [
            {"key": item.key.hex(), "value": item.value.hex(), "written_at": item.written_at.isoformat()}
            for item in items
        ]
    return result
