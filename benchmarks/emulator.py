"""What the Firestore emulator does on one core: `python -m benchmarks.emulator [--json]`.

The emulator runs as a process of its own on one core and the client on another, where the machine lets processes be
pinned. The client speaks raw gRPC with requests that are encoded beforehand, so what is measured is the server. Each
figure is the median of several runs.
"""

from __future__ import annotations

import json
import os
import shutil
import statistics
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import click

from benchmarks import emulator_runs as runs


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--quick", is_flag=True, help="One shorter run of each, in under a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure the Firestore emulator."""
    results: dict[str, float] = {}
    times = 1 if quick else 5

    def measure(name: str, run: Callable[[], float], repeat: int = times) -> None:
        if not as_json:
            click.echo(f"{name:28}", nl=False)
        results[name] = round(statistics.median(run() for _ in range(repeat)), 3)
        if not as_json:
            target = f"    (target: {runs.TARGETS[name]})" if name in runs.TARGETS else ""
            click.echo(f"{results[name]:>12,.3f}{target}")

    factor = 0.2 if quick else 1.0
    documents = 200_000 if quick else 1_000_000
    measure("startup_s", runs.startup)
    with runs.Server() as server:
        measure("commits_per_s", lambda: runs.commits(server.address, int(10_000 * factor)))
        measure("batched_writes_per_s", lambda: runs.batched_writes(server.address, int(60_000 * factor)))
        measure("streamed_docs_per_s", lambda: runs.streamed(server.address, int(60_000 * factor)))
    folder = Path(tempfile.mkdtemp(prefix="emulator-benchmark-"))
    try:
        with runs.Server("--data-dir", str(folder)) as server:
            measure("data_dir_commits_per_s", lambda: runs.commits(server.address, int(10_000 * factor)))
    finally:
        shutil.rmtree(folder)
    measure("in_process_commits_per_s", lambda: runs.in_process_commits(int(10_000 * factor)))
    size = runs.large_store(documents)
    measure("bytes_per_doc", lambda: size["bytes_per_doc"], 1)
    measure("indexed_query_ms", lambda: size["indexed_query_ms"], 1)
    measure("growth_per_overwrite_bytes", lambda: runs.overwriting(int(20_000 * factor)), 1)
    results["documents"] = documents
    if as_json:
        json.dump(results, sys.stdout)
        click.echo()


if __name__ == "__main__":
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    main()
