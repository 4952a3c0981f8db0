"""The command line: `eventbox`."""

from __future__ import annotations

import click

from eventbox.cli.demo import demo
from eventbox.cli.dev import dev
from eventbox.cli.inbox import inbox
from eventbox.cli.listeners import listeners
from eventbox.cli.log import log
from eventbox.cli.quarantine import quarantine


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="eventbox")
def main() -> None:
    """A durable, transactional inbox for every entity of a Google Cloud Firestore application."""


main.add_command(demo)
main.add_command(dev)
main.add_command(inbox)
main.add_command(listeners)
main.add_command(log)
main.add_command(quarantine)
