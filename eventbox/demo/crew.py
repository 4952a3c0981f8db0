"""The demo's processes: the workers, and two that compete for taking the history in."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Mapping
from typing import Any

from eventbox.demo.git import Repository
from eventbox.demo.kept_process import KeptProcess
from eventbox.demo.progress import Progress
from eventbox.dev.environment import Environment

_INGESTING = 2


class Crew:
    """The processes, not yet running; what they tell is noted in `progress`."""

    def __init__(
        self,
        workers: int,
        repository: Repository,
        environment: Environment,
        listening: socket.socket,
        progress: Progress,
    ) -> None:
        self._progress = progress
        self._at_work: asyncio.Queue[KeptProcess] = asyncio.Queue(maxsize=1)
        self.workers = [
            KeptProcess(
                "eventbox.demo.worker_process",
                environment,
                self._heard_of_worker,
                self._worker_died,
                listening=listening,
            )
            for _ in range(workers)
        ]
        history = {"path": str(repository.path.resolve()), "head": repository.head, "since": repository.since}
        # a repository without a commit has no history to take in
        self.ingestors = [
            self._ingestor(environment, history) for _ in range(_INGESTING if repository.head else 0)
        ]

    async def next_at_work(self) -> KeptProcess:
        """The process that gets on with the history, once it does so the next time."""
        while not self._at_work.empty():
            self._at_work.get_nowait()
        return await self._at_work.get()

    def _ingestor(self, environment: Environment, history: Mapping[str, Any]) -> KeptProcess:
        def heard(told: Mapping[str, Any]) -> None:
            if "position" not in told:  # it is up, no more
                return
            self._progress.begin()
            position: int = told["position"]
            if position > self._progress.taken_in:
                self._progress.taken_in = position
                if not self._at_work.full():
                    self._at_work.put_nowait(process)

        process = KeptProcess(
            "eventbox.demo.ingesting_process", environment, heard, self._ingestor_died, told=history
        )
        return process

    def _heard_of_worker(self, told: Mapping[str, Any]) -> None:
        self._progress.processed += told["events"]
        self._progress.contended += told["contended"]

    def _worker_died(self) -> None:
        self._progress.dead_workers += 1

    def _ingestor_died(self) -> None:
        self._progress.dead_ingestors += 1
