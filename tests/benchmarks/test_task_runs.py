"""The benchmark of the Cloud Tasks emulator runs; how fast it is belongs to no test."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

from benchmarks import task_runs as runs

ROOT = Path(__file__).parents[2]


def test_each_run_gives_a_figure(tmp_path: Path) -> None:
    with runs.Server("--data-dir", str(tmp_path)) as server:
        assert min(runs.tasks(server.address, 50, times=2)) > 0
    assert runs.in_process_tasks(100) > 0


def test_the_command_says_what_it_takes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.tasks", "--help"],
        cwd=ROOT, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "--json" in done.stdout


def test_every_figure_with_a_target_is_measured() -> None:
    source = (ROOT / "benchmarks" / "tasks.py").read_text()
    for name in runs.TARGETS:
        assert json.dumps(name) in source
