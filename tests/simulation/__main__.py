"""`python -m tests.simulation`: many seeds on all cores, or the story of one."""

from __future__ import annotations

import os
import secrets
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from itertools import islice

import click
from rich.console import Console
from rich.progress import track

from tests.simulation.simulation import Result, simulate

_CHUNK = 5


def _run(seeds: range) -> list[Result]:
    return [simulate(seed) for seed in seeds]


def _results(seeds: range, jobs: int) -> Iterator[list[Result]]:
    chunks = (seeds[place : place + _CHUNK] for place in range(0, len(seeds), _CHUNK))
    with ProcessPoolExecutor(jobs) as pool:
        under_way = [pool.submit(_run, chunk) for chunk in islice(chunks, jobs * 4)]
        while under_way:
            yield under_way.pop(0).result()
            under_way.extend(pool.submit(_run, chunk) for chunk in islice(chunks, 1))


@click.command()
@click.option("--seeds", default=1_000, show_default=True, help="How many seeds.")
@click.option("--start", type=int, help="The first seed; any by default.")
@click.option("--seed", type=int, help="This one alone.")
@click.option("--trace", is_flag=True, help="With --seed: tell what each process did.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="How many at once.")
def main(seeds: int, start: int | None, seed: int | None, trace: bool, jobs: int) -> None:
    """Simulate histories with faults, and tell which promises were broken; exit status 1 where any was."""
    if seed is not None:
        result = simulate(seed, trace=trace)
        for line in result.lines or ():
            click.echo(line)
        click.echo(
            f"seed {seed}: {result.digest}, {result.rpcs} RPCs, {result.events} events, {result.committed} batches, "
            f"{result.contended} contended, {result.deaths} deaths"
        )
        for violation in result.violations:
            click.echo(f"BROKEN  {violation}")
        sys.exit(bool(result.violations))
    start = secrets.randbelow(1 << 40) if start is None else start
    click.echo(f"seeds {start} to {start + seeds - 1}, {jobs} at once")
    began = time.monotonic()
    rpcs = events = broken = 0
    total = (seeds + _CHUNK - 1) // _CHUNK
    console = Console()
    for results in track(_results(range(start, start + seeds), jobs), total=total, console=console):
        for result in results:
            rpcs += result.rpcs
            events += result.events
            if result.violations:
                broken += 1
                console.print(f"seed {result.seed}: {result.violations[0]}", markup=False)
    seconds = time.monotonic() - began
    click.echo(
        f"{seeds} seeds, {rpcs:,} RPCs, {events:,} events, {rpcs / seconds:,.0f} RPCs/s: {broken} broken"
    )
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
