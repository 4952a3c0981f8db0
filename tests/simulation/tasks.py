"""Cloud Tasks in the simulation: transactional tasks, wake-ups, the sweeper, and the workers that are called."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.tasks_v2 import CloudTasksAsyncClient, RetryConfig
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport

from emulator.channel import InProcessChannel
from emulator.tasks import TasksEmulator
from eventbox import EventBox
from eventbox.tasks import Auth, Sweeper, TaskQueue, TaskRequest, Worker
from tests.simulation.process import Process
from tests.simulation.processors import KINDS, processor
from tests.simulation.scene import TASK, Scene

QUEUE = "projects/demo/locations/here/queues/work"
TARGET = "https://worker.test"
_GRACE = timedelta(seconds=6)


class Tasks:
    """The service, its queue, and what it is told to call."""

    def __init__(self, scene: Scene, rng: Random) -> None:
        self.scene = scene
        self.rng = rng
        stage = scene.stage
        self.emulator = TasksEmulator(clock=stage.clock, seed=rng.getrandbits(32))
        self.emulator.create_queue(QUEUE, retry_config=RetryConfig(max_backoff=timedelta(seconds=60)))
        self.emulator.mount(TARGET, self._call)
        stage.services.append(self.emulator.running())
        self.network = stage.connect(self.emulator._front, rng, lambda *_: None)
        self.services: list[tuple[Process, Any]] = []
        self._patience = timedelta(seconds=rng.choice((15, 600)))

    def queue(self, process: Process, box: EventBox) -> TaskQueue:
        """A process's own."""
        transport = CloudTasksGrpcAsyncIOTransport(
            channel=InProcessChannel(self.network.front(process)), credentials=AnonymousCredentials()
        )
        client = CloudTasksAsyncClient(transport=transport)
        return TaskQueue(
            client,
            QUEUE,
            target=TARGET,
            service_account=None,
            box=box,
            shards=2,
            dispatch_deadline=self._patience,
        )

    async def serve(self, process: Process, box: EventBox) -> None:
        """Be one of those whom the tasks are dispatched to, and sweep each minute; at times, be told to stop."""
        queue = self.queue(process, box)
        worker = Worker(
            box,
            queue,
            auth=Auth.none(),
            max_events=self.rng.choice((1, 3, 1_000)),
            grace=_GRACE,
            longest_pause=timedelta(seconds=60),
        )
        for kind in KINDS:
            worker.recipient(
                f"{kind}/{{id}}",
                lambda to, params: processor(self.scene, box, to.path, queue)[0],
                monitoring_string=kind,
            )
        worker.task(TASK, self._marked)
        self.services.append((process, worker.app))
        sweeping = asyncio.ensure_future(Sweeper(queue).run(interval=timedelta(seconds=60)))
        if not process.mortal or self.rng.random() < 0.7:
            await sweeping
        await asyncio.sleep(self.rng.uniform(0.0, 60.0))
        self.scene.stage.history.fault(process.name, "told to stop", "is told to stop")
        worker.stop()
        await asyncio.sleep(_GRACE.total_seconds() + 2.0)
        process.die()

    async def _marked(self, request: TaskRequest) -> None:
        marker, ledger = request.body.decode(), self.scene.ledger
        if marker not in ledger.plain_tasks:
            detail = f"{marker} was not committed"
            self.scene.check("a task if and only if its commit", self._was_committed(marker), detail)
        if self.scene.unruly and self.rng.random() < 0.2:
            raise RuntimeError("the handler fails, for now")
        ledger.tasks.add(marker)

    def _was_committed(self, marker: str) -> bool:
        kind, _, id = marker.partition(" ")
        path = f"traces/{id}" if kind == "trace" else f"markers/{marker}"
        return self.scene.stage.truth.fields(path) is not None

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
        scene, ledger = self.scene, self.scene.ledger
        for marker in sorted(ledger.expected_tasks | ledger.effect_tasks):
            if self._was_committed(marker):
                detail = f"that of {marker} never ran"
                scene.check("a task if and only if its commit", marker in ledger.tasks, detail)
        for marker, returned in ledger.plain_tasks.items():
            if returned:
                scene.check("a task that was enqueued runs", marker in ledger.tasks, f"{marker} never ran")
        left = scene.stage.truth.below("eventbox_reminders")
        scene.check("no reminder stays", not left, f"{left[:3]}")
