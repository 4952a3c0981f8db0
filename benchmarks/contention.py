"""Emitters beside a worker, on a pessimistic database: `python -m benchmarks.contention [--json] [--quick]`.

20 emitters keep emitting to one recipient while its batches are processed, one after the other, as fast as they go:
by ours, and by the two plain ways. Each emitter has its times to emit at, whatever became of its emits before, and an
emit's time is reckoned from then, so that nothing that had to wait is left out. The same emitters with no worker
beside them tell what the worker costs them.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import Sequence
from dataclasses import asdict

import click
from rich.console import Console
from rich.table import Table

from benchmarks.contention_runs import (
    CONTENDERS,
    EMITTERS,
    SYSTEM_CLOCK,
    Load,
    Make,
    Run,
    Summary,
    measure_run,
    summed_up,
)
from benchmarks.pinning import connected, latency, pinned_emulator


async def measure(latencies: Sequence[int], load: Load, turns: int) -> list[Summary]:
    """A row for each contender at each latency; they take turns, each beside its own emitters alone.

    Raises:
        RuntimeError: an event was lost or counted twice.
    """

    async def run(make: Make, load: Load, *, worker: bool) -> Run:
        return await measure_run(make(client, SYSTEM_CLOCK), load, worker=worker)

    rows = []
    async with pinned_emulator(concurrency="pessimistic") as process, connected(process.address) as client:
        for milliseconds in latencies:
            async with latency(process, milliseconds):
                alone: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
                beside: dict[str, list[Run]] = {name: [] for name in CONTENDERS}
                for turn in range(turns + 1):
                    for name, make in CONTENDERS.items():
                        if not turn:  # to warm up
                            await run(make, Load(load.interval_s, load.interval_s * 4), worker=True)
                            continue
                        alone[name].append(await run(make, load, worker=False))
                        beside[name].append(await run(make, load, worker=True))
            rows += [summed_up(name, milliseconds, alone[name], beside[name]) for name in CONTENDERS]
    return rows


def report(rows: Sequence[Summary], *, as_json: bool) -> None:
    """Print a table, or one JSON list."""
    if as_json:
        json.dump([asdict(row) for row in rows], sys.stdout)
        click.echo()
        return
    table = Table()
    for column in (
        "latency",
        "contender",
        "emits",
        "p50",
        "alone",
        "p99",
        "alone",
        "batches",
        "lost",
        "left",
    ):
        table.add_column(column, justify="left" if column == "contender" else "right")
    for row in rows:
        table.add_row(
            f"{row.latency_ms} ms",
            row.contender,
            f"{row.emits_per_s:,.0f}/s",
            f"{row.emit_p50_ms:.1f} ms",
            f"{row.alone_p50_ms:.1f} ms",
            f"{row.emit_p99_ms:.1f} ms",
            f"{row.alone_p99_ms:.1f} ms",
            f"{row.batches_per_s:,.0f}/s",
            f"{row.batches_lost:,}",
            f"{row.events_left:,}",
        )
    Console(width=120).print(table)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list and nothing else.")
@click.option("--quick", is_flag=True, help="Fewer settings and turns, in under a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure 20 emitters beside a worker on the same recipient."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    latencies, turns = ((0, 10), 1) if quick else ((0, 10, 30), 3)
    load = Load(interval_s=EMITTERS / 200, seconds=2 if quick else 4)
    report(asyncio.run(measure(latencies, load, turns)), as_json=as_json)


if __name__ == "__main__":
    main()
