"""How an emulator's process runs: until a signal, or until whoever started it has gone, obeying commands meanwhile."""

from __future__ import annotations

import asyncio
import gc
import inspect
import json
import signal
import sys
from collections.abc import Callable
from contextlib import suppress
from typing import Any

_MAX_LINE = 2**24  # bytes of a command

Answer = Callable[[str, Any], Any]
"""Does what a command says, given its arguments: from JSON, or an empty dict where there are none.

What it returns goes back as JSON, or what becomes of it where it is awaitable. A ValueError of it goes back as a
refusal, a KeyError or TypeError as one of the arguments.
"""


class CommandLoop:
    """Made first thing in the event loop: from then on, SIGINT and SIGTERM end it quietly."""

    def __init__(self) -> None:
        self._stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, self._stop.set)
        # data stay: to look through all of them for garbage again and again costs more than it finds
        gc.freeze()
        gc.set_threshold(50_000, 20, 100)

    async def run(self, answer: Answer | None) -> None:
        """Return on a signal. With `answer`, obey standard input line by line, and return when it ends too."""
        if answer is None:
            await self._stop.wait()
            return
        reader = asyncio.StreamReader(limit=_MAX_LINE)
        protocol = asyncio.StreamReaderProtocol(reader)
        await asyncio.get_running_loop().connect_read_pipe(lambda: protocol, sys.stdin)
        obeying = asyncio.create_task(self._obey(answer, reader))
        await self._stop.wait()
        obeying.cancel()

    async def _obey(self, answer: Answer, reader: asyncio.StreamReader) -> None:
        """Answer each command by a line of JSON; stop when the other side has gone."""
        with suppress(BrokenPipeError):
            while line := await reader.readline():
                print(json.dumps(await _answer(answer, line.decode())), flush=True)
        self._stop.set()


async def _answer(answer: Answer, line: str) -> Any:
    command, _, content = line.strip().partition(" ")
    try:
        result = answer(command, json.loads(content) if content else {})
        return await result if inspect.isawaitable(result) else result
    except ValueError as error:
        return {"refused": str(error)}
    except (KeyError, TypeError):
        return {"refused": f"{command} cannot be done with {content!r}"}
