"""The workload of accounts that send each other money, with all else that producers and workers do; in some histories
with tasks."""

from __future__ import annotations

from collections.abc import Sequence
from random import Random

from tests.simulation.accounts import Scene, recipient
from tests.simulation.actors import FAILURES, Producer, Worker
from tests.simulation.judge import judge
from tests.simulation.ledger import Ledger
from tests.simulation.process import Process
from tests.simulation.stage import Stage
from tests.simulation.tasks import Tasks
from tests.simulation.workload import Role, Workload

_ROUNDS = 40
"""Of draining all recipients, after which everything has to be consumed once faults have stopped."""


class Transfers(Workload):
    """Money moves between recipients by side effects that emit to the other; the sum never changes."""

    name = "transfers"

    def __init__(self, stage: Stage, rng: Random) -> None:
        super().__init__(stage, rng)
        recipients = [f"accounts/{number}" for number in range(rng.randint(1, 3))]
        recipients += [f"plain/{number}" for number in range(rng.randint(1, 2))]
        self.scene = Scene(rng, stage.history, Ledger(), stage.truth, stage.clock, recipients)
        self.tasks = Tasks(self.scene, stage, rng) if rng.random() < 0.4 else None

    def roles(self) -> Sequence[Role]:
        rng = self.rng
        roles = [Role(f"producer{number}", self._produce, ends=True) for number in range(rng.randint(1, 4))]
        roles += [Role(f"worker{number}", self._work) for number in range(rng.randint(1, 4))]
        if self.tasks is not None:
            roles += [Role(f"service{number}", self._serve) for number in range(2)]
        return roles

    async def _produce(self, process: Process) -> None:
        box = self.stage.box(process)
        queue = None if self.tasks is None else self.tasks.queue(process, box)
        await Producer(self.scene, box, process.name, queue).work(self.rng.randint(1, 8))

    async def _work(self, process: Process) -> None:
        await Worker(self.scene, self.stage.box(process), process.name).work()

    async def _serve(self, process: Process) -> None:
        assert self.tasks is not None
        await self.tasks.serve(process, self.stage.box(process))

    def calmed(self) -> None:
        self.scene.unruly = False

    async def finish(self, process: Process) -> None:
        if self.tasks is not None:
            service = self.stage.process("service", mortal=False)
            service.start(self._serve(service))
            await self.tasks.settle()
        worker = Worker(self.scene, self.stage.box(process), process.name)
        for _ in range(_ROUNDS):
            left = 0
            for path in self.scene.recipients:
                try:
                    left += not await worker.drain(path)
                except FAILURES as error:
                    self.stage.history.violate(
                        "liveness", f"without faults, a drain of {path} fails: {error!r}"
                    )
                    return
            if not left and not [
                event
                for path in self.scene.recipients
                for event in await worker.box.list_events(recipient(worker.box.client, path))
            ]:
                return
        self.stage.history.violate("liveness", f"events are left after {_ROUNDS} rounds without faults")

    def judge(self) -> None:
        if self.tasks is not None:
            self.tasks.judge()
        judge(self.scene)

    def figures(self) -> dict[str, int]:
        ledger = self.scene.ledger
        return {
            "events": len(ledger.emissions),
            "batches": ledger.committed,
            "contended": ledger.contended,
        }
