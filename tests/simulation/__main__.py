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
from tests.simulation.workloads import NAMES

_CHUNK = 5


def _run(seeds: range, workload: str | None) -> list[Result]:
    return [simulate(seed, workload=workload) for seed in seeds]


def _results(seeds: range, workload: str | None, jobs: int) -> Iterator[list[Result]]:
    chunks = (seeds[place : place + _CHUNK] for place in range(0, len(seeds), _CHUNK))
    with ProcessPoolExecutor(jobs) as pool:
        under_way = [pool.submit(_run, chunk, workload) for chunk in islice(chunks, jobs * 4)]
        while under_way:
            yield under_way.pop(0).result()
            under_way.extend(pool.submit(_run, chunk, workload) for chunk in islice(chunks, 1))


@click.command()
@click.option("--seeds", default=1_000, show_default=True, help="How many seeds.")
@click.option("--start", type=int, help="The first seed; any by default.")
@click.option("--seed", type=int, help="This one alone.")
@click.option(
    "--workload", type=click.Choice(sorted(NAMES)), help="This one alone; each seed has its own by default."
)
@click.option("--trace", is_flag=True, help="With --seed: tell what each process did.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="How many at once.")
def main(
    seeds: int, start: int | None, seed: int | None, workload: str | None, trace: bool, jobs: int
) -> None:
    """Simulate histories with faults, and tell which promises were broken; exit status 1 where any was."""
    if seed is not None:
        result = simulate(seed, workload=workload, trace=trace)
        for line in result.lines or ():
            click.echo(line)
        click.echo(
            f"seed {seed}, {result.workload}: {result.digest}, {result.rpcs} RPCs, {result.deaths} deaths"
            + "".join(f", {count} {name}" for name, count in result.figures.items())
        )
        for violation in result.violations:
            click.echo(f"BROKEN  {violation}")
        sys.exit(bool(result.violations))
    start = secrets.randbelow(1 << 40) if start is None else start
    click.echo(f"seeds {start} to {start + seeds - 1}, {jobs} at once")
    began = time.monotonic()
    rpcs = broken = 0
    total = (seeds + _CHUNK - 1) // _CHUNK
    console = Console()
    for results in track(_results(range(start, start + seeds), workload, jobs), total=total, console=console):
        for result in results:
            rpcs += result.rpcs
            if result.violations:
                broken += 1
                console.print(f"seed {result.seed}, {result.workload}: {result.violations[0]}", markup=False)
    seconds = time.monotonic() - began
    click.echo(f"{seeds} seeds, {rpcs:,} RPCs, {rpcs / seconds:,.0f} RPCs/s: {broken} broken")
    sys.exit(bool(broken))


if __name__ == "__main__":
    main()
