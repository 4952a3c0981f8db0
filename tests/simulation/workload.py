"""A workload: what the processes of a history do, and the promises that are checked of it.

Each seed attacks one workload: histories of few kinds go deeper than those of all. A new workload is a subclass in a
file of its own, and a line in `workloads.py`.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from random import Random
from typing import Any, ClassVar

from tests.simulation.process import Process
from tests.simulation.stage import Stage


@dataclass(frozen=True, slots=True)
class Role:
    """What one process does while there is trouble. When it dies, another one starts, and plays it from the beginning.

    Attributes:
        name: of the process.
        play: ends only when the role is over. What it raises, faults or not, is a violation: catch what may come.
        ends: the history goes on until all such roles are over; the others are killed then.
        survives: it is not killed then, but goes on without faults until the history ends.
    """

    name: str
    play: Callable[[Process], Awaitable[Any]]
    ends: bool = False
    survives: bool = False


class Workload:
    """One of them, on a stage.

    `self.rng` is its own: whatever it draws changes nothing but this workload's part of the history.
    """

    name: ClassVar[str]

    def __init__(self, stage: Stage, rng: Random) -> None:
        self.stage = stage
        self.rng = rng

    def roles(self) -> Sequence[Role]:
        """Who acts while there is trouble; at least one of them ends."""
        raise NotImplementedError

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        """Look at what an RPC has written, right after it was carried out."""

    def calmed(self) -> None:
        """Faults have stopped: behave from now on. Of the processes of the trouble those that survive are left."""

    async def finish(self, process: Process) -> None:
        """Without faults, in a process that does not die: do what is left to do, in a bounded number of steps.

        What is still not done then is a violation of `liveness`, which this tells.
        """
        raise NotImplementedError

    def judge(self) -> None:
        """Compare what the application was told with what lies in the database.

        Count in `self.stage.checks`, by the promise's name, what was compared: a checker that never has anything to
        check finds nothing.
        """
        raise NotImplementedError

    def figures(self) -> dict[str, int]:
        """What has happened, for a person to see: events, batches, contended, and so on."""
        return {}
