"""How commands show events: tables to read, and lines of JSON to go on with."""

from __future__ import annotations

import base64
import io
import json
import sys
from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from rich.console import Console

    from eventbox import Event, QuarantinedEvent

_PREVIEW = 60
_WIDTH_OF_A_FILE = 160
_WHOLE_ID = 32  # as long as those that `emit` makes: what one copies is not to be broken


def event_json(event: Event) -> dict[str, Any]:
    """An event's fields; the value as text, or else in base64."""
    return {
        "id": event.id,
        **_value_json(event.value),
        "emitted_at": event.emitted_at.isoformat(),
        "process_after": event.process_after.isoformat() if event.process_after else None,
    }


def quarantined_json(one: QuarantinedEvent) -> dict[str, Any]:
    """The fields of an event in quarantine."""
    return {
        **event_json(one.event),
        "error": one.error,
        "traceback": one.traceback,
        "attempts": one.attempts,
        "quarantined_at": one.quarantined_at.isoformat(),
    }


def print_json(rows: Iterable[dict[str, Any]]) -> None:
    """Print one line for each."""
    for row in rows:
        click.echo(json.dumps(row, ensure_ascii=False))


def print_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> None:
    """Print a table; cells are shown as they are, whatever is in them."""
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False, header_style="bold")
    rows, console = list(rows), _console()
    for position, column in enumerate(columns):
        longest = max((len(row[position]) for row in rows), default=0)
        table.add_column(
            column,
            overflow="fold",
            justify="right" if column in ("bytes", "attempts") else "left",
            no_wrap=column == "id" and longest <= _WHOLE_ID and console.width >= 2 * _WHOLE_ID,
        )
    for row in rows:
        table.add_row(*(Text(cell) for cell in row))
    console.print(table)


def print_quarantined(one: QuarantinedEvent) -> None:
    """Print all that is known of an event in quarantine."""
    event = one.event
    lines = [
        f"id              {printable(event.id)}",
        f"emitted         {moment(event.emitted_at)}",
        f"process after   {moment(event.process_after)}",
        f"quarantined     {moment(one.quarantined_at)}, after {one.attempts} attempts",
        f"error           {printable(one.error)}",
        f"value           {len(event.value):,} bytes",
    ]
    click.echo("\n".join(lines))
    click.echo(_indented(_text(event.value) or repr(event.value)))
    click.echo(_indented(one.traceback))


def moment(time: datetime | None) -> str:
    """A time, to the second, in UTC."""
    return "-" if time is None else f"{time:%Y-%m-%d %H:%M:%S}Z"


def preview(value: bytes) -> str:
    """The beginning of a value, on one line."""
    text = _text(value[: 4 * _PREVIEW]) or _text(value)
    shown = printable(text) if text is not None else value[:_PREVIEW].hex(" ")
    return shown if len(shown) <= _PREVIEW else shown[: _PREVIEW - 3] + "..."


def printable(text: str) -> str:
    """The text on one line, without what moves a terminal's cursor or colours it."""
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in text)


def make_output_safe() -> None:
    """Let standard output take what its encoding cannot hold."""
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")


def _console() -> Console:
    from rich.console import Console

    console = Console(highlight=False)
    if not console.is_terminal:
        console.width = max(console.width, _WIDTH_OF_A_FILE)
    return console


def _value_json(value: bytes) -> dict[str, str]:
    text = _text(value)
    return {"value": text} if text is not None else {"value_base64": base64.b64encode(value).decode()}


def _text(value: bytes) -> str | None:
    try:
        return value.decode()
    except UnicodeDecodeError:
        return None


def _indented(text: str) -> str:
    return "\n".join(f"    {printable(line)}" for line in text.splitlines())
