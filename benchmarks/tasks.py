"""What the Cloud Tasks emulator does on one core: `python -m benchmarks.tasks [--json]`.

The emulator runs as a process of its own on one core; the client, and the worker that its tasks go to, on the others,
where the machine lets processes be pinned. The client speaks raw gRPC with requests that are encoded beforehand, and
the worker answers at once, so what is measured is the emulator. Each figure is the median of several runs.
"""

from __future__ import annotations

import json
import os
import statistics
import sys
import tempfile
from collections.abc import Callable

import click

from benchmarks import task_runs as runs


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--quick", is_flag=True, help="One shorter run of each, in under a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure the Cloud Tasks emulator."""
    results: dict[str, float] = {}
    times = 1 if quick else 5
    count = 2_000 if quick else 10_000

    def measure(name: str, run: Callable[[], list[float]]) -> None:
        if not as_json:
            click.echo(f"{name:28}", nl=False)
        results[name] = round(statistics.median(run()), 3)
        if not as_json:
            target = f"    (target: {runs.TARGETS[name]})" if name in runs.TARGETS else ""
            click.echo(f"{results[name]:>12,.3f}{target}")

    measure("startup_s", lambda: [runs.startup() for _ in range(times)])
    with runs.Server() as server:
        measure("tasks_per_s", lambda: runs.tasks(server.address, count, times))
    with tempfile.TemporaryDirectory(prefix="tasks-benchmark-") as folder:
        with runs.Server("--data-dir", folder) as server:
            measure("data_dir_tasks_per_s", lambda: runs.tasks(server.address, count, times))
    measure("in_process_tasks_per_s", lambda: [runs.in_process_tasks(count) for _ in range(times)])
    if as_json:
        json.dump(results, sys.stdout)
        click.echo()


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    main()
