"""The workload of a game's cells, which are recipients: no unit is lost, doubled or carried off."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

from eventbox import (
    ContentionError,
    DocumentProcessor,
    Event,
    EventBox,
    Mutation,
    Recipient,
    Transition,
)
from tests.simulation.accounts import FlakyError
from tests.simulation.actors import FAILURES
from tests.simulation.cells.cell import Cell, Turn
from tests.simulation.cells.truth import CellTruth
from tests.simulation.process import Process
from tests.simulation.stage import Stage
from tests.simulation.workload import Role, Workload

_ROUNDS = 40
"""Of draining all cells, after which all is settled once faults have stopped."""


class Cells(Workload):
    """A ring of cells; at first there is none."""

    name = "cells"

    def __init__(self, stage: Stage, rng: Random) -> None:
        super().__init__(stage, rng)
        self.truth = CellTruth(stage)
        self.count = rng.randint(2, 5)
        self.calm = False
        self.births: dict[str, bool] = {}  # IDs of events; whether the emit has returned
        self.batches = 0
        self.contended = 0

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        self.truth.observe(rpc, request, response)

    def roles(self) -> Sequence[Role]:
        rng = self.rng
        roles = [Role(f"midwife{number}", self._bear, ends=True) for number in range(rng.randint(1, 3))]
        return roles + [Role(f"worker{number}", self._work) for number in range(rng.randint(2, 4))]

    def recipient(self, box: EventBox, number: int) -> Recipient:
        return Recipient(box.client.document(f"cells/{number}"), "cells")

    async def _bear(self, process: Process) -> None:
        """Emit births, each again until it is known to be there."""
        box, rng = self.stage.box(process), self.rng
        for count in range(rng.randint(2, 6)):
            to, id = rng.randrange(self.count), f"{process.name}-{count}"
            self.births[id] = False
            for _ in range(4):
                try:
                    await box.emit(json.dumps({"do": "birth"}).encode(), self.recipient(box, to), id=id)
                except FAILURES as error:
                    self.stage.history.add(process.name, f"failed to emit {id}: {error!r:.120}")
                else:
                    self.births[id] = True
                    break
            await box.clock.sleep(timedelta(seconds=rng.uniform(0.0, 6.0)))

    async def _work(self, process: Process) -> None:
        box, rng = self.stage.box(process), self.rng
        longest = rng.choice((0.2, 1.0))
        while True:
            number = rng.randrange(self.count)
            try:
                if rng.random() < 0.6:
                    await self._process(box, number)
                else:
                    await self.drain(box, number)
            except FAILURES as error:
                self.stage.history.add(process.name, f"failed: {error!r:.150}")
                self.contended += isinstance(error, ContentionError)
            await box.clock.sleep(timedelta(seconds=rng.uniform(0.0, longest)))
            longest = min(longest * 1.1, 8.0)

    async def _process(self, box: EventBox, number: int) -> None:
        processor = CellProcessor(self, box, number)
        await box.process_batch(
            self.recipient(box, number), processor, max_events=self.rng.choice((1, 3, 1_000))
        )
        self.batches += 1

    async def drain(self, box: EventBox, number: int) -> bool:
        report = await box.drain(
            self.recipient(box, number),
            CellProcessor(self, box, number),
            max_events=self.rng.choice((1, 2, 1_000)),
            max_batches=self.rng.choice((1, 3, 10)),
        )
        self.batches += report.batches
        return report.drained

    def calmed(self) -> None:
        self.calm = True

    async def finish(self, process: Process) -> None:
        box = self.stage.box(process)
        for _ in range(_ROUNDS):
            for number in range(self.count):
                try:
                    await self.drain(box, number)
                except FAILURES as error:
                    self.stage.history.violate("liveness", f"without faults, cell {number} fails: {error!r}")
                    return
            if not self._left():
                return
            await asyncio.sleep(1.0)
        self.stage.history.violate("liveness", f"after {_ROUNDS} rounds without faults: {self._left()[:3]}")

    def _left(self) -> list[str]:
        """Events, invitations and promises that are not settled."""
        unsettled = [
            invitation
            for number in range(self.count)
            for invitation in (*self.truth.cells[number].invited, *self.truth.cells[number].promised)
        ]
        return self.truth.waiting + unsettled

    def judge(self) -> None:
        cells, violate = self.truth.cells, self.stage.history.violate
        units = sorted(unit for number in range(self.count) for unit in cells[number].units)
        born = sorted(f"{number}-{n + 1}" for number in range(self.count) for n in range(cells[number].born))
        self.stage.checks["the number of units"] += 1
        if units != born:
            violate("the number of units", f"{born} were born, and there are {units}")
        births = [id for number in range(self.count) for id in cells[number].births]
        for id, accepted in self.births.items():
            self.stage.checks["nothing lost"] += 1
            if accepted and id not in births:
                violate("nothing lost", f"{id} was emitted, and nobody was born")
        if len(set(births)) != len(births) or set(births) - self.births.keys():
            violate("effect exactly once", f"births {births}")

    def figures(self) -> dict[str, int]:
        return {
            "units": sum(cell.born for cell in self.truth.cells.values()),
            "cells": len(self.truth.cells),
            "moves": self.truth.moves,
            "batches": self.batches,
            "contended": self.contended,
        }


class CellProcessor(DocumentProcessor[Cell]):
    """One cell's."""

    def __init__(self, game: Cells, box: EventBox, number: int) -> None:
        super().__init__(game.recipient(box, number), Cell)
        self._game = game
        self._box = box
        self._number = number

    async def prepare_mutation(self, events: Sequence[Event], state: Cell) -> Mutation[Cell]:
        game, rng = self._game, self._game.rng
        game.stage.history.add("", f"cell {self._number} hears {[event.id for event in events]}")
        if not events:
            turn = Turn(self._number, game.count, state)
            if not game.calm:
                turn.rest()
            if turn.cell == state:
                return Mutation()
            return Mutation([self._transition(turn, ())])
        size = rng.choice((1, 2, 1_000))
        transitions = []
        for start in range(0, len(events), size):
            turn = Turn(self._number, game.count, state)
            group = events[start : start + size]
            for event in group:
                turn.hear(event.id, json.loads(event.value))
            state = turn.cell
            transitions.append(self._transition(turn, group))
        return Mutation(transitions)

    def _transition(self, turn: Turn, events: Sequence[Event]) -> Transition[Cell]:
        game, box = self._game, self._box

        async def tell(transaction: Any) -> None:
            for to, id, order in turn.sends:
                await box.emit(
                    json.dumps(order).encode(), game.recipient(box, to), id=id, transaction=transaction
                )
            if not game.calm and game.rng.random() < 0.04:
                raise FlakyError(turn.number)

        return Transition(turn.cell, events=events, side_effect=tell)
