"""What the processes of the transfers are made of: `Actor`, and `Worker`, which processes."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from random import Random

from google.api_core.exceptions import GoogleAPICallError

from eventbox import ContentionError, DrainReport, EmitError, EventBox, UnknownOutcomeError
from eventbox.tasks import EnqueueError, TaskQueue
from tests.simulation.accounts import FlakyError
from tests.simulation.processors import processor
from tests.simulation.scene import Scene, Send, recipient

FAILURES = (
    GoogleAPICallError,
    ContentionError,
    UnknownOutcomeError,
    EmitError,
    EnqueueError,
    FlakyError,
    TimeoutError,
)
"""What may come out of the library under these faults; anything else is an error of its own."""


class Actor:
    """One process's work."""

    def __init__(self, scene: Scene, box: EventBox, name: str, queue: TaskQueue | None = None) -> None:
        self.queue = queue
        self.scene = scene
        self.box = box
        self.rng: Random = scene.rng
        self.name = name
        self.send: Send = box.emit if queue is None else queue.send

    async def pause(self, longest: float) -> None:
        await self.box.clock.sleep(timedelta(seconds=self.rng.uniform(0.0, longest)))

    def note(self, what: str) -> None:
        self.scene.stage.history.add(self.name, what)

    def timeout(self) -> asyncio.Timeout:
        """At times the caller loses patience, and cancels."""
        impatient = self.rng.random() < 0.05
        return asyncio.timeout(self.rng.uniform(0.0, 0.1) if impatient else None)


class Worker(Actor):
    """Processes batch after batch, of whichever recipient, until it dies; two at once at times."""

    async def work(self) -> None:
        await asyncio.gather(*(self._work() for _ in range(self.rng.choice((1, 1, 2)))))

    async def _work(self) -> None:
        crowded = self.rng.random() < 0.5  # where many are at the same work
        while True:
            path = self.scene.recipients[0] if crowded else self.rng.choice(self.scene.recipients)
            try:
                async with self.timeout():
                    if self.rng.random() < 0.6:
                        await self.process(path)
                    else:
                        await self.drain(path)
            except FAILURES as error:
                self.note(f"failed: {error!r:.150}")
            await self.pause(self.rng.choice((0.05, 0.05, 1.0, 5.0)))

    async def drain(self, path: str) -> DrainReport:
        truth, ledger = self.scene.stage.truth, self.scene.ledger
        made, accounting = processor(self.scene, self.box, path, self.queue)
        waiting = truth.ready(path)
        report = await self.box.drain(
            recipient(self.box.client, path),
            made,
            max_events=self.rng.choice((1, 2, 5, 1_000)),
            max_batches=self.rng.choice((1, 3, 10)),
        )
        self.note(f"drained {path}: {report}")
        ledger.heard.update(accounting.batches)
        if report.drained:
            left = [*sorted(waiting & truth.ready(path)), *truth.outstanding(path, accounting.sent_to_itself)]
            self.scene.check("drained means that nothing is left", not left, f"{path} has {left[:3]}")
        return report

    async def process(self, path: str) -> None:
        ledger = self.scene.ledger
        made, accounting = processor(self.scene, self.box, path, self.queue)
        to = recipient(self.box.client, path)
        try:
            callbacks = await self.box.process_batch(to, made, max_events=self.rng.choice((1, 3, 1_000)))
        except UnknownOutcomeError:
            raise
        except Exception as error:
            if accounting.batch:
                ledger.refused[accounting.batch] = repr(error)[:200]
            ledger.contended += isinstance(error, ContentionError)
            if isinstance(error, FlakyError) and error.args == ("preparing",):
                left = self.scene.stage.truth.outstanding(path, accounting.refused_garbage)
                detail = (
                    f"{accounting.batch} of {path} could not be prepared, and its garbage {left} is there"
                )
                self.scene.check("garbage goes even where preparing fails", not left, detail)
            raise
        for place, callback in enumerate(callbacks):
            ledger.done.add(f"{accounting.batch}.{place}")
            ledger.committed += not place
            await callback()
        if accounting.batch:
            ledger.heard.add(accounting.batch)
