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

from eventbox import Recipient
from eventbox.batch_log import logger as batches
from eventbox.demo.connection import connected_queue
from eventbox.demo.history_events import LOG
from eventbox.demo.tallies import AUTHORS, FILES, TallyProcessor
from eventbox.dev.environment import Environment
from eventbox.dev.server_process import begin
from eventbox.log import EventLog
from eventbox.log.ordering import Ordering
from eventbox.tasks import Auth, Worker

_GRACE = timedelta(seconds=5)
_TELL_EVERY = timedelta(milliseconds=100)


class Told(logging.Handler):
    """Counts what the batches did: the tallies' events, and what any batch lost to another."""

    def __init__(self) -> None:
        super().__init__()
        self.events = self.contended = 0
        self._told = False

    def emit(self, record: logging.LogRecord) -> None:
        told = vars(record)
        if told["monitoring_string"] in (AUTHORS, FILES):
            self.events += told["removed"]
        self.contended += told["outcome"] == "contended"

    def take(self) -> dict[str, int] | None:
        """What was counted since the last time; None where nothing was. The first time: that there is somebody."""
        events, contended, told = self.events, self.contended, self._told
        self.events, self.contended, self._told = 0, 0, True
        return {"events": events, "contended": contended} if events or contended or not told else None


def worker_of(environment: Environment) -> Worker:
    """The worker, as an application on Cloud Run would make it."""
    queue = connected_queue(environment)
    auth = Auth.verify(environment.target, environment.service_account, certs_url=environment.certs_url)
    worker = Worker(queue.box, queue, auth=auth)

    def processor(recipient: Recipient, _: Mapping[str, str]) -> TallyProcessor:
        return TallyProcessor(recipient)

    def ordering(recipient: Recipient, _: Mapping[str, str]) -> Ordering:
        return EventLog(queue.box, recipient.ref).processor()

    for collection in (AUTHORS, FILES):
        worker.recipient(f"{collection}/{{id}}", processor, monitoring_string=collection)
    worker.recipient(LOG, ordering, monitoring_string=LOG)
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
