"""What `python -m emulator firestore` does: serve until it is told to stop."""

from __future__ import annotations

import asyncio
import json
import signal
import sys
from pathlib import Path
from typing import Any

from emulator.firestore.emulator import Emulator


async def run(
    host: str,
    port: int,
    concurrency: Any,
    indexes: Path | None,
    *,
    enforce_indexes: bool = False,
    control_stdio: bool = False,
) -> None:
    """Serve until SIGINT or SIGTERM; with `control_stdio`, until standard input ends.

    Raises:
        OSError: the address cannot be bound, or the file of indexes not be read.
        ValueError: the file of indexes is none.
    """
    emulator = Emulator(concurrency=concurrency, indexes=indexes, enforce_indexes=enforce_indexes)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with emulator.serving(f"{host}:{port}") as address:
        print(f"export FIRESTORE_EMULATOR_HOST={address}", flush=True)
        if control_stdio:
            reader = asyncio.StreamReader()
            await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
            commands = asyncio.create_task(_obey(emulator, reader, stop))
        else:
            print(
                "A Firestore is up; paste the line above where your application starts. Ctrl-C ends it.",
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


async def _obey(emulator: Emulator, reader: asyncio.StreamReader, stop: asyncio.Event) -> None:
    """Answer each command on standard input by a line of JSON; stop when the other side has gone."""
    while line := await reader.readline():
        match line.decode().strip():
            case "counts":
                counts = emulator.counts
                answer: dict[str, Any] = {
                    "rpcs": dict(counts.rpcs),
                    "reads": counts.reads,
                    "writes": counts.writes,
                    "deletes": counts.deletes,
                }
            case "reset":
                emulator.counts.reset()
                answer = {}
            case "clear":
                emulator.clear()
                answer = {}
            case other:
                answer = {"error": f"unknown command {other!r}"}
        print(json.dumps(answer), flush=True)
    stop.set()
