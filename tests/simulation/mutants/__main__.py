"""`python -m tests.simulation.mutants`: try all mutants, or some."""

from __future__ import annotations

import os
import sys
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor

import click

from tests.simulation.mutants import MUTANTS
from tests.simulation.mutants.catching import caught


@click.command()
@click.argument("names", nargs=-1)
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="How many at once.")
def main(names: Sequence[str], jobs: int) -> None:
    """Tell by which seed each mutant (of these NAMES, or parts of names) is caught; exit status 1 where one is not."""
    chosen = [mutant for mutant in MUTANTS if not names or any(name in mutant for name in names)]
    missed = 0
    with ProcessPoolExecutor(jobs) as pool:
        for mutant, seed, violation in pool.map(caught, chosen, chunksize=1):
            missed += seed is None
            told = "NOT CAUGHT" if seed is None else f"seed {seed:3}  {violation:.110}"
            click.echo(f"{mutant:62} {told}")
    click.echo(f"{len(chosen)} mutants, {missed} not caught")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
