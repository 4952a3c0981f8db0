"""`EmulatorProcess`: a Firestore emulator in a process of its own, from Python."""

from __future__ import annotations

from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path

from emulator.child_process import ChildProcess
from emulator.fault_json import fault_from_json, fault_to_json
from emulator.firestore.counts import Counts
from emulator.firestore.faults import Fault

_ADDRESS = "export FIRESTORE_EMULATOR_HOST="
_CONTROL = "control: "


class EmulatorProcess(ChildProcess):
    """Start an emulator on a free port, and stop it at the end.

        async with EmulatorProcess() as process:
            os.environ["FIRESTORE_EMULATOR_HOST"] = process.address

    It ends with this process in any case, also if this one is killed: its standard input closes then.

    Args:
        concurrency, indexes, enforce_indexes, data_dir, seed: as those of `Emulator`.
        port: 0: any free one.
        manual_clock: when a clock begins that stands still until `advance`; None: this machine's clock.
        control_port: where it takes orders over HTTP (0: any free port), for tests in other languages; `control_url`
            tells where. None: nowhere. The methods of this object do without.
    """

    def __init__(
        self,
        *,
        concurrency: str = "pessimistic",
        indexes: Path | None = None,
        enforce_indexes: bool = False,
        data_dir: Path | None = None,
        port: int = 0,
        seed: int = 0,
        manual_clock: datetime | None = None,
        control_port: int | None = None,
    ) -> None:
        command = ["firestore", "--port", str(port), "--concurrency", concurrency, "--seed", str(seed)]
        if indexes is not None:
            command += ["--indexes", str(indexes)]
        if enforce_indexes:
            command.append("--enforce-indexes")
        if data_dir is not None:
            command += ["--data-dir", str(data_dir)]
        if manual_clock is not None:
            command += ["--manual-clock", manual_clock.isoformat()]
        if control_port is not None:
            command += ["--control-port", str(control_port)]
        super().__init__(command)
        self._has_control = control_port is not None
        self.address = ""
        self.control_url = ""

    async def counts(self) -> Counts:
        """Its counters."""
        answer = await self._do("counts")
        counts = Counts()
        counts.rpcs = Counter(answer["rpcs"])
        counts.reads, counts.writes, counts.deletes = answer["reads"], answer["writes"], answer["deletes"]
        return counts

    async def reset_counts(self) -> None:
        """Set its counters to zero."""
        await self._do("reset")

    async def clear(self, project: str | None = None, database: str | None = None) -> None:
        """Delete all its data and forget its faults; with a project, one database of it alone, as `Emulator.clear`."""
        await self._do("clear", {"project": project, "database": database})

    async def add_fault(self, fault: Fault) -> int:
        """Order a fault; its ID."""
        id: int = (await self._do("add_fault", fault_to_json(fault)))["id"]
        return id

    async def faults(self) -> dict[int, Fault]:
        """The faults that are still to happen, by their IDs, in order; `times` is how often still."""
        found = {}
        for one in (await self._do("faults"))["faults"]:
            id, one["times"] = one.pop("id"), one.pop("remaining")
            found[id] = fault_from_json(one, Fault)
        return found

    async def remove_fault(self, id: int) -> None:
        """Let a fault happen no more.

        Raises:
            ValueError: there is none of this ID, or no longer.
        """
        await self._do("remove_fault", {"id": id})

    async def clear_faults(self) -> None:
        """Let none happen any more."""
        await self._do("clear_faults")

    async def now(self) -> datetime:
        """The time on its clock, aware and in UTC."""
        return datetime.fromisoformat((await self._do("clock"))["now"])

    async def advance(self, duration: timedelta) -> None:
        """Move its clock on.

        Raises:
            ValueError: it has no manual clock, or the duration is negative.
        """
        await self._do("advance", {"seconds": duration.total_seconds()})

    async def _listen(self) -> None:
        self.address = await self._told(_ADDRESS)
        if self._has_control:
            self.control_url = await self._told(_CONTROL)
