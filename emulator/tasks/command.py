"""What `python -m emulator tasks` does: serve, and dispatch, until it is told to stop."""

from __future__ import annotations

from functools import partial
from typing import Any

from grpc import StatusCode

from emulator.command_loop import CommandLoop
from emulator.fault_json import fault_from_json
from emulator.status import Status
from emulator.tasks.emulator import TasksEmulator
from emulator.tasks.faults import Fault


async def run(emulator: TasksEmulator, address: str, certs_address: str, *, control_stdio: bool) -> None:
    """Serve until SIGINT or SIGTERM; with `control_stdio`, until standard input ends.

    Raises:
        OSError: an address cannot be bound.
    """
    loop = CommandLoop()
    async with emulator.serving(address, certs_address=certs_address) as bound:
        print(f"export CLOUD_TASKS_EMULATOR_HOST={bound}", flush=True)
        print(f"certs: {emulator.certs_url}", flush=True)
        if not control_stdio:
            folder = emulator.data_dir
            kept = "in memory" if folder is None else f"in {folder.absolute()}"
            print(
                f"A Cloud Tasks is up, with its tasks {kept}; paste the first line where your application starts. "
                "Workers that verify OIDC tokens find the key at the second. Ctrl-C ends it.",
                flush=True,
            )
        await loop.run(partial(_answer, emulator) if control_stdio else None)


def ensure_queue(emulator: TasksEmulator, name: str) -> None:
    """Let there be a queue of this name, as it is where there is one already.

    Raises:
        ValueError: the name is none, or was a queue's that was deleted lately.
    """
    try:
        emulator.create_queue(name)
    except Status as error:
        if error.code is not StatusCode.ALREADY_EXISTS:
            raise ValueError(f"there can be no queue {name!r}: {error.message}") from error


def _answer(emulator: TasksEmulator, command: str, arguments: Any) -> Any:
    match command:
        case "counts":
            return {"rpcs": dict(emulator.counts.rpcs), "dispatches": emulator.counts.dispatches}
        case "reset":
            emulator.counts.reset()
            return {}
        case "clear":
            emulator.clear()
            return {}
        case "add_fault":
            return {"id": emulator.faults.add(fault_from_json(arguments, Fault)).id}
        case "clear_faults":
            emulator.faults.clear()
            return {}
    raise ValueError(f"unknown command {command!r}")
