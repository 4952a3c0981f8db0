"""A small world for tests: Firestore, Cloud Tasks, a service that it calls, and processes with clocks of their own."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from google.cloud.firestore import AsyncClient
from google.cloud.tasks_v2 import ListTasksRequest, Task

from emulator.firestore import Emulator, Fault as FirestoreFault
from emulator.tasks import Fault as TasksFault, TasksEmulator
from eventbox import EventBox, Recipient
from eventbox.tasks import RunScope, Sweeper, TaskQueue, WakeUp
from eventbox.testing import ManualClock
from tests.eventbox.support import Recording

QUEUE = "projects/demo/locations/here/queues/work"
TARGET = "https://worker.test"
ACCOUNT = "tasks@demo.iam.gserviceaccount.com"
INDEXES = Path(__file__).parents[3] / "firestore.indexes.json"

SECOND = timedelta(seconds=1)
MINUTE = timedelta(minutes=1)
SKEWS = [timedelta(seconds=seconds) for seconds in (-30, -5, 0, 5, 30)]
LATE = timedelta(seconds=5)


class SkewedClock:
    """A clock whose time of day is wrong by a constant, on which time passes as on the right one."""

    def __init__(self, right: ManualClock, skew: timedelta) -> None:
        self._right = right
        self._skew = skew

    def now(self) -> datetime:
        return self._right.now() + self._skew

    def monotonic(self) -> float:
        return self._right.monotonic()

    async def sleep(self, duration: timedelta) -> None:
        await self._right.sleep(duration)


@dataclass(frozen=True)
class Request:
    """What the service was asked."""

    path: str
    body: bytes
    headers: dict[str, str]

    @property
    def wake_up(self) -> WakeUp:
        return WakeUp.decode(self.body)


@dataclass
class Process:
    """A process of the application: its own client, box and queue."""

    client: AsyncClient
    box: EventBox
    queue: TaskQueue
    sweeper: Sweeper

    def order(self, id: str = "1") -> Recipient:
        return Recipient(self.client.document(f"orders/{id}"), "order")


@dataclass
class Service:
    """What the tasks go to: it drains whom it is told to wake, and keeps what else it is asked."""

    process: Process
    requests: list[Request] = field(default_factory=list)
    consumed: Counter[str] = field(default_factory=Counter)
    in_run: Callable[[WakeUp], Awaitable[None]] | None = None

    @property
    def tasks(self) -> list[Request]:
        return [request for request in self.requests if request.path != "/eventbox/wake"]

    @property
    def wake_ups(self) -> list[WakeUp]:
        return [request.wake_up for request in self.requests if request.path == "/eventbox/wake"]

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        body = b""
        while True:
            message = await receive()
            body += message.get("body", b"")
            if not message.get("more_body"):
                break
        headers = {name.decode().lower(): value.decode() for name, value in scope["headers"]}
        request = Request(scope["path"], body, headers)
        self.requests.append(request)
        if request.path == "/eventbox/wake":
            await self._wake(request.wake_up)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    async def _wake(self, wake_up: WakeUp) -> None:
        path = wake_up.recipient.partition("/documents/")[2]
        to = Recipient(self.process.client.document(path), "order")
        with RunScope(wake_up.second).entered():
            # what is outstanding is listed first: what is sent from then on, this run does not see
            events = await self.process.box.list_events(to)
            if self.in_run is not None:
                await self.in_run(wake_up)
            if events:
                await self.process.box.process_batch(to, Only(to, {event.id for event in events}))
                self.consumed.update(event.id for event in events)


class Only(Recording):
    """Consumes the events that a run has listed at its beginning, and no others."""

    def __init__(self, recipient: Recipient, ids: set[str]) -> None:
        super().__init__(recipient)
        self._ids = ids

    async def prepare_mutation(self, events: Any, state: Any) -> Any:
        return await super().prepare_mutation([one for one in events if one.id in self._ids], state)


class World:
    """All of it, on one clock."""

    def __init__(self, **firestore: Any) -> None:
        self.clock = ManualClock()
        self.firestore = Emulator(clock=self.clock, **firestore)
        self.tasks = TasksEmulator(clock=self.clock)
        self.service = Service(self.process())
        self.tasks.mount(TARGET, self.service)

    async def __aenter__(self) -> World:
        self.tasks.create_queue(QUEUE)
        return self

    async def __aexit__(self, *_: object) -> None: ...

    def process(self, skew: timedelta = timedelta(0), **options: Any) -> Process:
        """A new process, whose clock is wrong by `skew`."""
        client = self.firestore.client()
        box = EventBox(client, clock=SkewedClock(self.clock, skew))
        # without tokens: an emulator's first one takes longer than all else that a test does
        options = {"service_account": None, **options}
        queue = TaskQueue(self.tasks.client(), QUEUE, target=TARGET, box=box, **options)
        return Process(client, box, queue, Sweeper(queue))

    async def reminders(self) -> list[dict[str, Any]]:
        """All reminders that lie there."""
        found = self.process().client.collection_group("eventbox_reminders").stream()
        return [snapshot.to_dict() async for snapshot in found]

    async def waiting(self) -> list[WakeUp]:
        """The wake-ups that are on the queue."""
        request = ListTasksRequest(parent=QUEUE, response_view=Task.View.FULL)
        tasks = await self.tasks.client().list_tasks(request)
        return [WakeUp.decode(task.http_request.body) async for task in tasks]

    async def turns(self, count: int = 200) -> None:
        """Let everything go on that needs no time to pass."""
        for _ in range(count):
            await asyncio.sleep(0)

    async def pass_time(self, duration: timedelta) -> None:
        """Let time pass, in steps, and those who wait go on."""
        for _ in range(8):
            self.clock.advance(duration / 8)
            await self.turns(20)

    async def deliver(self) -> int:
        """Let a wake-up's second come, and run all that is due."""
        await self.pass_time(2 * SECOND)
        return await self.tasks.drain()

    async def recover(self) -> None:
        """What happens after a process has died: its reminders become stale, and are swept; the tasks run."""
        for _ in range(2):
            await self.pass_time(2 * MINUTE)
            await self.process().sweeper.sweep()
            await self.deliver()

    @asynccontextmanager
    async def dying(self, where: str, rpc: int, when: Any) -> AsyncIterator[None]:
        """Whoever works inside dies at its so manieth RPC to "firestore" or "tasks", before or after it was done.

        All that the world sees of a process is its RPCs: so it is dead once none of them arrive any more.
        """
        faults = {"firestore": self.firestore.faults, "tasks": self.tasks.faults}
        latency = LATE if when == "late" else timedelta(0)
        added = []
        for name, make in (("firestore", FirestoreFault), ("tasks", TasksFault)):
            if name == where:
                if rpc:
                    added.append((name, faults[name].add(make(error=None, times=rpc))))
                once = make(error="UNAVAILABLE", when=when, latency=latency)
                added.append((name, faults[name].add(once)))
                added.append((name, faults[name].add(make(error="UNAVAILABLE", times=None))))
        try:
            yield
        finally:
            for _, pending in added:
                with suppress(ValueError, KeyError):
                    pending.remove()

    async def run_until_death(self, work: Awaitable[Any], where: str, rpc: int, when: Any) -> bool:
        """Let a process work until it dies at that RPC; whether it got to its end without."""
        async with self.dying(where, rpc, when):
            task = asyncio.ensure_future(work)
            await self.turns()
            if task.done():
                with suppress(Exception):
                    await task
                return True
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
            return False
