"""Draws the plots of `benchmarks/plots/` from the figures measured last: `python -m benchmarks.plots`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.charts import Chart, Panel, Series
from benchmarks.results_folder import RESULTS, read_result

PLOTS = Path(__file__).parent / "plots"

_FLOOR, _OURS, _PLAIN = "#9aa5b1", "#1f6fd6", "#e08a1e"
_CONTENDERS = (("floor", _FLOOR), ("ours", _OURS), ("plain", _PLAIN))
_PEERS = (_OURS, _PLAIN, "#b5651d", "#6b8e23")


def batches(title: str, rows: Sequence[dict[str, Any]]) -> Chart:
    """Times of a batch, by its events: a panel for each latency."""
    panels = []
    for latency in _distinct(row["latency_ms"] for row in rows):
        mine = [row for row in rows if row["latency_ms"] == latency]
        labels = [f"{row['events']:,}" for row in mine]
        series = [Series(name, colour, [row[f"{name}_ms"] for row in mine]) for name, colour in _CONTENDERS]
        panels.append(Panel(f"{latency} ms a round trip", labels, series))
    return Chart(title, panels, "events a batch", "ms a batch", logarithmic=True)


def emits(rows: Sequence[dict[str, Any]]) -> Chart:
    """Events a second: a panel for each latency."""
    names = {"emit": "one by one", "emit_concurrent": "64 at once", "emit_shared": "64, shared"}
    panels = []
    for latency in _distinct(row["latency_ms"] for row in rows):
        mine = [row for row in rows if row["latency_ms"] == latency]
        labels = [names.get(row["benchmark"], row["benchmark"]) for row in mine]
        series = [
            Series(name, colour, [1_000 / row[f"{name}_ms"] for row in mine]) for name, colour in _CONTENDERS
        ]
        panels.append(Panel(f"{latency} ms a round trip", labels, series))
    return Chart("Emitting", panels, "emitters", "events a second", logarithmic=True, bars=True)


def growth(rows: Sequence[dict[str, Any]]) -> Chart:
    """The time of an event by that at the smallest size: a panel for each kind of growth."""
    rows = [row for row in rows if row["figure"] != "memory"]
    panels = []
    for figure in _distinct(row["figure"] for row in rows):
        mine = [row for row in rows if row["figure"] == figure]
        series = Series("ours", _OURS, [row["ratio"] for row in mine])
        panels.append(Panel(figure, [_short(row["size"]) for row in mine], [series]))
    title = "What an event takes as things grow, by what it takes at the smallest size"
    return Chart(title, panels, "", "times as long", limit=rows[0]["limit"])


def peers(rows: Sequence[dict[str, Any]]) -> Chart:
    """Events that one worker process handles a second, by the number of recipients."""
    counts = _distinct(row["recipients"] for row in rows)
    names = _distinct(row["contender"] for row in rows)

    def of(contender: str, key: str) -> list[float | None]:
        # nothing at all has no place on a logarithmic scale
        found = {row["recipients"]: row[key] or None for row in rows if row["contender"] == contender}
        return [found.get(count) for count in counts]

    panels = [
        Panel(
            title,
            [f"{count:,}" for count in counts],
            [Series(name, colour, of(name, key)) for name, colour in zip(names, _PEERS, strict=False)],
        )
        for title, key in (("emitted", "emitted_per_s"), ("processed", "processed_per_s"))
    ]
    return Chart(
        "Beside a task queue in PostgreSQL",
        panels,
        "recipients",
        "events a second",
        logarithmic=True,
        bars=True,
    )


PLOTTED: dict[str, Callable[[Any], Chart]] = {
    "process_batch": lambda rows: batches("One batch", rows),
    "drain": lambda rows: batches("A batch of a drain", rows),
    "emit": emits,
    "scale": growth,
    "peers": peers,
}


def draw(results: Path = RESULTS, plots: Path = PLOTS) -> list[Path]:
    """Draw a plot of each benchmark that has figures; the files."""
    plots.mkdir(parents=True, exist_ok=True)
    drawn = []
    for name, chart in PLOTTED.items():
        found = read_result(name, results)
        if found is not None:
            path = plots / f"{name}.svg"
            path.write_text(chart(found).svg(), encoding="utf-8")
            drawn.append(path)
    return drawn


def _distinct(values: Iterable[Any]) -> list[Any]:
    return list(dict.fromkeys(values))


def _short(size: int) -> str:
    for unit, name in ((1_000_000, "M"), (1_000, "k")):
        if size >= unit and size % unit == 0:
            return f"{size // unit}{name}"
    return str(size)


@click.command()
def main() -> None:
    """Draw the plots from the figures that were measured last."""
    for path in draw():
        click.echo(path)


if __name__ == "__main__":
    main()
