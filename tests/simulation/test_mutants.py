"""The simulation finds mistakes; `make mutants` tries all of them."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS
from tests.simulation.mutants.catching import caught

QUICK = [
    "no precondition on consumed events",
    "consumed events are deleted without a tombstone",
    "post process runs before the commit",
    "adds in transactions lower due",
    "a lease is taken early",
    "commits are not fenced",
    "storing again overwrites",
    "what is set aside stays outstanding",
]
"""Caught within a second or two."""


@pytest.mark.slow
@pytest.mark.no_cover
@pytest.mark.parametrize("mutant", QUICK)
def test_a_mistake_is_found(mutant: str) -> None:
    _, seed, violation = caught(mutant, range(100))
    assert seed is not None
    assert violation


@pytest.mark.parametrize("name", MUTANTS)
def test_each_mistake_can_still_be_made(name: str) -> None:
    with MUTANTS[name].applied():
        pass


def test_there_are_enough_mutants() -> None:
    assert len(MUTANTS) >= 60
