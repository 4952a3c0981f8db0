"""Random histories of queues and tasks, against a model that is too simple to be wrong."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import hypothesis.strategies as st
from google.api_core import exceptions
from hypothesis import settings
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from emulator.manual_clock import ManualClock
from emulator.tasks import TasksEmulator
from tests.emulator.tasks.recording_worker import WORKER, RecordingWorker, http

BACKOFF = timedelta(seconds=10)
ATTEMPTS = 3
WINDOW = timedelta(minutes=2)
IDS = st.sampled_from(["a", "b", "c", "d"])
QUEUES = st.sampled_from(["one", "two"])


@dataclass
class ModelTask:
    due: datetime
    failures: int  # how many of its next attempts fail
    attempts: int = 0


@dataclass
class ModelQueue:
    paused: bool = False
    tasks: dict[str, ModelTask] = field(default_factory=dict)
    free_at: dict[str, datetime] = field(default_factory=dict)


class History(RuleBasedStateMachine):
    """Each step is done by google's client, and to the model; then both have the same tasks."""

    @initialize()
    def start(self) -> None:
        self.loop = asyncio.Runner()
        self.clock = ManualClock()
        self.tasks = TasksEmulator(clock=self.clock, dedup_window=WINDOW)
        self.worker = RecordingWorker()
        self.tasks.mount(WORKER, self._work)
        config = {"min_backoff": BACKOFF, "max_backoff": BACKOFF, "max_attempts": ATTEMPTS}
        self.names = {id: self.tasks.create_queue(id, retry_config=config) for id in ("one", "two")}
        self.model = {id: ModelQueue() for id in self.names}
        self.failures: dict[tuple[str, str], int] = {}
        self.client = self.tasks.client()

    async def _work(self, scope: Any, receive: Any, send: Any) -> None:
        headers = {name: value.decode() for name, value in scope["headers"]}
        task = headers[b"x-cloudtasks-queuename"], headers[b"x-cloudtasks-taskname"]
        self.worker.statuses.clear()
        if self.failures[task]:
            self.failures[task] -= 1
            self.worker.statuses.append(500)
        await self.worker(scope, receive, send)

    def outcome(self, rpc: str, **arguments: Any) -> type[BaseException] | None:
        async def call() -> None:
            await getattr(self.client, rpc)(**arguments)

        try:
            self.loop.run(call())
        except exceptions.GoogleAPICallError as error:
            return type(error)
        return None

    @rule(queue=QUEUES, id=IDS, delay=st.integers(0, 40), failures=st.integers(0, 4))
    def create(self, queue: str, id: str, delay: int, failures: int) -> None:
        model, now = self.model[queue], self.clock.now()
        taken = id in model.tasks or model.free_at.get(id, now) > now
        due = now + timedelta(seconds=delay)
        name = f"{self.names[queue]}/tasks/{id}"
        task = http(name=name, schedule_time=due)
        outcome = self.outcome("create_task", parent=self.names[queue], task=task)
        assert outcome is (exceptions.AlreadyExists if taken else None)
        if not taken:
            model.tasks[id] = ModelTask(due, failures)
            self.failures[queue, id] = failures

    @rule(queue=QUEUES, id=IDS)
    def delete(self, queue: str, id: str) -> None:
        known = id in self.model[queue].tasks
        outcome = self.outcome("delete_task", name=f"{self.names[queue]}/tasks/{id}")
        assert outcome is (None if known else exceptions.NotFound)
        if known:
            self._drop(queue, id)

    @rule(queue=QUEUES)
    def purge(self, queue: str) -> None:
        assert self.outcome("purge_queue", name=self.names[queue]) is None
        for id in list(self.model[queue].tasks):
            self._drop(queue, id)

    @rule(queue=QUEUES, paused=st.booleans())
    def pause(self, queue: str, paused: bool) -> None:
        rpc = "pause_queue" if paused else "resume_queue"
        assert self.outcome(rpc, name=self.names[queue]) is None
        self.model[queue].paused = paused

    @rule(queue=QUEUES, id=IDS)
    def run_task(self, queue: str, id: str) -> None:
        known = id in self.model[queue].tasks
        outcome = self.outcome("run_task", name=f"{self.names[queue]}/tasks/{id}")
        assert outcome is (None if known else exceptions.NotFound)
        if known:
            expected = 1 + self._due(but=(queue, id))
            assert self.loop.run(self.tasks.drain()) == expected
            self._attempt(queue, id)
            self._settle()

    @rule(seconds=st.integers(1, 60))
    def pass_time(self, seconds: int) -> None:
        self.clock.advance(timedelta(seconds=seconds))

    @rule()
    def drain(self) -> None:
        expected = self._due()
        assert self.loop.run(self.tasks.drain()) == expected
        self._settle()

    def _due(self, but: tuple[str, str] | None = None) -> int:
        now = self.clock.now()
        return sum(
            task.due <= now and (queue, id) != but
            for queue, model in self.model.items()
            if not model.paused
            for id, task in model.tasks.items()
        )

    def _settle(self) -> None:
        """Attempt all that is due, once: the backoff is longer than nothing."""
        for queue, model in self.model.items():
            for id, task in list(model.tasks.items()):
                if not model.paused and task.due <= self.clock.now():
                    self._attempt(queue, id)

    def _attempt(self, queue: str, id: str) -> None:
        task = self.model[queue].tasks[id]
        task.attempts += 1
        if task.failures and task.attempts < ATTEMPTS:
            task.failures -= 1
            task.due = self.clock.now() + BACKOFF
        else:
            self._drop(queue, id)

    def _drop(self, queue: str, id: str) -> None:
        del self.model[queue].tasks[id]
        self.model[queue].free_at[id] = self.clock.now() + WINDOW

    @precondition(lambda self: hasattr(self, "client"))
    @invariant()
    def the_same_tasks_are_there(self) -> None:
        async def listed(queue: str) -> dict[str, tuple[datetime, int]]:
            found = await self.client.list_tasks(parent=queue)
            return {
                task.name.rpartition("/")[2]: (task.schedule_time, task.dispatch_count)
                async for task in found
            }

        for queue, model in self.model.items():
            expected = {id: (task.due, task.attempts) for id, task in model.tasks.items()}
            assert self.loop.run(listed(self.names[queue])) == expected

    def teardown(self) -> None:
        if hasattr(self, "loop"):
            self.loop.close()


TestHistory = History.TestCase
TestHistory.settings = settings(max_examples=30, stateful_step_count=30)
