"""Which goals the figures measured last miss."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from benchmarks.contest import Result
from benchmarks.results_folder import RESULTS, read_result
from benchmarks.telemetry import GOAL_PERCENT, TelemetryCost

CONTESTS = ("process_batch", "drain", "emit")


def missed_goals(results: Path = RESULTS) -> list[str]:
    """A line for each goal that is missed, of the benchmarks that have figures."""
    return [
        *_contests(results),
        *_costs(results),
        *_growths(results),
        *_telemetry(results),
        *_contentions(results),
    ]


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


def _telemetry(results: Path) -> Iterator[str]:
    for row in read_result("telemetry", results) or ():
        one = TelemetryCost(**row)
        if not one.within:
            yield (
                f"telemetry, {one.telemetry}, {one.events:,} events: {one.percent_of_time:.1f} % of a batch's time, "
                f"not < {GOAL_PERCENT:g} %"
            )


def _contentions(results: Path) -> Iterator[str]:
    for row in read_result("contention", results) or ():
        if row["contender"].startswith("ours") and (row["batches_lost"] or row["emits_failed"]):
            yield (
                f"contention of {row['contender']}, {row['latency_ms']} ms: {row['batches_lost']} batches were lost, "
                f"and {row['emits_failed']} emits failed"
            )
