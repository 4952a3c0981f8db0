"""What a test in another process can order from an emulator: JSON in, JSON out, over whatever carries it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from emulator.fault_json import fault_from_json, fault_to_json, seconds
from emulator.faults import PendingFault
from emulator.firestore.counts import Counts
from emulator.firestore.faults import Fault

if TYPE_CHECKING:
    from emulator.firestore.emulator import Emulator

Json = dict[str, Any]


class UnmovableClockError(Exception):
    """The clock cannot be moved: it is this machine's."""


class NoSuchFaultError(Exception):
    """There is no such fault, or no longer."""


class Control:
    """The orders. All raise ValueError where what is asked makes no sense; the message says why."""

    def __init__(self, emulator: Emulator) -> None:
        self._emulator = emulator

    def counts(self) -> Json:
        """`rpcs` by name, `reads`, `writes` and `deletes`."""
        return counts_to_json(self._emulator.counts)

    def reset_counts(self) -> Json:
        self._emulator.counts.reset()
        return {}

    def clear(self, project: str | None = None, database: str | None = None) -> Json:
        """Delete everything, or one database: "(default)" where a project is named alone."""
        self._emulator.clear(project, "(default)" if database is None else database)
        return {}

    def add_fault(self, fault: Any) -> Json:
        """Order a fault; as `faults` tells of it."""
        return _pending_to_json(self._emulator.faults.add(fault_from_json(fault, Fault)))

    def faults(self) -> Json:
        """`faults`: those that are still to happen, in order, each with its `id` and how often it `remaining`ly is."""
        return {"faults": [_pending_to_json(pending) for pending in self._emulator.faults]}

    def remove_fault(self, id: int) -> Json:
        """Let a fault happen no more.

        Raises:
            NoSuchFaultError: there is none of this ID, or it has happened as often as it should.
        """
        for pending in self._emulator.faults:
            if pending.id == id:
                pending.remove()
                return {}
        raise NoSuchFaultError(
            f"there is no fault {id}: it was removed, or has happened as often as it should"
        )

    def clear_faults(self) -> Json:
        self._emulator.faults.clear()
        return {}

    def clock(self) -> Json:
        """`now`, the time of day, `monotonic`, in seconds, and whether the clock is `manual`."""
        clock = self._emulator.clock
        return {
            "now": clock.now().isoformat(),
            "monotonic": clock.monotonic(),
            "manual": hasattr(clock, "advance"),
        }

    def advance(self, seconds_: Any) -> Json:
        """Move the clock on, and do what has become due; as `clock` tells of it.

        Raises:
            UnmovableClockError: it is this machine's clock.
        """
        clock = self._emulator.clock
        if not hasattr(clock, "advance"):
            raise UnmovableClockError(
                "the clock is this machine's; start the emulator with --manual-clock to move it by hand"
            )
        try:
            clock.advance(seconds("seconds", seconds_))
        except OverflowError as error:
            raise ValueError(
                f"the clock ends with the year 9999: it cannot go on by {seconds_!r} s"
            ) from error
        self._emulator.tick()
        return self.clock()


def counts_to_json(counts: Counts) -> Json:
    """Counters as an object."""
    return {
        "rpcs": dict(counts.rpcs),
        "reads": counts.reads,
        "writes": counts.writes,
        "deletes": counts.deletes,
    }


def _pending_to_json(pending: PendingFault[Fault]) -> Json:
    return {"id": pending.id, "remaining": pending.remaining, **fault_to_json(pending.fault)}
