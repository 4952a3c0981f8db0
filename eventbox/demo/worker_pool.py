"""The demo's workers: processes that listen on one socket, each begun anew when it dies, as Cloud Run does."""

from __future__ import annotations

import asyncio
import json
import socket
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import asdict

from eventbox.demo.progress import Progress
from eventbox.dev.environment import Environment
from eventbox.dev.server_process import ServerProcess


@asynccontextmanager
async def worker_pool(
    count: int, environment: Environment, listening: socket.socket, progress: Progress
) -> AsyncIterator[None]:
    """Keep `count` workers running while inside, and note in `progress` what they tell. All are up when it begins."""
    async with asyncio.TaskGroup() as group:
        ups = [asyncio.Event() for _ in range(count)]
        keeping = [group.create_task(_keep_one(environment, listening, progress, up)) for up in ups]
        try:
            for up in ups:
                await up.wait()
            progress.began = time.monotonic()
            yield
        finally:
            for one in keeping:
                one.cancel()


async def _keep_one(
    environment: Environment, listening: socket.socket, progress: Progress, up: asyncio.Event
) -> None:
    told = {"environment": asdict(environment)}
    while True:
        worker = ServerProcess(
            "eventbox.demo.worker_process", told, environment.variables(), listening, piped=True
        )
        try:
            await worker.start()
            while line := await worker.output.readline():
                up.set()
                with suppress(ValueError):  # it was killed in the middle of the line
                    counted = json.loads(line)
                    progress.processed += counted["events"]
                    progress.contended += counted["contended"]
            code = await worker.ended()
            if code > 0:  # no signal ended it, and the next one would fare no better
                raise RuntimeError(f"a worker failed, with exit code {code}")
            progress.restarts += 1
        finally:
            await worker.stop()
