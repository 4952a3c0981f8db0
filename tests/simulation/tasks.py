"""Cloud Tasks in the simulation: transactional tasks, wake-ups, the sweeper, and the workers that are called."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.tasks_v2 import CloudTasksAsyncClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from emulator.channel import InProcessChannel
from emulator.tasks import TasksEmulator
from eventbox import EventBox
from eventbox.tasks import Auth, Sweeper, TaskQueue, TaskRequest, Worker
from tests.simulation.accounts import Scene, processor
from tests.simulation.process import Process
from tests.simulation.stage import Stage

QUEUE = "projects/demo/locations/here/queues/work"
TARGET = "https://worker.test"
TASK = "/marked"


class Tasks:
    """The service, its queue, and what it is told to call."""

    def __init__(self, scene: Scene, stage: Stage, rng: Random) -> None:
        self.scene = scene
        self.rng = rng
        self.emulator = TasksEmulator(clock=stage.clock, seed=rng.getrandbits(32))
        self.emulator.create_queue(QUEUE)
        self.emulator.mount(TARGET, self._call)
        stage.services.append(self.emulator.running())
        self.network = stage.connect(self.emulator._front, rng, lambda *_: None)
        self.services: list[tuple[Process, Any]] = []

    def queue(self, process: Process, box: EventBox) -> TaskQueue:
        """A process's own."""
        transport = CloudTasksGrpcAsyncIOTransport(
            channel=InProcessChannel(self.network.front(process)), credentials=AnonymousCredentials()
        )
        client = CloudTasksAsyncClient(transport=transport)
        return TaskQueue(client, QUEUE, target=TARGET, service_account=None, box=box, shards=2)

    async def serve(self, process: Process, box: EventBox) -> None:
        """Be one of those whom the tasks are dispatched to, and sweep each minute."""
        queue = self.queue(process, box)
        worker = Worker(box, queue, auth=Auth.none())
        for kind in ("accounts", "plain"):
            worker.recipient(
                f"{kind}/{{id}}",
                lambda to, params: processor(self.scene, box, to.path)[0],
                monitoring_string=kind,
            )
        worker.task(TASK, self._marked)
        self.services.append((process, worker.app))
        await Sweeper(queue).run(interval=timedelta(seconds=30))

    async def _marked(self, request: TaskRequest) -> None:
        marker = request.body.decode()
        if self.scene.truth.fields(f"markers/{marker}") is None:
            self.scene.history.violate("a task if and only if its commit", f"{marker} was not committed")
        if self.scene.unruly and self.rng.random() < 0.2:
            raise RuntimeError("the handler fails, for now")
        self.scene.ledger.tasks.add(marker)

    async def _call(self, scope: Any, receive: Any, send: Any) -> None:
        """Dispatch to some process that is alive; without any, and where it dies, the connection breaks."""
        alive = [(process, app) for process, app in self.services if not process.dead]
        if not alive:
            raise ConnectionError("nobody listens")
        process, app = self.rng.choice(alive)
        if not await process.run(app(scope, receive, send)):
            raise ConnectionError("it has died")

    def judge(self) -> None:
        """Each committed transaction's task has run, and no reminder is left."""
        truth, ledger = self.scene.truth, self.scene.ledger
        for marker in sorted(ledger.expected_tasks):
            if truth.fields(f"markers/{marker}") is not None and marker not in ledger.tasks:
                self.scene.history.violate("a task if and only if its commit", f"that of {marker} never ran")
        left = truth.below("eventbox_reminders")
        if left:
            self.scene.history.violate("a task if and only if its commit", f"reminders are left: {left[:3]}")

    async def settle(self) -> None:
        """Until retries have come, and sweeps have found what was left behind."""
        await asyncio.sleep(1_200.0)
