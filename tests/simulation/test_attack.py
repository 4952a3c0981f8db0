"""The simulation does what it says: each fault happens, and each promise is compared with what happened."""

from __future__ import annotations

from collections import Counter

import pytest

from tests.simulation.simulation import simulate
from tests.simulation.workloads import NAMES, SHARES, drawn

FAULTS = {
    "before",
    "after",
    "late",
    "twice",
    "cut",
    "stream cut",
    "slow",
    "silent",
    "aborted",
    "cancelled",
    "times out",
    "killed",
    "dies before it is sent",
    "dies before it hears",
    "dies at an await",
    "starved",
    "outage",
    "clock jumps",
    "told to stop",
}

PROMISES = {
    "transfers": {
        "nothing lost",
        "duplicates",
        "effect exactly once",
        "all or nothing",
        "the sum stays",
        "versions",
        "isolation",
        "decided on the state that it changes",
        "nothing early",
        "post-process at most once",
        "post-process only after the commit",
        "post-process runs where its caller lives",
        "on_commit at most once",
        "on_commit only after the commit",
        "on_commit runs where the commit is known",
        "contention is reported as such",
        "contention needs somebody else",
        "drained means that nothing is left",
        "garbage has no effect",
        "garbage goes even where preparing fails",
        "fields of others are kept",
        "keys that are taken out go",
        "a task if and only if its commit",
        "a task that was enqueued runs",
        "no reminder stays",
        "wake-ups are enough",
        "liveness",
    },
    "ingestion": {
        "no commit by a lost lease",
        "a block before its pointer",
        "each block once",
        "the token rises",
        "a lease lasts",
        "at most one leader",
        "taken over in time",
    },
    "log": {
        "one order for all",
        "the same entry for all",
        "handled exactly once",
        "appended exactly once",
        "an append if and only if its commit",
        "the order of a process",
        "transient entries once",
        "trimmed only when it may be",
        "all is trimmed that may be",
        "reads tell what is there",
    },
    "cells": {
        "versions",
        "all or nothing",
        "each birth is one",
        "each unit is in one place",
        "none moves without an invitation",
        "the number of units",
        "nothing lost",
    },
    "store": {
        "nothing stored is lost",
        "stored if and only if it commits",
        "marks are there",
        "broadcasted when it was",
        "received is for good",
        "remembered for so long",
        "listings are true",
        "approved exactly once",
        "told when it is approved",
        "what is approved is not stored",
        "the token rises",
        "a lease lasts",
        "listeners end with the lease",
        "liveness",
    },
    "poison": {
        "only what fails by itself is set aside",
        "in quarantine or outstanding",
        "what is put back is outstanding",
        "an ID comes again",
        "a duplicate adds nothing",
        "effect exactly once",
        "nothing lost",
        "liveness",
    },
}
"""What has to be compared at least once in so many seeds of each workload; of one that is not here, anything."""

_SEEDS = 100
"""At most: a dozen are enough, and which ones it takes changes with each change of the library."""


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("workload", NAMES)
def test_every_promise_is_compared_with_what_happened(workload: str) -> None:
    checks: Counter[str] = Counter()
    for seed in range(_SEEDS):
        result = simulate(seed, workload=workload)
        assert result.violations == [], f"seed {seed}"
        checks.update(result.checks)
        if checks and checks.keys() >= PROMISES.get(workload, set()):
            return
    assert PROMISES.get(workload, set()) - checks.keys() == set()
    assert checks


@pytest.mark.slow
@pytest.mark.no_cover
def test_every_fault_happens() -> None:
    faults: Counter[str] = Counter()
    for seed in range(_SEEDS):
        faults.update(simulate(seed).faults)
        if faults.keys() >= FAULTS:
            return
    assert FAULTS - faults.keys() == set()


def test_every_workload_has_its_share_of_the_seeds() -> None:
    shares = Counter(drawn(seed) for seed in range(500))
    for workload, share in SHARES.items():
        expected = 500 * share / sum(SHARES.values())
        assert expected / 2 < shares[workload] < expected * 2
