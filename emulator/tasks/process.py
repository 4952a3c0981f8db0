"""`TasksEmulatorProcess`: a Cloud Tasks emulator in a process of its own, from Python."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta
from pathlib import Path

from emulator.child_process import ChildProcess
from emulator.fault_json import fault_to_json
from emulator.tasks.counts import Counts
from emulator.tasks.faults import Fault

_ADDRESS = "export CLOUD_TASKS_EMULATOR_HOST="
_CERTS = "certs: "


class TasksEmulatorProcess(ChildProcess):
    """Start a Cloud Tasks emulator on free ports, and stop it at the end.

        async with TasksEmulatorProcess(queues=["projects/demo/locations/local/queues/q"]) as process:
            os.environ["CLOUD_TASKS_EMULATOR_HOST"] = process.address

    It dispatches all the time, over HTTP. It ends with this process in any case, also if this one is killed: its
    standard input closes then. `address` is where it serves gRPC, and `certs_url` where the certificates of its OIDC
    tokens are.

    Args:
        queues: the full names of queues that there are from the start.
        data_dir, dedup_window, seed: as those of `TasksEmulator`.
        port, certs_port: 0: any free one.
    """

    def __init__(
        self,
        *,
        queues: Iterable[str] = (),
        data_dir: Path | None = None,
        dedup_window: timedelta = timedelta(hours=24),
        port: int = 0,
        certs_port: int = 0,
        seed: int | None = None,
    ) -> None:
        command = ["tasks", "--port", str(port), "--certs-port", str(certs_port)]
        command += ["--dedup-window", str(dedup_window.total_seconds())]
        for queue in queues:
            command += ["--queue", queue]
        if data_dir is not None:
            command += ["--data-dir", str(data_dir)]
        if seed is not None:
            command += ["--seed", str(seed)]
        super().__init__(command)
        self.address = ""
        self.certs_url = ""

    async def counts(self) -> Counts:
        """Its counters."""
        answer = await self._do("counts")
        counts = Counts()
        counts.rpcs, counts.dispatches = Counter(answer["rpcs"]), answer["dispatches"]
        return counts

    async def reset_counts(self) -> None:
        """Set its counters to zero."""
        await self._do("reset")

    async def clear(self) -> None:
        """Delete all queues and tasks, and forget its faults."""
        await self._do("clear")

    async def add_fault(self, fault: Fault) -> int:
        """Order a fault; its ID."""
        id: int = (await self._do("add_fault", fault_to_json(fault)))["id"]
        return id

    async def clear_faults(self) -> None:
        """Let none happen any more."""
        await self._do("clear_faults")

    async def _listen(self) -> None:
        self.address = await self._told(_ADDRESS)
        self.certs_url = await self._told(_CERTS)
