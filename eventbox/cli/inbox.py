"""`eventbox inbox`: what is outstanding for a recipient, and emitting to it."""

from __future__ import annotations

import sys

import click

from eventbox.cli.printing import (
    event_json,
    make_output_safe,
    moment,
    preview,
    print_json,
    print_table,
    printable,
)
from eventbox.cli.recipient import Connect, about_a_recipient, run


@click.group()
def inbox() -> None:
    """Look into a recipient's inbox, and emit to it.

    The recipient is the document at PATH, such as orders/1. FIRESTORE_EMULATOR_HOST is honoured.
    """


@inbox.command("list")
@about_a_recipient
@click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each event.")
def list_events(connect: Connect, path: str, as_json: bool) -> None:
    """List the outstanding events, also those that are not due yet. It costs a read each."""
    make_output_safe()
    events = run(connect, path, lambda box, recipient: box.list_events(recipient))
    events.sort(key=lambda event: (event.process_after or event.emitted_at, event.id))
    if as_json:
        print_json(event_json(event) for event in events)
    elif not events:
        click.echo(f"nothing is outstanding for {path}")
    else:
        print_table(
            ("id", "emitted", "process after", "bytes", "value"),
            [
                (
                    printable(event.id),
                    moment(event.emitted_at),
                    moment(event.process_after),
                    f"{len(event.value):,}",
                    preview(event.value),
                )
                for event in events
            ],
        )


@inbox.command()
@about_a_recipient
@click.argument("value")
@click.option("--id", "event_id", help="The event's ID; a random one by default.")
def emit(connect: Connect, path: str, value: str, event_id: str | None) -> None:
    """Emit an event with this VALUE (text; - reads it from standard input). It wakes nobody."""
    make_output_safe()
    data = sys.stdin.buffer.read() if value == "-" else value.encode(errors="surrogateescape")
    receipt = run(connect, path, lambda box, recipient: box.emit(data, recipient, id=event_id))
    told = "was emitted already: nothing has changed" if receipt.duplicate else "emitted"
    click.echo(f"{printable(receipt.id)} {told}")
