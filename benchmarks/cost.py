"""What is billed, and waited for, beside what the cost table says: `python -m benchmarks.cost [--json]`.

Counted by the emulator, in process; no time is measured. The exit code is 1 where it differs from the table.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass

import click
from rich.console import Console
from rich.table import Table

from benchmarks.contest import NO_TIMES
from benchmarks.cost_rows import Row, rows
from benchmarks.wire_cost import Cost, Wire


@dataclass(frozen=True, slots=True)
class Comparison:
    """One row for one number of events: what it cost, what the table says, and what the plain ways cost."""

    row: str
    events: int
    measured: Cost
    table: Cost
    plain: dict[str, Cost]

    @property
    def agrees(self) -> bool:
        """Whether it cost what the table says."""
        return self.measured == self.table


async def measure(of: Sequence[Row] | None = None) -> list[Comparison]:
    """Every row at each of its sizes."""
    return [
        Comparison(
            row.name,
            n,
            await row.ours(Wire(), n),
            row.table(n),
            {name: await way(Wire(), n) for name, way in row.plain},
        )
        for row in (rows() if of is None else of)
        for n in row.sizes
    ]


def show(found: Sequence[Comparison]) -> None:
    """Print a table."""
    table = Table()
    table.add_column("row", no_wrap=True)
    for column in ("events", "round trips", "RPCs", "reads", "writes + deletes", "as the table says"):
        table.add_column(column, justify="right")
    for one in found:
        table.add_row(one.row, f"{one.events:,}", *_cells(one.measured), "yes" if one.agrees else "NO")
        if not one.agrees:
            table.add_row("  the table says", "", *_cells(one.table), "")
        for name, cost in one.plain.items():
            table.add_row(f"  plain, {name}", "", *_cells(cost), "", style="dim")
    Console(width=136).print(table)


def _cells(cost: Cost) -> tuple[str, ...]:
    return tuple(f"{figure:,}" for figure in (cost.round_trips, cost.rpcs, cost.reads, cost.writes))


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list and nothing else.")
@click.option("--quick", is_flag=True, help="Changes nothing: it takes a few seconds in any case.")
def main(as_json: bool, quick: bool) -> None:
    """Compare what things cost with the cost table; the exit code is 1 where they differ."""
    found = asyncio.run(measure())
    if as_json:
        rows = [{"benchmark": "cost", **NO_TIMES, **asdict(one), "agrees": one.agrees} for one in found]
        json.dump(rows, sys.stdout)
        click.echo()
    else:
        show(found)
    if not all(one.agrees for one in found):
        sys.exit(1)


if __name__ == "__main__":
    main()
