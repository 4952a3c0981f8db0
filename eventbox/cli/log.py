"""`eventbox log`: what is in a log, and how far its followers have come."""

from __future__ import annotations

import base64
import json
import signal
import sys
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import aclosing
from datetime import UTC
from typing import TYPE_CHECKING, Any

import click

from eventbox.cli.printing import make_output_safe, moment, printable
from eventbox.cli.recipient import Connect, about_a_recipient, run

if TYPE_CHECKING:
    from eventbox import EventBox, Recipient
    from eventbox.log import EventLog, LogEntry, LogOverview

_INTERRUPTED = 128 + signal.SIGINT
_LONGEST_PAYLOAD = 200


@click.group()
def log() -> None:
    """Look into an event log."""


@log.command()
@click.option(
    "-f", "--follow", is_flag=True, help="Go on with the entries that are added, until interrupted."
)
@click.option("--kind", metavar="KIND", help="Only entries of this kind.")
@click.option(
    "--from",
    "position",
    metavar="N",
    type=click.IntRange(0),
    help="Begin at this position, and show all from there.",
)
@click.option(
    "-n",
    "--lines",
    default=10,
    show_default=True,
    type=click.IntRange(0),
    help="Without --from: the last so many.",
)
@click.option("--trimable", is_flag=True, help="The trimable log in place of the persistent one.")
@click.option("--json", "as_json", is_flag=True, help="One JSON object a line, with the whole payload.")
@about_a_recipient
def tail(
    connect: Connect,
    path: str,
    follow: bool,
    kind: str | None,
    position: int | None,
    lines: int,
    trimable: bool,
    as_json: bool,
) -> None:
    """Show the entries of the log whose document is PATH (such as logs/main)."""
    show = _json_line if as_json else _line

    async def work(event_log: EventLog) -> None:
        begin = position
        if begin is None:
            begin = max(0, await (event_log.next_trimable_id if trimable else event_log.next_id)() - lines)
        async with aclosing(_entries(event_log, begin, trimable, follow)) as entries:
            shown = False
            async for entry in entries:
                if kind is None or entry.kind == kind:
                    click.echo(show(entry))
                    shown = True
        if not shown:
            click.echo(f"log: nothing of {path} to show", err=True)

    _run(connect, path, work)


@log.command()
@click.option("--json", "as_json", is_flag=True, help="One JSON object.")
@about_a_recipient
def stats(connect: Connect, path: str, as_json: bool) -> None:
    """Show how far the log at PATH and its followers have come."""

    async def work(event_log: EventLog) -> None:
        overview = await event_log.overview()
        click.echo(json.dumps(_plain(overview)) if as_json else _table(path, overview))

    _run(connect, path, work)


async def _entries(
    event_log: EventLog, position: int, trimable: bool, follow: bool
) -> AsyncGenerator[LogEntry, None]:
    """The entries from a position on; where that was trimmed, from the first that is there."""
    from eventbox.log import TrimmedError

    read = event_log.read_trimable if trimable else event_log.read
    while True:
        try:
            while page := await read(position):
                for entry in page:
                    yield entry
                position += len(page)
            if not follow:
                return
            async with aclosing(event_log.tail(position, trimable=trimable)) as entries:
                async for entry in entries:
                    position += 1
                    yield entry
        except TrimmedError as error:
            click.echo(f"log: positions {position} to {error.first - 1} have been trimmed", err=True)
            position = error.first


def _run(connect: Connect, path: str, work: Callable[[EventLog], Awaitable[None]]) -> None:
    from eventbox.log import EventLog

    # Not before the imports: an exception that a handler raises in a callback of theirs is printed, and lost.
    signal.signal(signal.SIGINT, signal.default_int_handler)
    make_output_safe()

    async def with_log(box: EventBox, recipient: Recipient) -> None:
        await work(EventLog(box, recipient.ref))

    try:
        run(connect, path, with_log)
    except KeyboardInterrupt:
        sys.exit(_INTERRUPTED)


def _line(entry: LogEntry) -> str:
    module = "" if entry.module is None else f" {printable(entry.module[0])}/{entry.module[1]}"
    at = entry.logged_at.astimezone(UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    return f"{entry.id:>8}  {at}  {printable(entry.kind)}{module}  {_shown(entry.payload)}".rstrip()


def _shown(payload: bytes) -> str:
    """The payload on one line of a terminal."""
    try:
        text = printable(payload.decode()[: _LONGEST_PAYLOAD + 1])
    except UnicodeDecodeError:
        text = payload[: _LONGEST_PAYLOAD + 1].hex(" ")
    if len(text) > _LONGEST_PAYLOAD:
        return f"{text[:_LONGEST_PAYLOAD]}... ({len(payload):,} bytes)"
    return text


def _json_line(entry: LogEntry) -> str:
    fields: dict[str, Any] = {
        "id": entry.id,
        "logged_at": entry.logged_at.isoformat(),
        "kind": entry.kind,
        "module": entry.module,
    }
    try:
        fields["payload"] = entry.payload.decode()
    except UnicodeDecodeError:
        fields["payload_base64"] = base64.b64encode(entry.payload).decode()
    return json.dumps(fields)


def _plain(overview: LogOverview) -> dict[str, Any]:
    return {
        "next_id": overview.next_id,
        "next_trimable_id": overview.next_trimable_id,
        "first_id": overview.first_id,
        "first_trimable_id": overview.first_trimable_id,
        "logged_at": overview.logged_at.isoformat() if overview.logged_at is not None else None,
        "unordered": overview.unordered,
        "followers": [
            {
                "follower": one.follower,
                "trimable": one.trimable,
                "position": one.position,
                "behind": one.behind,
            }
            for one in overview.followers
        ],
    }


def _table(path: str, overview: LogOverview) -> str:
    last = "never" if overview.logged_at is None else moment(overview.logged_at)
    lines = [
        f"{path}: last entry {last}, {overview.unordered:,} waiting to be ordered",
        f"  persistent  {_range(overview.first_id, overview.next_id)}",
        f"  trimable    {_range(overview.first_trimable_id, overview.next_trimable_id)}",
    ]
    if overview.followers:
        width = max(len("follower"), *(len(one.follower) for one in overview.followers))
        lines.append(f"  {'follower':{width}}  {'log':10}  {'position':>12}  {'behind':>12}")
        lines += [
            f"  {one.follower:{width}}  {'trimable' if one.trimable else 'persistent':10}  {one.position:>12,}  "
            f"{one.behind:>12,}"
            for one in overview.followers
        ]
    return "\n".join(lines)


def _range(first: int | None, end: int) -> str:
    if first is None:
        return f"no entries; the next is {end:,}"
    return f"{end - first:,} entries: {first:,} to {end - 1:,}"
