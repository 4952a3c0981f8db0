"""The library keeps its promises in these histories; `make simulate` runs as many others as you have time for."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.simulation.simulation import simulate
from tests.simulation.workloads import NAMES

FOUND = [
    (
        110,
        "transfers",
        "the emulator waited for ever for a transaction to expire: a float's seconds are not exact",
    ),
    (273, "transfers", "the same, after the one who had begun it died"),
    (
        0,
        "log",
        "a follower went on behind another's cursor after a lost answer: entries left out, or handled twice",
    ),
    (
        7000870,
        "transfers",
        "a commit came twice, and the refusal of the second, whose transaction had ended, was taken for that of both",
    ),
    (8007245, "store", "the judge missed an event that need not be stored where nobody heard of the commit"),
    (9007627, "log", "the network told the refusal of a request's second copy to the sender of both"),
]
"""Seeds that have found something, and what. A seed tells the same story until the simulation changes: what each has
found has a test of its own beside what it was found in."""

STRAYED = [(8000003, "transfers")]
"""Seeds whose histories once hung on the addresses of objects: a set of tasks that were cancelled in its order."""

FEWEST_RPCS, MOST_RPCS = 50, 1_000
"""Of a history: fewer try nothing, more are slow to read."""

QUICK = 20
IN_ALL = 500
_AT_ONCE = 10


@pytest.mark.parametrize(("seed", "workload", "found"), FOUND, ids=[f"seed_{seed}" for seed, *_ in FOUND])
def test_what_a_seed_has_found_stays_mended(seed: int, workload: str, found: str) -> None:
    assert simulate(seed, workload=workload).violations == [], found


@pytest.mark.parametrize("start", range(0, QUICK, 5))
def test_promises_are_kept(start: int) -> None:
    _check(range(start, start + 5))


@pytest.mark.slow
@pytest.mark.no_cover  # it would take twice the time, and cover what the others do
@pytest.mark.parametrize("start", range(QUICK, IN_ALL, _AT_ONCE))
def test_promises_are_kept_in_more_histories(start: int) -> None:
    _check(range(start, start + _AT_ONCE))


def test_the_same_seed_makes_the_same_history_in_any_interpreter() -> None:
    seeds = [*((1, name) for name in sorted(NAMES)), *STRAYED]
    program = (
        "from tests.simulation.simulation import simulate\n"
        f"print([simulate(seed, workload=name).digest for seed, name in {seeds}])"
    )
    runs = [
        subprocess.Popen(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": hash_seed},
            stdout=subprocess.PIPE,
            text=True,
        )
        for hash_seed in ("1", "2")
    ]
    first, second = (run.communicate(timeout=100)[0] for run in runs)
    assert first.startswith("['")
    assert first == second


def test_what_was_simulated_before_changes_nothing() -> None:
    alone = simulate(3).digest
    for name in NAMES:
        simulate(4, workload=name)
    assert simulate(3).digest == alone


def test_another_seed_makes_another_history() -> None:
    assert len({simulate(seed, workload="transfers").digest for seed in range(4)}) == 4


def _check(seeds: range) -> None:
    results = [simulate(seed) for seed in seeds]
    assert {result.seed: result.violations for result in results if result.violations} == {}
    strange = {one.seed: one.rpcs for one in results if not FEWEST_RPCS <= one.rpcs <= MOST_RPCS}
    assert strange == {}, "histories of too few or too many RPCs"
