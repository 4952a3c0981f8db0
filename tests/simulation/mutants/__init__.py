"""The attack, attacked: mistakes that a good engineer makes, each of which the simulation has to find.

`python -m tests.simulation.mutants` (`make mutants`) tells by which seed each mutant is caught, and the promise broken.
A mutant is a function that says what to patch, marked by `patching.mutant`, in the module of what it spoils.
"""

from tests.simulation.mutants import batches, commits, logs, quarantines, sets, sources, stores, tasks
from tests.simulation.mutants.patching import Mutant, found_in

MUTANTS: dict[str, Mutant] = found_in(batches, commits, logs, quarantines, sets, sources, stores, tasks)

__all__ = ["MUTANTS", "Mutant"]
