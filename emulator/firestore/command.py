"""What `python -m emulator firestore` does: serve until it is told to stop."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import sys
from contextlib import AsyncExitStack
from typing import Any

from emulator.firestore.control import Control, NoSuchFaultError, UnmovableClockError
from emulator.firestore.emulator import Emulator

_MAX_LINE = 2**24  # bytes of a command


async def run(emulator: Emulator, address: str, control_address: str | None, *, control_stdio: bool) -> None:
    """Serve until SIGINT or SIGTERM; with `control_stdio`, until standard input ends.

    Raises:
        OSError: an address cannot be bound.
    """
    # documents stay: to look through all of them for garbage again and again costs more than it finds
    gc.freeze()
    gc.set_threshold(50_000, 20, 100)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with AsyncExitStack() as stack:
        bound = await stack.enter_async_context(emulator.serving(address))
        url = None
        if control_address is not None:
            url = await stack.enter_async_context(emulator.controlling(control_address))
        print(f"export FIRESTORE_EMULATOR_HOST={bound}", flush=True)
        if url is not None:
            print(f"control: {url}", flush=True)
        if control_stdio:
            reader = asyncio.StreamReader(limit=_MAX_LINE)
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
            commands = asyncio.create_task(_obey(Control(emulator), reader, stop))
        else:
            folder = emulator.data_dir
            kept = "in memory" if folder is None else f"in {folder.absolute()}"
            print(
                f"A Firestore is up, with its data {kept}; paste the first line where your application starts. "
                "Ctrl-C ends it.",
                flush=True,
            )
            commands = None
        ticking = asyncio.create_task(_tick(emulator))
        await stop.wait()
        ticking.cancel()
        if commands is not None:
            commands.cancel()


async def _tick(emulator: Emulator) -> None:
    """Let nobody wait for a transaction that was abandoned, nor a listener for a TTL, until somebody asks again."""
    while True:
        await asyncio.sleep(1)
        emulator.tick()


async def _obey(control: Control, reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    """Answer each command on standard input by a line of JSON; stop when the other side has gone."""
    while line := await reader.readline():
        print(json.dumps(_answer(control, line.decode())), flush=True)
    stop.set()


def _answer(control: Control, line: str) -> Any:
    command, _, content = line.strip().partition(" ")
    try:
        arguments = json.loads(content) if content else {}
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
    except (ValueError, NoSuchFaultError, UnmovableClockError) as error:
        return {"refused": str(error)}
    except (KeyError, TypeError):
        return {"refused": f"{command} cannot be done with {content!r}"}
    return {"refused": f"unknown command {command!r}"}
