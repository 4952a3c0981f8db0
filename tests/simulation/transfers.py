"""The workload of accounts that send each other money, with all else that producers and workers do; in some histories
with tasks, and in some of these with nobody who polls."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from random import Random
from typing import Any

from tests.simulation.actors import FAILURES, Worker
from tests.simulation.judge import Judge
from tests.simulation.process import Process
from tests.simulation.processors import KINDS
from tests.simulation.producer import Producer
from tests.simulation.scene import Scene, recipient
from tests.simulation.stage import Stage
from tests.simulation.states import States
from tests.simulation.tasks import Tasks
from tests.simulation.workload import Role, Workload

_ROUNDS = 40
"""Of draining all recipients, after which everything has to be consumed once faults have stopped."""

_SETTLING = 1_200.0
"""Seconds after which what failed has been tried again, and sweeps have found what was left behind."""


class Transfers(Workload):
    """Money moves between recipients by side effects that emit to the other; the sum never changes."""

    name = "transfers"

    def __init__(self, stage: Stage, rng: Random) -> None:
        super().__init__(stage, rng)
        recipients = [f"{kind}/{number}" for kind in KINDS for number in range(2)]
        rng.shuffle(recipients)
        with_tasks = rng.random() < 0.6
        alone = with_tasks and rng.random() < 0.6
        if alone:  # a wake-up that goes by the wrong clock is lost where that lags by a second or two
            stage.skew = rng.choice((2.0, 2.0, 4.0, 30.0))
        # few contend; where a single wake-up that is lost has to show, no other may stand in for it
        recipients = recipients[: 6 if alone and rng.random() < 0.7 else rng.choice((2, 2, 3, 4))]
        self.scene = Scene(stage, rng, recipients, alone)
        self.tasks = Tasks(self.scene, rng) if with_tasks else None
        self._states = States(self.scene)

    def roles(self) -> Sequence[Role]:
        rng = self.rng
        roles = [Role(f"producer{number}", self._produce, ends=True) for number in range(rng.randint(2, 4))]
        if not self.scene.alone:
            roles += [Role(f"worker{number}", self._work) for number in range(rng.randint(1, 4))]
        if self.tasks is not None:
            roles += [Role(f"service{number}", self._serve) for number in range(2)]
        return roles

    async def _produce(self, process: Process) -> None:
        box = self.stage.box(process)
        queue = None if self.tasks is None else self.tasks.queue(process, box)
        await Producer(self.scene, box, process.name, queue).work(self.rng.randint(2, 8))

    async def _work(self, process: Process) -> None:
        box = self.stage.box(process)
        queue = None if self.tasks is None else self.tasks.queue(process, box)
        await Worker(self.scene, box, process.name, queue).work()

    async def _serve(self, process: Process) -> None:
        assert self.tasks is not None
        await self.tasks.serve(process, self.stage.box(process))

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        self._states.observe(rpc, request)

    def calmed(self) -> None:
        self.scene.unruly = False

    async def finish(self, process: Process) -> None:
        if self.tasks is not None:
            service = self.stage.process("service", mortal=False)
            service.start(self._serve(service))
            await asyncio.sleep(_SETTLING)
        box = self.stage.box(process)
        queue = None if self.tasks is None else self.tasks.queue(process, box)
        worker = Worker(self.scene, box, process.name, queue)
        if self.scene.alone:
            emissions = self.scene.ledger.emissions
            left = [
                key for key in await self._outstanding(worker) if key not in emissions or emissions[key].wakes
            ]
            detail = f"{left[:3]} are left, long after all faults have stopped"
            self.scene.check("wake-ups are enough", not left, detail)
        await self._drain_all(worker)
        if queue is not None:
            await asyncio.sleep(_SETTLING)  # the tasks of the last side effects
        events = await self._outstanding(worker)
        self.scene.check(
            "liveness", not events, f"{events[:3]} are left after {_ROUNDS} rounds without faults"
        )

    async def _drain_all(self, worker: Worker) -> None:
        for _ in range(_ROUNDS):
            left = 0
            for path in self.scene.recipients:
                try:
                    report = await worker.drain(path)
                except FAILURES as error:
                    detail = f"without faults, a drain of {path} fails: {error!r}"
                    self.stage.history.violate("liveness", detail)
                    return
                left += not report.drained
                if not self.scene.alone:  # what the drain sends wakes the service
                    self.scene.check("contention needs somebody else", not report.contended, path)
            if not left and not await self._outstanding(worker):
                return

    async def _outstanding(self, worker: Worker) -> list[tuple[str, str]]:
        client = worker.box.client
        return [
            (path, event.id)
            for path in self.scene.recipients
            for event in await worker.box.list_events(recipient(client, path))
        ]

    def judge(self) -> None:
        if self.tasks is not None:
            self.tasks.judge()
        Judge(self.scene, self._states.added_by_emits).judge()

    def figures(self) -> dict[str, int]:
        ledger = self.scene.ledger
        return {
            "events": len(ledger.emissions),
            "batches": ledger.batches,
            "contended": ledger.contended,
        }
