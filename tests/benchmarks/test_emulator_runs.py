"""The benchmark of the emulator runs, and measures what it says; how fast it is belongs to no test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import emulator_runs as runs

ROOT = Path(__file__).parents[2]


def test_each_run_over_grpc_gives_a_rate(tmp_path: Path) -> None:
    with runs.Server("--data-dir", str(tmp_path)) as server:
        assert runs.commits(server.address, 200) > 0
        assert runs.batched_writes(server.address, 400) > 0
        assert runs.streamed(server.address, 400) > 0


@pytest.mark.slow
def test_the_other_runs_give_their_figures() -> None:
    assert 0 < runs.startup() < 30
    assert runs.in_process_commits(200) > 0
    figures = runs.large_store(2_000)
    assert 200 < figures["bytes_per_doc"] < 20_000
    assert 0 < figures["indexed_query_ms"] < 1_000
    assert runs.overwriting(100) < 1_000


def test_the_command_says_what_it_takes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.emulator", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--json" in done.stdout


def test_every_figure_with_a_target_is_measured() -> None:
    source = (ROOT / "benchmarks" / "emulator.py").read_text() + (
        ROOT / "benchmarks" / "emulator_runs.py"
    ).read_text()
    for name in runs.TARGETS:
        assert json.dumps(name) in source
