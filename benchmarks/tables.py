"""Writes the figures measured last into the tables of `benchmarks/README.md`: `python -m benchmarks.tables`.

A table stands between `<!-- figures: NAME -->` and `<!-- end -->`; what stands there is replaced.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.contest import Result
from benchmarks.results_folder import RESULTS, read_result
from benchmarks.telemetry import GOAL_PERCENT, TelemetryCost

README = Path(__file__).parent / "README.md"


def contest(rows: Sequence[dict[str, Any]]) -> str:
    """What ran beside a floor and the plain ways; times in milliseconds."""
    return _table(
        ("", "latency", "events", "floor", "ours", "plain", "ours / floor", "plain / ours"),
        (
            (
                f"`{one.benchmark}`",
                f"{one.latency_ms} ms",
                f"{one.events:,}",
                _ms(one.floor_ms),
                _ms(one.ours_ms),
                _ms(one.plain_ms),
                one.goal.floor_cell(one.ours_ms / one.floor_ms),
                one.goal.plain_cell(one.plain_ms / one.ours_ms),
            )
            for one in (Result(**row) for row in rows)
        ),
    )


def cost(rows: Sequence[dict[str, Any]]) -> str:
    """What was counted, beside the plain ways."""

    def cells(found: dict[str, int]) -> list[str]:
        return [f"{found[key]:,}" for key in ("round_trips", "rpcs", "reads", "writes")]

    lines = []
    for row in rows:
        verdict = "" if row["agrees"] else f" (the table says {', '.join(cells(row['table']))})"
        lines.append((row["row"] + verdict, f"{row['events']:,}", *cells(row["measured"])))
        lines += [(f"*plain, {name}*", "", *cells(found)) for name, found in row["plain"].items()]
    return _table(("", "events", "round trips", "RPCs", "reads", "writes + deletes"), lines)


def scale(rows: Sequence[dict[str, Any]]) -> str:
    """An event's time at each size, and a batch's memory."""
    lines = [
        (
            row["figure"],
            f"{row['size']:,}",
            f"{row['us_per_event']:,.0f} us",
            f"{row['ratio']:.2f}" + ("" if row["within"] else f", not ≤ {row['limit']}"),
        )
        for row in rows
        if row["figure"] != "memory"
    ]
    (memory,) = (row for row in rows if row["figure"] == "memory")
    return _table(("what grows", "size", "an event", "ratio"), lines) + (
        f"\nA batch of {memory['events']:,} events of {memory['event_bytes']:,} bytes takes {memory['mb']:.0f} MB "
        f"above the idle process (at most {memory['limit']}).\n"
    )


def peers(rows: Sequence[dict[str, Any]]) -> str:
    """Rates of one worker process."""
    return _table(
        ("recipients", "events", "", "at once", "emitted", "processed"),
        (
            (
                f"{row['recipients']:,}",
                f"{row['events']:,}",
                row["contender"],
                str(row["concurrency"]),
                f"{row['emitted_per_s']:,.0f}/s",
                f"{row['processed_per_s']:,.0f}/s" + ("" if row["all_done"] else " (stopped)"),
            )
            for row in rows
        ),
    )


def telemetry(rows: Sequence[dict[str, Any]]) -> str:
    """What telemetry adds to a batch; times in milliseconds but for what is added."""
    return _table(
        ("", "events", "a batch", "its CPU", "added", "of its CPU", "of its time"),
        (
            (
                one.telemetry,
                f"{one.events:,}",
                _ms(one.silent_ms),
                _ms(one.silent_cpu_ms),
                f"{one.added_cpu_ms * 1_000:.0f} us",
                f"{one.percent_of_cpu:.1f} %",
                f"{one.percent_of_time:.1f} %" + ("" if one.within else f", not < {GOAL_PERCENT:g} %"),
            )
            for one in (TelemetryCost(**row) for row in rows)
        ),
    )


def contention(rows: Sequence[dict[str, Any]]) -> str:
    """What emits took beside a worker, and alone; times in milliseconds."""
    return _table(
        ("", "latency", "emits", "p50", "alone", "p99", "alone", "batches", "batches lost", "emits failed"),
        (
            (
                row["contender"],
                f"{row['latency_ms']} ms",
                f"{row['emits_per_s']:,.0f}/s",
                *(_ms(row[f"{who}_{which}_ms"]) for which in ("p50", "p99") for who in ("emit", "alone")),
                f"{row['batches_per_s']:,.0f}/s",
                f"{row['batches_lost']:,}",
                f"{row['emits_failed']:,}",
            )
            for row in rows
        ),
    )


def machine(found: dict[str, Any]) -> str:
    """What it was measured on."""
    quick = f"; by `--quick`: {', '.join(found['by_quick'])}" if found["by_quick"] else ""
    return f"Measured on {found['cpus']} cores, Python {found['python']}, {found['system']}{quick}.\n"


TABLES: dict[str, Callable[[Any], str]] = {
    "machine": machine,
    "process_batch": contest,
    "drain": contest,
    "emit": contest,
    "cost": cost,
    "scale": scale,
    "telemetry": telemetry,
    "contention": contention,
    "peers": peers,
}


def rewrite(text: str, results: Path = RESULTS) -> str:
    """The text with its tables made anew, but for those of which there are no figures.

    Raises:
        ValueError: it has a mark of a table that there is not.
    """

    def table(found: re.Match[str]) -> str:
        name = found["name"]
        if name not in TABLES:
            raise ValueError(f"there is no table {name!r}, only {', '.join(TABLES)}")
        figures = read_result(name, results)
        return found[0] if figures is None else f"{found['mark']}\n{TABLES[name](figures)}\n<!-- end -->"

    return re.sub(r"(?P<mark><!-- figures: (?P<name>\w+) -->\n).*?<!-- end -->", table, text, flags=re.DOTALL)


def _table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [f"| {' | '.join(header)} |", "|" + "---|" * len(header)]
    lines += [f"| {' | '.join(row)} |" for row in rows]
    return "\n".join(lines) + "\n"


def _ms(milliseconds: float) -> str:
    return f"{milliseconds:.0f}" if milliseconds >= 100 else f"{milliseconds:.3g}"


@click.command()
def main() -> None:
    """Write the figures that were measured last into the tables of benchmarks/README.md."""
    README.write_text(rewrite(README.read_text(encoding="utf-8")), encoding="utf-8")


if __name__ == "__main__":
    main()
