"""The library keeps its promises in these histories; `make simulate` runs as many others as you have time for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.simulation import simulate

FOUND = {
    110: "the emulator waited for ever for a transaction to expire, on a clock whose seconds are no exact floats",
    273: "the same, after the one who had begun it died",
}
"""Seeds that have found something, and what."""


@pytest.mark.parametrize("seed", FOUND, ids=lambda seed: f"seed_{seed}")
def test_what_a_seed_has_found_stays_mended(seed: int) -> None:
    assert simulate(seed).violations == []


@pytest.mark.parametrize("start", range(0, 20, 5))
def test_promises_are_kept(start: int) -> None:
    _check(range(start, start + 5))


@pytest.mark.slow
@pytest.mark.parametrize("start", range(20, 100, 10))
def test_promises_are_kept_in_more_histories(start: int) -> None:
    _check(range(start, start + 10))


def test_the_same_seed_makes_the_same_history_in_any_interpreter() -> None:
    program = "from tests.simulation.simulation import simulate; print([simulate(seed).digest for seed in (1, 2, 5)])"
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
        )
        for hash_seed in ("1", "2")
    ]
    first, second = (run.communicate(timeout=100)[0] for run in runs)
    assert first
    assert first == second


def test_histories_are_worth_the_name() -> None:
    results = [simulate(seed) for seed in range(6)]
    assert sum(result.rpcs for result in results) > 300
    assert sum(result.figures.get("batches", 0) for result in results) > 5
    assert sum(result.deaths for result in results) > 5


def _check(seeds: range) -> None:
    broken = {result.seed: result.violations for result in map(simulate, seeds) if result.violations}
    assert broken == {}
