"""The rules of the game: what a cell does with what it hears. No I/O.

Cells lie in a ring. A unit is born where an event says so, or where a cell that hears nothing has room; it moves to
another cell only when invited:

    invite    a cell that has room asks another one
    accept    that one has units enough, and promises one; or it declines
    come      there is still room; or it is sorry, and the unit stays
    move      the unit is on its way, and arrives

A crowded cell founds the next one, which does not exist before it hears of that.
"""

from __future__ import annotations

from collections.abc import Mapping
from copy import deepcopy
from dataclasses import dataclass, field
from typing import Any, TypeAlias

ROOM = 4
"""Units that a cell has, and invites, at most."""

Order: TypeAlias = dict[str, Any]
"""What an event says."""


@dataclass
class Cell:
    """The state.

    Attributes:
        births: the IDs of the events by which units were born here; besides, some grew here without.
        born: how many units were born here in all.
        units: who is here, and the invitation by which each has come; "" where it was born here, or stayed after all.
        asked: how many invitations it has sent.
        invited: those that are not settled: to which cell.
        promised: the units that will follow an invitation to another cell, when they are told to come.
        heard: how many events it has taken in.
    """

    births: list[str] = field(default_factory=list)
    born: int = 0
    units: dict[str, str] = field(default_factory=dict)
    asked: int = 0
    invited: dict[str, str] = field(default_factory=dict)
    promised: dict[str, str] = field(default_factory=dict)
    heard: int = 0


class Turn:
    """One cell's turn: `cell` is what becomes of it, `sends` what it tells others: to whom, under which ID.

    State and events may not be of one moment: an event may come that the state has in it already. The turn makes
    something of that too, and the commit fails.
    """

    def __init__(self, number: int, cells: int, cell: Cell) -> None:
        self.number = number
        self.cells = cells
        self.cell = deepcopy(cell)
        self.sends: list[tuple[int, str, Order]] = []

    def hear(self, event_id: str, order: Mapping[str, Any]) -> None:
        """Take an event in."""
        self.cell.heard += 1
        match order["do"]:
            case "birth":
                self.cell.births.append(event_id)
                self.grow()
            case "found":
                self.invite(order["by"])
            case "invite":
                self._invited(order["invitation"], order["by"])
            case "accept":
                self._accepted(order["invitation"], order["by"])
            case "decline":
                self.cell.invited.pop(order["invitation"], None)
            case "come":
                self._come(order["invitation"], order["by"])
            case "sorry":
                unit = self.cell.promised.pop(order["invitation"], None)
                if unit is not None:
                    self.cell.units[unit] = ""
            case "move":
                self.cell.invited.pop(order["invitation"], None)
                self.cell.units[order["unit"]] = order["invitation"]

    def rest(self) -> None:
        """It hears nothing: grow, invite, or found another one."""
        if self.cell.born < 2 and self.number == 0:
            self.grow()
        elif not self.cell.units and not self.cell.invited:
            self.invite((self.number + 1) % self.cells)
        elif len(self.cell.units) > ROOM:
            self.cell.asked += 1
            self._send((self.number + 1) % self.cells, "found", f"{self.number}.{self.cell.asked}")

    def grow(self) -> None:
        """A unit is born."""
        self.cell.born += 1
        self.cell.units[f"{self.number}-{self.cell.born}"] = ""

    def invite(self, other: int) -> None:
        """Ask another cell for a unit."""
        self.cell.asked += 1
        invitation = f"{self.number}.{self.cell.asked}"
        self.cell.invited[invitation] = str(other)
        self._send(other, "invite", invitation)

    def _invited(self, invitation: str, by: int) -> None:
        if len(self.cell.units) > 1:
            unit = min(self.cell.units)
            del self.cell.units[unit]
            self.cell.promised[invitation] = unit
            self._send(by, "accept", invitation)
        else:
            self._send(by, "decline", invitation)

    def _accepted(self, invitation: str, by: int) -> None:
        if len(self.cell.units) < ROOM:
            self._send(by, "come", invitation)
        else:
            self.cell.invited.pop(invitation, None)
            self._send(by, "sorry", invitation)

    def _come(self, invitation: str, by: int) -> None:
        unit = self.cell.promised.pop(invitation, None)
        if unit is not None:
            self._send(by, "move", invitation, unit=unit)

    def _send(self, to: int, do: str, invitation: str, **more: str) -> None:
        order = {"do": do, "invitation": invitation, "by": self.number, **more}
        self.sends.append((to, f"{do} {invitation}", order))
