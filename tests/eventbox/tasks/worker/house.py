"""A service in one process: Firestore, Cloud Tasks and a worker, on a clock that the test moves."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.cloud.tasks_v2 import Task as TaskProto

from emulator.firestore import Emulator
from emulator.tasks import TasksEmulator
from eventbox import EventBox, Recipient
from eventbox.tasks import Auth, TaskQueue, WakeUp, Worker
from eventbox.testing import ManualClock
from tests.eventbox.support import Recording
from tests.eventbox.tasks.worker.requesting import Answered, call
from tests.eventbox.test_telemetry import Recorder

URL = "http://worker.example"
WAKE = "/eventbox/wake"


class House:
    """All of it; `box` is for the box, and what is given besides for the worker.

    Orders have an inbox, processed by `processor` (a `Recording` at first); each run's recipients are in `runs`.
    """

    def __init__(
        self,
        *,
        auth: Auth | None = None,
        clock: ManualClock | None = None,
        service_account: str | None = None,
        target: str = URL,
        retry_config: Any = None,
        box: dict[str, Any] | None = None,
        **options: Any,
    ) -> None:
        self.clock = clock or ManualClock()
        self.recorder = Recorder()
        self.firestore = Emulator(clock=self.clock)
        self.cloud_tasks = TasksEmulator(clock=self.clock)
        self.queue_name = self.cloud_tasks.create_queue("orders", retry_config=retry_config)
        self.box = self.new_box(**(box or {}))
        self.queue = TaskQueue(
            self.cloud_tasks.client(),
            self.queue_name,
            target=target,
            service_account=service_account,
            box=self.box,
        )
        self.worker = Worker(self.box, self.queue, auth=auth or Auth.none(), **options)
        self.processor: Any = Recording
        self.runs: list[str] = []
        self.worker.recipient("orders/{order}", self._order, monitoring_string="order")
        self.cloud_tasks.mount(target, self.worker.app)

    def new_box(self, **options: Any) -> EventBox:
        """Another process's, say."""
        return EventBox(
            self.firestore.client(),
            clock=self.clock,
            meter_provider=self.recorder.meter_provider,
            tracer_provider=self.recorder.tracer_provider,
            **options,
        )

    def new_queue(self) -> TaskQueue:
        """Another process's, which hears what that process is told."""
        client = self.cloud_tasks.client()
        return TaskQueue(
            client, self.queue_name, target=self.queue.target, service_account=None, box=self.new_box()
        )

    def _order(self, recipient: Recipient, params: Any) -> Any:
        self.runs.append(params["order"])
        return self.processor(recipient)

    def order(self, name: str = "1") -> Recipient:
        """A recipient."""
        return Recipient(self.box.client.document(f"orders/{name}"), "order")

    def wake_up(self, to: Recipient, *, ago: float = 0.0, fresh: bool = False, idle: int = 0) -> bytes:
        """A wake-up for so many seconds ago."""
        second = int((self.clock.now() - timedelta(seconds=ago)).timestamp())
        return WakeUp(to.ref._document_path, second, fresh, idle).encode()

    async def wake(self, to: Recipient, **options: Any) -> Answered:
        """Have a wake-up come in."""
        return await call(self.worker.app, WAKE, self.wake_up(to, **options))

    async def tasks(self) -> list[TaskProto]:
        """What is on the queue."""
        client = self.cloud_tasks.client()
        pages = await client.list_tasks(
            {"parent": self.queue_name, "response_view": TaskProto.View.FULL}, retry=None
        )
        return [task async for task in pages]

    async def wake_ups(self) -> list[WakeUp]:
        """The wake-ups on the queue."""
        return [WakeUp.decode(task.http_request.body) for task in await self.tasks()]

    async def let(self, seconds: float) -> int:
        """Let time pass, a second at a time, and run what falls due; how many dispatches that were."""
        dispatches = await self.cloud_tasks.drain()
        for _ in range(int(seconds)):
            self.clock.advance(timedelta(seconds=1))
            dispatches += await self.cloud_tasks.drain()
        return dispatches

    async def applied(self, to: Recipient) -> list[str]:
        """The events that a `Recording` has applied to it, in order."""
        data = (await to.ref.get()).to_dict() or {}
        return list(data.get("applied", []))

    def counted(self) -> dict[tuple[str, ...], int]:
        """The metric: by kind, outcome, and what it was about."""
        return {
            tuple(str(value) for _, value in sorted(point.attributes.items())): point.value
            for point in self.recorder.metric("eventbox.worker.requests")
        }


def logged(caplog: pytest.LogCaptureFixture) -> list[tuple[str, int]]:
    """Outcome and level of each request, by the log."""
    return [
        (record.__dict__["outcome"], record.levelno)
        for record in caplog.records
        if record.name == "eventbox.tasks" and "outcome" in record.__dict__
    ]
