"""`eventbox quarantine`: events that were set aside, and the ways out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from eventbox.cli.printing import (
    make_output_safe,
    moment,
    preview,
    print_json,
    print_quarantined,
    print_table,
    printable,
    quarantined_json,
)
from eventbox.cli.recipient import Connect, about_a_recipient, run

if TYPE_CHECKING:
    from eventbox import EventBox, QuarantinedEvent, Recipient

_json = click.option("--json", "as_json", is_flag=True, help="Print a line of JSON for each event.")
_ids = click.argument("ids", nargs=-1)
_yes = click.option("--yes", "-y", is_flag=True, help="Do not ask.")


@click.group()
def quarantine() -> None:
    """Look at events that were set aside; put them back.

    They are those of the recipient whose document is at PATH, such as orders/1, that failed again and again.
    FIRESTORE_EMULATOR_HOST is honoured.
    """


@quarantine.command("list")
@about_a_recipient
@_json
def list_quarantined(connect: Connect, path: str, as_json: bool) -> None:
    """List them, the oldest first."""
    found = _quarantined(connect, path)
    if as_json:
        print_json(map(quarantined_json, found))
    elif not found:
        click.echo(f"nothing of {path} is in quarantine")
    else:
        print_table(
            ("id", "quarantined", "attempts", "error", "value"),
            [
                (
                    printable(one.event.id),
                    moment(one.quarantined_at),
                    str(one.attempts),
                    printable(one.error),
                    preview(one.event.value),
                )
                for one in found
            ],
        )


@quarantine.command()
@about_a_recipient
@_ids
@_json
def show(connect: Connect, path: str, ids: tuple[str, ...], as_json: bool) -> None:
    """Show all that is known of some of them (all, without IDS): the value, the error, its traceback."""
    found = _quarantined(connect, path)
    missing = set(ids) - {one.event.id for one in found}
    chosen = [one for one in found if not ids or one.event.id in ids]
    if as_json:
        print_json(map(quarantined_json, chosen))
    for position, one in enumerate([] if as_json else chosen):
        if position:
            click.echo()
        print_quarantined(one)
    if missing:
        raise click.ClickException(f"not in the quarantine of {path}: {_listed(missing)}")


@quarantine.command()
@about_a_recipient
@_ids
@click.option("--all", "everything", is_flag=True, help="All of them.")
def requeue(connect: Connect, path: str, ids: tuple[str, ...], everything: bool) -> None:
    """Put them back into the inbox, to be processed anew. It wakes nobody."""
    _check_chosen(ids, everything)

    async def work(box: EventBox, recipient: Recipient) -> int:
        chosen = [one.event.id for one in await box.quarantined(recipient)] if everything else ids
        return await box.requeue(recipient, chosen)

    _tell(run(connect, path, work), "put back into the inbox", ids)


@quarantine.command()
@about_a_recipient
@_ids
@click.option("--all", "everything", is_flag=True, help="All of them, as purge does.")
@_yes
def discard(connect: Connect, path: str, ids: tuple[str, ...], everything: bool, yes: bool) -> None:
    """Delete them, for good."""
    _check_chosen(ids, everything)
    if everything:
        _purge(connect, path, yes)
        return
    _confirm(f"Delete {len(set(ids))} events from the quarantine of {path} for good?", yes)
    _tell(run(connect, path, lambda box, recipient: box.discard(recipient, ids)), "deleted", ids)


@quarantine.command()
@about_a_recipient
@_yes
def purge(connect: Connect, path: str, yes: bool) -> None:
    """Delete all of them, for good."""
    _purge(connect, path, yes)


def _purge(connect: Connect, path: str, yes: bool) -> None:
    _confirm(f"Delete all events in the quarantine of {path} for good?", yes)
    _tell(run(connect, path, lambda box, recipient: box.purge(recipient)), "deleted")


def _quarantined(connect: Connect, path: str) -> list[QuarantinedEvent]:
    make_output_safe()
    return run(connect, path, lambda box, recipient: box.quarantined(recipient))


def _check_chosen(ids: tuple[str, ...], everything: bool) -> None:
    if bool(ids) == everything:
        raise click.UsageError("give the IDs of events, or --all")


def _confirm(question: str, yes: bool) -> None:
    if not yes:
        click.confirm(question, abort=True)


def _tell(count: int, done: str, ids: tuple[str, ...] = ()) -> None:
    click.echo(f"{count} {'event' if count == 1 else 'events'} {done}")
    if count < len(set(ids)):
        click.echo(
            f"{len(set(ids)) - count} could not be found, or are outstanding under the same ID", err=True
        )


def _listed(ids: set[str]) -> str:
    return ", ".join(sorted(map(printable, ids)))
