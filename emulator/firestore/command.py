"""What `python -m emulator firestore` does: serve until it is told to stop."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from functools import partial
from typing import Any

from emulator.command_loop import CommandLoop
from emulator.firestore.control import Control, NoSuchFaultError, UnmovableClockError
from emulator.firestore.emulator import Emulator


async def run(emulator: Emulator, address: str, control_address: str | None, *, control_stdio: bool) -> None:
    """Serve until SIGINT or SIGTERM; with `control_stdio`, until standard input ends.

    Raises:
        OSError: an address cannot be bound.
    """
    loop = CommandLoop()
    async with AsyncExitStack() as stack:
        bound = await stack.enter_async_context(emulator.serving(address))
        url = None
        if control_address is not None:
            url = await stack.enter_async_context(emulator.controlling(control_address))
        print(f"export FIRESTORE_EMULATOR_HOST={bound}", flush=True)
        if url is not None:
            print(f"control: {url}", flush=True)
        if not control_stdio:
            folder = emulator.data_dir
            kept = "in memory" if folder is None else f"in {folder.absolute()}"
            print(
                f"A Firestore is up, with its data {kept}; paste the first line where your application starts. "
                "Ctrl-C ends it.",
                flush=True,
            )
        ticking = asyncio.create_task(_tick(emulator))
        await loop.run(partial(_answer, Control(emulator)) if control_stdio else None)
        ticking.cancel()


async def _tick(emulator: Emulator) -> None:
    """Let nobody wait for a transaction that was abandoned, nor a listener for a TTL, until somebody asks again."""
    while True:
        await asyncio.sleep(1)
        emulator.tick()


def _answer(control: Control, command: str, arguments: Any) -> Any:
    try:
        match command:
            case "counts":
                return control.counts()
            case "reset":
                return control.reset_counts()
            case "clear":
                return control.clear(**arguments)
            case "add_fault":
                return control.add_fault(arguments)
            case "faults":
                return control.faults()
            case "remove_fault":
                return control.remove_fault(arguments["id"])
            case "clear_faults":
                return control.clear_faults()
            case "clock":
                return control.clock()
            case "advance":
                return control.advance(arguments["seconds"])
    except (NoSuchFaultError, UnmovableClockError) as error:
        raise ValueError(str(error)) from error
    raise ValueError(f"unknown command {command!r}")
