"""Which goals the figures measured last miss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.contest import Result
from benchmarks.results_folder import RESULTS, read_result

CONTESTS = ("process_batch", "drain", "emit")


def missed_goals(results: Path = RESULTS) -> list[str]:
    """A line for each goal that is missed, of the benchmarks that have figures."""
    return [*_contests(results), *_costs(results), *_growths(results)]


def _contests(results: Path) -> Iterator[str]:
    for name in CONTESTS:
        for row in read_result(name, results) or ():
            one = Result(**row)
            setting = f"{one.benchmark}, {one.events:,} events, {one.latency_ms} ms"
            of_floor, than_plain = one.ours_ms / one.floor_ms, one.plain_ms / one.ours_ms
            if not one.goal.meets_floor(of_floor):
                yield f"{setting}: ours / floor is {one.goal.floor_cell(of_floor)}"
            if not one.goal.meets_plain(than_plain):
                yield f"{setting}: plain / ours is {one.goal.plain_cell(than_plain)}"


def _costs(results: Path) -> Iterator[str]:
    for row in read_result("cost", results) or ():
        if not row["agrees"]:
            yield f"cost of {row['row']}, {row['events']:,} events: it is not what the table says"


def _growths(results: Path) -> Iterator[str]:
    for row in read_result("scale", results) or ():
        if not row["within"]:
            measured = (
                f"{row['mb']} MB" if row["figure"] == "memory" else f"{row['ratio']} at {row['size']:,}"
            )
            yield f"scale, {row['figure']}: {measured}, not ≤ {row['limit']}"
