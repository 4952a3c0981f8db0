"""`python -m eventbox.demo.worker_process`: one worker, which Cloud Tasks calls."""

from __future__ import annotations

import asyncio
import json
import logging
import sys
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta
from typing import Any

import uvicorn
from google.cloud.firestore import AsyncClient

from eventbox import EventBox, Recipient
from eventbox.batch_log import logger as batches
from eventbox.demo.tallies import AUTHORS, FILES, TallyProcessor
from eventbox.dev.environment import Environment
from eventbox.dev.server_process import begin
from eventbox.tasks import Auth, TaskQueue, Worker, tasks_client

_GRACE = timedelta(seconds=5)
_TELL_EVERY = timedelta(milliseconds=100)


class Told(logging.Handler):
    """Counts what the batches did."""

    def __init__(self) -> None:
        super().__init__()
        self.events = self.contended = 0
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        told = vars(record)
        self.events += told["removed"]
        self.contended += told["outcome"] == "contended"

    def take(self) -> dict[str, int] | None:
        """What was counted since the last time; None where nothing was. The first time: that there is somebody."""
        events, contended, told = self.events, self.contended, self._told
        self.events, self.contended, self._told = 0, 0, True
        return {"events": events, "contended": contended} if events or contended or not told else None


def worker_of(environment: Environment) -> Worker:
    """The worker, as an application on Cloud Run would make it."""
    box = EventBox(AsyncClient())
    queue = TaskQueue(
        tasks_client(),
        environment.queue_name,
        target=environment.target,
        service_account=environment.service_account,
        box=box,
    )
    auth = Auth.verify(environment.target, environment.service_account, certs_url=environment.certs_url)
    worker = Worker(box, queue, auth=auth)

    def processor(recipient: Recipient, _: Mapping[str, str]) -> TallyProcessor:
        return TallyProcessor(recipient)

    for collection in (AUTHORS, FILES):
        worker.recipient(f"{collection}/{{id}}", processor, monitoring_string=collection)
    return worker


async def serve(environment: Environment, listening: Any) -> None:
    """Serve until SIGTERM, and tell on standard output how it goes."""
    told = Told()
    batches.setLevel(logging.DEBUG)
    batches.addHandler(told)
    batches.propagate = False
    config = uvicorn.Config(
        worker_of(environment).app,
        log_config=None,
        access_log=False,
        timeout_graceful_shutdown=int(_GRACE.total_seconds()),
    )
    telling = asyncio.create_task(_tell(told))
    try:
        await uvicorn.Server(config).serve(sockets=[listening])
    finally:
        telling.cancel()
        with suppress(asyncio.CancelledError):
            await telling


async def _tell(told: Told) -> None:
    while True:
        if counted := told.take():
            print(json.dumps(counted), flush=True)
        await asyncio.sleep(_TELL_EVERY.total_seconds())


def main() -> None:
    """Do what the command line says."""
    told, listening = begin()
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    asyncio.run(serve(Environment(**told["environment"]), listening))


if __name__ == "__main__":
    main()
