"""The workloads, and how often each is attacked."""

from __future__ import annotations

from random import Random

from tests.simulation.cells.cells import Cells
from tests.simulation.log.log import Log
from tests.simulation.poison.poison import Poison
from tests.simulation.sources.ingestion import Ingestion
from tests.simulation.sources.storing import Storing
from tests.simulation.stage import Stage
from tests.simulation.transfers import Transfers
from tests.simulation.workload import Workload

SHARES: dict[type[Workload], int] = {
    Transfers: 14,
    Ingestion: 3,
    Log: 5,
    Storing: 3,
    Poison: 3,
    Cells: 3,
}
"""So many in each of their sum of histories."""

NAMES = {workload.name: workload for workload in SHARES}


def drawn(seed: int) -> type[Workload]:
    """The workload that a seed attacks."""
    (kind,) = Random(f"workload {seed}").choices(list(SHARES), list(SHARES.values()))
    return kind


def draw(seed: int, stage: Stage, name: str | None = None) -> Workload:
    """The seed's workload, or that of this name, on a stage."""
    kind = drawn(seed) if name is None else NAMES[name]
    return kind(stage, Random(f"{kind.name} {seed}"))
