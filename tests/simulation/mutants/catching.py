"""Whether the simulation catches a mutant, and by which seed."""

from __future__ import annotations

from tests.simulation.mutants import MUTANTS
from tests.simulation.simulation import simulate
from tests.simulation.workloads import drawn

WITHIN = 500
"""Seeds by which each has to be caught."""


def caught(name: str, seeds: range = range(WITHIN)) -> tuple[str, int | None, str]:
    """The mutant, the first of these seeds that catches it, and the promise broken; None where none does.

    Where no history does of those that the seeds draw, all are tried with the workloads in which it can show.
    """
    mutant = MUTANTS[name]
    with mutant.applied():
        for seed in seeds:
            if drawn(seed).name not in mutant.workloads:
                continue  # that history never gets there
            violations = simulate(seed).violations
            if violations:
                return name, seed, violations[0]
        for workload in mutant.workloads:  # those that get few of the seeds
            for seed in seeds:
                violations = simulate(seed, workload=workload).violations
                if violations:
                    return name, seed, f"--workload {workload}: {violations[0]}"
    return name, None, ""
