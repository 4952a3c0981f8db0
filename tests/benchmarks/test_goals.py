"""What the benchmarks are to reach, and which of it was missed."""

from __future__ import annotations

from pathlib import Path

import pytest

from benchmarks.goals import goal
from benchmarks.growth import Growth
from benchmarks.missed_goals import missed_goals
from benchmarks.results_folder import write_result
from benchmarks.scale import Memory, as_rows


@pytest.mark.parametrize(
    ("benchmark", "latency_ms", "events", "of_floor", "than_plain"),
    [
        ("process_batch", 0, 1, 1.6, 1.6),
        ("process_batch", 0, 10, None, 1.6),
        ("process_batch", 0, 100, 1.3, 1.6),
        ("process_batch", 0, 1_000, 1.3, 1.6),
        ("process_batch", 10, 100, 1.05, 1.4),
        ("process_batch", 10, 1_000, 1.15, 1.4),
        ("process_batch", 30, 1, 1.05, None),
        ("drain", 10, 1, None, None),
        ("drain", 10, 10, None, 2.7),
        ("drain", 10, 1_000, None, 2.2),
        ("emit", 0, 1, 1.2, None),
        ("emit_shared", 0, 64, None, 8),
        ("emit_shared", 10, 64, None, None),
    ],
)
def test_each_setting_has_its_goals(
    benchmark: str, latency_ms: int, events: int, of_floor: float | None, than_plain: float | None
) -> None:
    found = goal(benchmark, latency_ms, events)
    assert (found.of_floor, found.than_plain) == (of_floor, than_plain)


def test_a_ratio_at_its_bound_meets_it() -> None:
    batch = goal("process_batch", 0, 1)
    assert batch.floor_cell(1.604) == "1.60 ≤ 1.6"
    assert batch.floor_cell(1.606) == "1.61, not ≤ 1.6"
    assert batch.plain_cell(1.596) == "1.60 ≥ 1.6"
    assert batch.plain_cell(1.594) == "1.59, not ≥ 1.6"


def test_what_is_missed_is_told(tmp_path: Path) -> None:
    assert missed_goals(tmp_path) == []
    batch = {"benchmark": "process_batch", "latency_ms": 10, "events": 1_000, "floor_ms": 100.0}
    write_result("process_batch", [{**batch, "ours_ms": 120.0, "plain_ms": 120.0}], tmp_path)
    write_result("drain", [{**batch, "benchmark": "drain", "ours_ms": 100.0, "plain_ms": 300.0}], tmp_path)
    write_result("cost", [{"row": "emit", "events": 1, "agrees": False}], tmp_path)
    growth = Growth("recipients", (1, 10_000), (10, 10), (100.0, 140.0))
    write_result("scale", as_rows([growth], Memory(10, 20, 61.5)), tmp_path)
    contention = {"contender": "ours, drain", "latency_ms": 10, "batches_lost": 2, "emits_failed": 0}
    added = {"benchmark": "telemetry", "telemetry": "no SDK", "silent_ms": 2.0, "silent_cpu_ms": 1.0}
    rows = [{**added, "events": n, "added_cpu_ms": ms} for n, ms in ((1, 0.05), (10, 0.06))]
    write_result("telemetry", rows, tmp_path)
    plain = {**contention, "contender": "plain, all in one"}
    write_result("contention", [contention, {**contention, "batches_lost": 0}, plain], tmp_path)
    assert missed_goals(tmp_path) == [
        "process_batch, 1,000 events, 10 ms: ours / floor is 1.20, not ≤ 1.15",
        "process_batch, 1,000 events, 10 ms: plain / ours is 1.00, not ≥ 1.4",
        "cost of emit, 1 events: it is not what the table says",
        "scale, recipients: 1.4 at 10,000, not ≤ 1.3",
        "scale, memory: 61.5 MB, not ≤ 60",
        "telemetry, no SDK, 10 events: 3.0 % of a batch's time, not < 3 %",
        "contention of ours, drain, 10 ms: 2 batches were lost, and 0 emits failed",
    ]
