"""Runs what benchmarks/README.md has figures of, and refreshes its tables and plots: `python -m benchmarks.all`.

Each benchmark runs by itself, one after the other, and its figures go to `benchmarks/results/`. One that fails leaves
the figures that were there. Let nothing else run meanwhile.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import click

from benchmarks.missed_goals import missed_goals
from benchmarks.peers import EXIT_MISSING
from benchmarks.plots import PLOTS, draw
from benchmarks.results_folder import RESULTS, read_result, write_result
from benchmarks.tables import README, rewrite

ALL = ("cost", "process_batch", "drain", "emit", "scale", "telemetry", "contention", "peers")


def run(benchmark: str, *, quick: bool) -> Any:
    """What it prints.

    Raises:
        subprocess.CalledProcessError: it failed, and printed nothing.
    """
    command = [sys.executable, "-m", f"benchmarks.{benchmark}", "--json", *(["--quick"] if quick else [])]
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=False)
    if done.returncode and not done.stdout:
        raise subprocess.CalledProcessError(done.returncode, command)
    return json.loads(done.stdout)  # with an exit code too, where the figures are not what they should be


def refresh(results: Path = RESULTS, plots: Path = PLOTS, readme: Path = README) -> list[Path]:
    """Make the plots and the tables anew from the figures measured last; the files."""
    drawn = draw(results, plots)
    readme.write_text(rewrite(readme.read_text(encoding="utf-8"), results), encoding="utf-8")
    return [*drawn, readme]


def machine(before: dict[str, Any] | None, measured: Sequence[str], *, quick: bool) -> dict[str, Any]:
    """What the figures were measured on last, and which of them by `--quick`: the others keep how they were."""
    by_quick = {*(before or {}).get("by_quick", ())}.difference(measured).union(measured if quick else ())
    return {
        "cpus": os.cpu_count(),
        "python": platform.python_version(),
        "system": platform.system(),
        "by_quick": sorted(by_quick),
    }


@click.command()
@click.option("--quick", is_flag=True, help="Each for less than a minute.")
@click.argument("benchmarks", nargs=-1, type=click.Choice(ALL))
def main(quick: bool, benchmarks: tuple[str, ...]) -> None:
    """Run these benchmarks (all by default), and refresh the tables and plots of benchmarks/README.md."""
    failed, measured = [], []
    for benchmark in benchmarks or ALL:
        click.echo(f"{benchmark:16}", nl=False)
        began = time.monotonic()
        try:
            write_result(benchmark, run(benchmark, quick=quick))
        except (subprocess.CalledProcessError, json.JSONDecodeError) as error:
            if isinstance(error, subprocess.CalledProcessError) and error.returncode == EXIT_MISSING:
                click.echo("left out, for want of what it needs")
            else:
                failed.append(benchmark)
                click.echo(f"failed: {error}")
            continue
        measured.append(benchmark)
        click.echo(f"{time.monotonic() - began:6.0f} s")
    if measured:
        write_result("machine", machine(read_result("machine"), measured, quick=quick))
    for path in refresh():
        click.echo(f"made anew: {path}")
    for line in missed_goals():
        click.echo(f"missed: {line}")
    if failed:
        sys.exit(1)


if __name__ == "__main__":
    main()
