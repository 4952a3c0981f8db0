"""This library beside what a user would pick instead: `python -m benchmarks.peers [--json] [--quick]`.

Procrastinate, a task queue in PostgreSQL, does the same job: so many events to so many recipients, whose counters are
kept transactionally, each event counted exactly once, by one worker process. Both databases are local, keep their data
on disk, and run on the first core that this process may use, while this process, emitter first and then worker, has
the others.
"""

from __future__ import annotations

import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Callable, Sequence
from contextlib import AbstractAsyncContextManager
from dataclasses import asdict, dataclass
from functools import partial

import click
from rich.console import Console
from rich.table import Table

from benchmarks.peers import EXIT_MISSING
from benchmarks.peers.job import Job, Peer, Rates, timed
from benchmarks.peers.postgres import PostgresMissingError

CONCURRENCIES = (1, 10, 30)
"""How much a worker may do at once; each contender takes what did best in a trial (30 is Procrastinate's example)."""

TRIAL_EVENTS = 100


class MissingError(click.ClickException):
    """This machine has not got what it takes; the message says what to install."""

    exit_code = EXIT_MISSING


@dataclass(frozen=True)
class Row:
    """One contender's rates at one number of recipients."""

    benchmark: str
    contender: str
    events: int
    recipients: int
    concurrency: int
    emitted_per_s: float
    processed_per_s: float
    all_done: bool


async def measure(
    recipients: Sequence[int], events: int, trial_events: int = TRIAL_EVENTS, seconds: float = 20
) -> list[Row]:
    """A row for each contender and number of recipients, each on a server of its own.

    A contender that has not done all events after so many seconds is stopped, and its rate is of what it did.
    """
    from benchmarks.peers import on_eventbox, on_procrastinate

    peers: dict[str, Callable[[], AbstractAsyncContextManager[Peer]]] = {
        "eventbox": on_eventbox.served,
        "procrastinate": partial(on_procrastinate.served, sync=True),
        "procrastinate, no fsync": partial(on_procrastinate.served, sync=False),
    }
    rows = []
    for count in recipients:
        job = Job(events, min(count, events))
        for name, served in peers.items():
            async with served() as peer:
                concurrency = await _best_concurrency(peer, Job(trial_events, min(count, trial_events)))
                rates = await _run(peer, job, concurrency, seconds)
            rows.append(Row("peers", name, events, job.recipients, concurrency, **asdict(rates)))
    return rows


async def _run(peer: Peer, job: Job, concurrency: int, seconds: float) -> Rates:
    async with peer(job) as work:
        return await timed(job, work, concurrency, seconds)


async def _best_concurrency(peer: Peer, trial: Job) -> int:
    if trial.recipients == 1:
        return 1  # there is nothing to do at once
    rates = {
        concurrency: (await _run(peer, trial, concurrency, 20)).processed_per_s
        for concurrency in CONCURRENCIES
    }
    return max(rates, key=lambda concurrency: rates[concurrency])


def report(rows: Sequence[Row], *, as_json: bool) -> None:
    """Print a table, or one JSON list."""
    if as_json:
        json.dump([asdict(row) for row in rows], sys.stdout)
        click.echo()
        return
    table = Table()
    for column in ("recipients", "events", "contender", "at once", "emitted", "processed"):
        table.add_column(column, justify="left" if column == "contender" else "right")
    for row in rows:
        table.add_row(
            f"{row.recipients:,}",
            f"{row.events:,}",
            row.contender,
            str(row.concurrency),
            f"{row.emitted_per_s:,.0f}/s",
            f"{row.processed_per_s:,.0f}/s" + ("" if row.all_done else " (stopped)"),
        )
    Console(width=120).print(table)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list and nothing else.")
@click.option("--quick", is_flag=True, help="200 events instead of 10,000, in about a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure this library beside Procrastinate on PostgreSQL."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    logging.getLogger("procrastinate").setLevel(logging.WARNING)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # so that no PostgreSQL is left behind
    try:
        rows = asyncio.run(measure((1, 100, 10_000), 200 if quick else 10_000, 20 if quick else TRIAL_EVENTS))
    except ModuleNotFoundError as missing:
        if missing.name not in ("procrastinate", "psycopg", "psycopg_pool"):
            raise
        raise MissingError(
            f"there is no {missing.name} here: `pip install --group peers` (pip 25.1 or later)"
        ) from None
    except PostgresMissingError as missing:
        raise MissingError(str(missing)) from None
    report(rows, as_json=as_json)


if __name__ == "__main__":
    main()
