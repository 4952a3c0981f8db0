"""The cells as every commit leaves them: each unit is in one place, and none has moved without an invitation."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from dataclasses import fields as fields_of
from typing import Any

from google.cloud.firestore_v1._helpers import decode_dict

from dsset.documents import GONE
from eventbox.document_processor import EVERSION
from tests.simulation.cells.cell import Cell, Order
from tests.simulation.stage import Stage
from tests.simulation.truth import ROOT

CELLS = f"{ROOT}cells/"
_NAMES = [field.name for field in fields_of(Cell)]


class CellTruth:
    """All cells, and the units on their way between them."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self.cells: dict[int, Cell] = defaultdict(Cell)
        self._eversions: Counter[int] = Counter()
        self._waiting: dict[str, Order] = {}  # events by their names
        self._places: dict[str, set[str]] = defaultdict(set)  # where each unit is; one of them, always
        self._arrived: dict[
            tuple[int, str], str
        ] = {}  # by this commit: cell and unit, and by which invitation
        self.moves = 0

    @property
    def waiting(self) -> list[str]:
        """The events that are outstanding."""
        return list(self._waiting)

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        """Look at what an RPC has written."""
        if rpc not in ("Commit", "BatchWrite"):
            return
        names = [write.update.name or write.delete for write in request.writes]
        names = list(dict.fromkeys(name for name in names if name.startswith(CELLS)))
        if not names:
            return
        consumed: Counter[int] = Counter()
        moved: set[str] = set()
        self._arrived.clear()
        events = [name for name in names if "/eventbox_inbox/" in name]
        for name in events:
            self._look_at_event(name, consumed, moved)
        before = {}
        for name in names:
            number = int(name.removeprefix(CELLS).partition("/")[0])
            if "/" not in name.removeprefix(CELLS):
                before[number] = self._look_at_cell(number, name, moved)
        for number in {**before, **consumed}:
            heard = self.cells[number].heard - before.get(number, self.cells[number]).heard
            self._check(
                "all or nothing",
                heard == consumed[number],
                f"cell {number} has heard {heard} events, {consumed[number]} were consumed",
            )
        for number, earlier in before.items():
            self._check_moves(number, earlier, self.cells[number])
        for unit in sorted(moved):
            places = sorted(self._places[unit])
            self._check("each unit is in one place", len(places) == 1, f"{unit} is in {places}")

    def _check(self, promise: str, kept: bool, detail: str) -> None:
        self._stage.checks[promise] += 1
        if not kept:
            self._stage.history.violate(promise, detail)

    def _look_at_event(self, name: str, consumed: Counter[int], moved: set[str]) -> None:
        version = self._stage.truth.version(name)
        fields = None if version is None or version.message is None else version.message.fields
        if fields is not None and fields["due"].integer_value != GONE:
            if name in self._waiting:
                return
            order = self._waiting[name] = json.loads(fields["value"].bytes_value)
            if order["do"] == "move":
                self._places[order["unit"]].add(name)
                moved.add(order["unit"])
        elif name in self._waiting:
            order = self._waiting.pop(name)
            number = int(name.removeprefix(CELLS).partition("/")[0])
            consumed[number] += 1
            if order["do"] == "move":
                self._arrived[number, order["unit"]] = order["invitation"]
                self._places[order["unit"]].discard(name)
                moved.add(order["unit"])

    def _look_at_cell(self, number: int, name: str, moved: set[str]) -> Cell:
        """Take it in; what it was before."""
        before = self.cells[number]
        fields = self._stage.truth.fields(name.removeprefix(ROOT))
        decoded = {} if fields is None else decode_dict(fields, None)
        after = self.cells[number] = Cell(**{key: decoded[key] for key in _NAMES if key in decoded})
        eversion = decoded.get(EVERSION, 0)
        self._check(
            "versions",
            eversion == self._eversions[number] + (after != before),
            f"the eversion of cell {number} went from {self._eversions[number]} to {eversion}",
        )
        self._eversions[number] = eversion
        for unit in _units(before) - _units(after):
            self._places[unit].discard(name)
            moved.add(unit)
        for unit in _units(after) - _units(before):
            self._places[unit].add(name)
            moved.add(unit)
        return before

    def _check_moves(self, number: int, before: Cell, after: Cell) -> None:
        for unit in sorted(_units(after) - _units(before)):
            home, _, place = unit.partition("-")
            if int(home) == number and before.born < int(place) <= after.born:
                continue
            invitation = self._arrived.get((number, unit), "")
            self.moves += 1
            self._check(
                "none moves without an invitation",
                invitation in before.invited and invitation not in after.invited,
                f"{unit} came to cell {number} by {invitation!r}",
            )
        for invitation in sorted(after.promised.keys() - before.promised.keys()):
            inviting = self.cells[int(invitation.partition(".")[0])]
            self._check(
                "none moves without an invitation",
                inviting.invited.get(invitation) == str(number),
                f"cell {number} promises a unit for {invitation}, which was not sent to it, or is settled",
            )
        self._check(
            "each birth is one", len(set(after.births)) == len(after.births), f"births of cell {number}"
        )


def _units(cell: Cell) -> set[str]:
    return {*cell.units, *cell.promised.values()}
