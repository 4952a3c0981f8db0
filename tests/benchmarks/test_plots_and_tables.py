"""The plots and tables are made from the figures that were measured last, and from nothing else."""

from __future__ import annotations

import xml.etree.ElementTree as ET
from pathlib import Path
from typing import Any

import pytest

from benchmarks import tables
from benchmarks.all import ALL, refresh
from benchmarks.charts import Chart, Panel, Series
from benchmarks.growth import Growth
from benchmarks.plots import PLOTTED, draw
from benchmarks.results_folder import read_result, write_result
from benchmarks.scale import Memory, as_rows

CONTEST = [
    {
        "benchmark": "process_batch",
        "latency_ms": latency,
        "events": events,
        "floor_ms": 2.0 * events,
        "ours_ms": 2.5 * events,
        "plain_ms": 3.0 * events,
    }
    for latency in (0, 10)
    for events in (1, 100)
]
FIGURES: dict[str, Any] = {
    "process_batch": CONTEST,
    "drain": [{**row, "benchmark": "drain"} for row in CONTEST],
    "emit": [{**row, "benchmark": "emit", "events": 1} for row in CONTEST[::2]],
    "cost": [
        {
            "row": "emit",
            "events": 1,
            "measured": {"round_trips": 1, "rpcs": 2, "reads": 3, "writes": 4},
            "table": {"round_trips": 1, "rpcs": 2, "reads": 3, "writes": 5},
            "plain": {},
            "agrees": False,
        }
    ],
    "scale": as_rows([Growth("recipients", (1, 10_000), (10, 10), (100.0, 120.0))], Memory(10, 20, 31.4)),
    "telemetry": [
        {
            "benchmark": "telemetry",
            "telemetry": "no SDK",
            "events": 10,
            "silent_ms": 2.0,
            "silent_cpu_ms": 1.0,
            "added_cpu_ms": 0.08,
        }
    ],
    "contention": [
        {
            "latency_ms": 10,
            "contender": "ours",
            "emits_per_s": 200.0,
            "emits_failed": 1,
            "emit_p50_ms": 11.0,
            "emit_p99_ms": 12.5,
            "alone_p50_ms": 11.2,
            "alone_p99_ms": 13.0,
            "batches_per_s": 30.0,
            "batches_lost": 2,
        }
    ],
    "peers": [
        {
            "contender": name,
            "events": 10,
            "recipients": 1,
            "concurrency": 1,
            "emitted_per_s": 1_000.0,
            "processed_per_s": 2_000.0,
            "all_done": True,
        }
        for name in ("eventbox", "procrastinate")
    ],
    "machine": {"cpus": 2, "python": "3.11", "system": "Linux", "by_quick": ["drain", "emit"]},
}


@pytest.fixture
def results(tmp_path: Path) -> Path:
    for name, found in FIGURES.items():
        write_result(name, found, tmp_path / "results")
    return tmp_path / "results"


def test_what_is_written_is_read_again(results: Path) -> None:
    assert {name: read_result(name, results) for name in FIGURES} == FIGURES
    assert read_result("none", results) is None


def test_each_plot_is_drawn_from_its_figures(results: Path, tmp_path: Path) -> None:
    drawn = draw(results, tmp_path / "plots")
    assert [path.stem for path in drawn] == list(PLOTTED)
    for path in drawn:
        assert ET.parse(path).getroot().tag.endswith("svg")


def test_a_contender_that_did_nothing_has_no_bar(tmp_path: Path) -> None:
    none_done = {**FIGURES["peers"][1], "processed_per_s": 0.0, "all_done": False}
    write_result("peers", [FIGURES["peers"][0], none_done], tmp_path)
    (path,) = draw(tmp_path, tmp_path / "plots")
    assert ET.parse(path).getroot().tag.endswith("svg")


def test_a_plot_without_figures_is_left_out(tmp_path: Path) -> None:
    write_result("emit", FIGURES["emit"], tmp_path)
    assert [path.stem for path in draw(tmp_path, tmp_path / "plots")] == ["emit"]


@pytest.mark.parametrize("bars", [True, False])
@pytest.mark.parametrize("logarithmic", [True, False])
def test_a_larger_value_stands_higher(bars: bool, logarithmic: bool) -> None:
    panel = Panel("p", ["a", "b", "c"], [Series("s", "#123456", [2.0, None, 30.0])])
    picture = Chart("t <&>", [panel], "x", "y", logarithmic=logarithmic, bars=bars, limit=40).svg()
    shapes = [one for one in ET.fromstring(picture).iter() if one.get("fill") == "#123456"]
    assert len(shapes) == 2
    first, second = (float(one.get("y" if bars else "cy", "")) for one in shapes)
    assert second < first


def test_tables_are_made_anew_and_the_rest_stays(results: Path, tmp_path: Path) -> None:
    readme = tmp_path / "README.md"
    marks = "\n".join(f"<!-- figures: {name} -->\nold\n<!-- end -->" for name in FIGURES)
    readme.write_text(f"before\n{marks}\nafter\n")
    refresh(results, tmp_path / "plots", readme)
    once = readme.read_text()
    assert "old" not in once
    assert once.startswith("before\n")
    assert once.endswith("<!-- end -->\nafter\n")
    assert "| `process_batch` | 0 ms | 100 | 200 | 250 | 300 | 1.25 ≤ 1.3 | 1.20, not ≥ 1.6 |" in once
    assert "| emit (the table says 1, 2, 3, 5) | 1 | 1 | 2 | 3 | 4 |" in once
    assert "| ours | 10 ms | 200/s | 11 | 11.2 | 12.5 | 13 | 30/s | 2 | 1 |" in once
    assert "31 MB" in once
    assert "| no SDK | 10 | 2 | 1 | 80 us | 8.0 % | 4.0 %, not < 3 % |" in once
    assert "Linux; by `--quick`: drain, emit." in once
    refresh(results, tmp_path / "plots", readme)
    assert readme.read_text() == once


def test_a_table_without_figures_keeps_what_it_had(tmp_path: Path) -> None:
    text = "<!-- figures: emit -->\nold\n<!-- end -->"
    assert tables.rewrite(text, tmp_path) == text


def test_a_mark_that_no_table_has_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="emitt"):
        tables.rewrite("<!-- figures: emitt -->\n<!-- end -->", tmp_path)


def test_the_page_has_a_table_for_each_benchmark_that_is_run() -> None:
    text = tables.README.read_text(encoding="utf-8")
    assert all(f"<!-- figures: {name} -->" in text for name in ALL)
