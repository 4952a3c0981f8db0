"""The event log, beside a log with a document for each entry: `python -m benchmarks.log [--json] [--quick]`.

The emulator runs on a core of its own, and google's clients speak to it over gRPC. The last table is in process.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys

import click
from rich.console import Console
from rich.table import Table

from benchmarks import log_runs as runs
from benchmarks.log_runs import Figures
from benchmarks.pinning import connect, pinned_emulator


async def measure(latencies: tuple[int, ...], turns: int, backlog: int) -> dict[int, Figures]:
    """The figures at each latency, in milliseconds."""
    results = {}
    async with pinned_emulator() as process:
        client = connect(process.address)
        for milliseconds in latencies:
            figures = await runs.appending(client, process, milliseconds, turns)
            figures |= await runs.ordering(client, process, milliseconds, turns)
            figures |= await runs.following(client, process, milliseconds, turns, backlog)
            if not milliseconds:
                figures |= await runs.live(client, process, 20 * turns)
            results[milliseconds] = {name: round(value, 3) for name, value in figures.items()}
        await client._firestore_api.transport.close()
    return results


def show(results: dict[int, Figures], growth: list[Figures]) -> None:
    """Print tables."""
    console = Console(width=110)
    table = Table()
    table.add_column("figure")
    for milliseconds in results:
        for column in (f"{milliseconds} ms: ours", "plain", "ratio"):
            table.add_column(column, justify="right")
    names = [name for name in next(iter(results.values())) if not name.startswith("plain_")]
    for name in names:
        cells = []
        for figures in results.values():
            if name not in figures:
                cells += ["", "", ""]
                continue
            ours, plain = figures[name], figures.get(f"plain_{name}")
            ratio = "" if plain is None else f"{max(ours / plain, plain / ours):.1f}"
            cells += [f"{ours:,.1f}", "" if plain is None else f"{plain:,.1f}", ratio]
        table.add_row(name, *cells)
    console.print(table)
    table = Table()
    for column in growth[0]:
        table.add_column(column, justify="right")
    for row in growth:
        table.add_row(*(f"{value:,.0f}" for value in row.values()))
    console.print(table)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--quick", is_flag=True, help="Fewer turns and a smaller log, in under a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure the event log beside the plain way."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    results = asyncio.run(measure((0, 10), 3 if quick else 9, 2_000 if quick else 10_000))
    growth = asyncio.run(runs.growing(10_000 if quick else 1_000_000))
    if as_json:
        json.dump({"by_latency_ms": results, "growth": growth}, sys.stdout)
        click.echo()
    else:
        show(results, growth)


if __name__ == "__main__":
    main()
