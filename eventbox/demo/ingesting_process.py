"""`python -m eventbox.demo.ingesting_process`: takes the history in, or waits for its turn to."""

from __future__ import annotations

import asyncio
import json
import logging
import signal
import sys
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

from eventbox.demo.connection import connected_queue
from eventbox.demo.group_writer import GroupWriter
from eventbox.demo.history_events import events_of
from eventbox.demo.history_log import log_of
from eventbox.dev.environment import Environment
from eventbox.dev.server_process import begin_without_socket
from eventbox.sources import Committer, DistributedLock, FunctionWriter, run
from eventbox.sources.ingestors.git_history import GitHistory

INGESTOR = "history"

_HEARTBEAT = timedelta(milliseconds=500)
"""What an emulator bears; in production a second at least."""

_LEASE = timedelta(seconds=2)
"""How long the other process waits when this one is killed."""

_CONCURRENCY = 512
"""Blocks under way at once: the more, the more events share a commit."""

_NEVER_AGAIN = timedelta(days=1)
"""The history is read up to where it was when the demo began, so there is nothing to look for."""


class Telling:
    """Tells on standard output how far it is."""

    def began(self, ingestor: str, position: int | None) -> None:
        print(json.dumps({"position": position or 0}), flush=True)

    def committed(self, ingestor: str, blocks: int, position: int) -> None:
        print(json.dumps({"position": position}), flush=True)


async def ingest(environment: Environment, path: Path, head: str, since: str | None) -> None:
    """Take the history in until SIGTERM; while another process does, wait."""
    queue = connected_queue(environment)
    client = queue.box.client
    lock = DistributedLock(client, INGESTOR, heartbeat=_HEARTBEAT, lease=_LEASE)
    writer = FunctionWriter(GroupWriter(queue, log_of(queue.box, queue)).write)
    ingestor = GitHistory(INGESTOR, path, events_of, revision=head, since=since, interval=_NEVER_AGAIN)
    running = asyncio.create_task(
        run(lock, Committer(client), writer, ingestor, concurrency=_CONCURRENCY, progress=Telling())
    )
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, running.cancel)
    print(json.dumps({}), flush=True)  # that there is somebody
    with suppress(asyncio.CancelledError):
        await running
    await queue.aclose()


def main() -> None:
    """Do what the command line says."""
    told = begin_without_socket()
    logging.basicConfig(level=logging.ERROR, stream=sys.stderr)
    asyncio.run(ingest(Environment(**told["environment"]), Path(told["path"]), told["head"], told["since"]))


if __name__ == "__main__":
    main()
