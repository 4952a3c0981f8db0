"""The figures that were measured last, as the benchmarks' `--json` printed them, a file for each."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

RESULTS = Path(__file__).parent / "results"


def read_result(benchmark: str, folder: Path = RESULTS) -> Any:
    """What a benchmark printed last; None where it has not been run."""
    path = folder / f"{benchmark}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def write_result(benchmark: str, found: Any, folder: Path = RESULTS) -> None:
    """Keep what a benchmark printed: a line for each element of a list, so that two runs can be compared."""
    folder.mkdir(parents=True, exist_ok=True)
    if isinstance(found, list):
        text = "[\n" + ",\n".join(f"  {json.dumps(one)}" for one in found) + "\n]\n"
    else:
        text = json.dumps(found, indent=2) + "\n"
    (folder / f"{benchmark}.json").write_text(text, encoding="utf-8")
