"""What the processes do: workers that process, and producers that emit, retry, and write transactions of their own."""

from __future__ import annotations

import json
from datetime import timedelta
from random import Random

from google.api_core.exceptions import GoogleAPICallError

from eventbox import ContentionError, EmitError, EventBox, NewEvent, Transaction, UnknownOutcomeError
from eventbox.tasks import EnqueueError, Task, TaskQueue
from tests.simulation.accounts import KINDS, FlakyError, Scene, processor, recipient
from tests.simulation.ledger import Emission

FAILURES = (GoogleAPICallError, ContentionError, UnknownOutcomeError, EmitError, EnqueueError, FlakyError)
"""What may come out of the library under these faults; anything else is an error of its own."""


class Actor:
    """One process's work."""

    def __init__(self, scene: Scene, box: EventBox, name: str, queue: TaskQueue | None = None) -> None:
        self.queue = queue
        self.scene = scene
        self.box = box
        self.rng: Random = scene.rng
        self.name = name
        self.count = 0

    async def pause(self, longest: float) -> None:
        await self.box.clock.sleep(timedelta(seconds=self.rng.uniform(0.0, longest)))

    def note(self, what: str) -> None:
        self.scene.history.add(self.name, what)


class Worker(Actor):
    """Processes batch after batch, of whichever recipient, until it dies."""

    async def work(self) -> None:
        while True:
            path = self.rng.choice(self.scene.recipients)
            try:
                if self.rng.random() < 0.6:
                    await self.process(path)
                else:
                    await self.drain(path)
            except FAILURES as error:
                self.note(f"failed: {error!r:.150}")
            await self.pause(self.rng.choice((0.05, 1.0, 5.0)))

    async def drain(self, path: str) -> bool:
        made, _ = processor(self.scene, self.box, path)
        report = await self.box.drain(
            recipient(self.box.client, path),
            made,
            max_events=self.rng.choice((1, 2, 5, 1_000)),
            max_batches=self.rng.choice((1, 3, 10)),
        )
        self.note(f"drained {path}: {report}")
        return report.drained

    async def process(self, path: str) -> None:
        ledger = self.scene.ledger
        made, accounting = processor(self.scene, self.box, path)
        to = recipient(self.box.client, path)
        try:
            callbacks = await self.box.process_batch(to, made, max_events=self.rng.choice((1, 3, 1_000)))
        except UnknownOutcomeError:
            raise
        except Exception as error:
            if accounting.batch:
                ledger.refused[accounting.batch] = repr(error)[:200]
            ledger.contended += isinstance(error, ContentionError)
            raise
        if callbacks:
            ledger.done.update(f"{accounting.batch}.{place}" for place in range(len(callbacks)))
            ledger.committed += 1
        for callback in callbacks:
            await callback()


class Producer(Actor):
    """Emits events: so many, or until it dies."""

    async def work(self, count: int) -> None:
        for _ in range(count):
            try:
                await self.rng.choice((self.emit, self.emit, self.emit_many, self.transact))()
            except FAILURES as error:
                self.note(f"failed: {error!r:.150}")
            await self.pause(self.rng.choice((0.02, 0.5, 3.0)))

    def _new(self, path: str, marker: str | None = None) -> tuple[NewEvent, Emission]:
        self.count += 1
        event_id = f"{self.name}-{self.count}"
        kind = self.rng.choice(KINDS)
        amount = self.rng.randint(1, 50) if kind in ("credit", "transfer") else 0
        order = {"do": kind, "amount": amount, "to": self.rng.choice(self.scene.recipients)}
        delayed = self.rng.random() < 0.2
        after = (
            self.scene.right_clock.now() + timedelta(seconds=self.rng.uniform(0.0, 20.0)) if delayed else None
        )
        emission = Emission(kind, amount, after, marker)
        self.scene.ledger.emissions[path, event_id] = emission
        return NewEvent(json.dumps(order).encode(), id=event_id, process_after=after), emission

    def _told(self, path: str, id: str, emission: Emission, duplicate: bool | None) -> None:
        self.note(f"emitted {id} to {path}, duplicate: {duplicate}")
        if duplicate and not emission.added and emission.unknown == 1:  # this one
            self.scene.history.violate("duplicates", f"the only emit of {id} to {path} says that it is none")
        emission.unknown -= 1
        emission.accepted = True
        emission.added += duplicate is False
        if emission.added > 1:
            self.scene.history.violate("duplicates", f"two emits of {id} to {path} both say that it was new")

    async def emit(self) -> None:
        path = self.rng.choice(self.scene.recipients)
        event, emission = self._new(path)
        for _ in range(self.rng.choice((1, 1, 1, 2, 3))):  # as a webhook does that comes again
            emission.unknown += 1
            try:
                receipt = await (self.queue.send if self.queue is not None else self.box.emit)(
                    event.value,
                    recipient(self.box.client, path),
                    id=event.id,
                    process_after=event.process_after,
                    timeout=timedelta(seconds=self.rng.choice((2, 60))),
                )
            except FAILURES as error:
                self.note(f"failed to emit {event.id}: {error!r:.120}")
            else:
                self._told(path, receipt.id, emission, receipt.duplicate)
            await self.pause(self.rng.choice((0.01, 1.0, 10.0)))

    async def emit_many(self) -> None:
        path = self.rng.choice(self.scene.recipients)
        events = [self._new(path) for _ in range(self.rng.randint(2, 6))]
        for _ in range(self.rng.choice((1, 1, 2))):
            for _, emission in events:
                emission.unknown += 1
            try:
                receipts = await self.box.emit_many(
                    [event for event, _ in events], recipient(self.box.client, path)
                )
            except EmitError as error:
                receipts = error.receipts
            told = {receipt.id: receipt.duplicate for receipt in receipts}
            for event, emission in events:
                if event.id in told:
                    assert event.id is not None
                    self._told(path, event.id, emission, told[event.id])

    async def transact(self) -> None:
        """Emit to two recipients and write a document, in one transaction."""
        client = self.box.client
        paths = self.rng.sample(self.scene.recipients, 2)
        marker = f"{self.name}-{self.count}"
        events = [(path, *self._new(path, marker)) for path in paths]
        reads = self.rng.random() < 0.5

        def committed() -> None:
            if self.scene.truth.fields(f"markers/{marker}") is None:
                self.scene.history.violate("on_commit only after the commit", marker)

        async def body(transaction: Transaction) -> None:
            if reads:
                await client.document("shared/count").get(transaction=transaction)
            for path, event, _ in events:
                await self.box.emit_many([event], recipient(client, path), transaction=transaction)
            transaction.set(client.document(f"markers/{marker}"), {"by": self.name})
            transaction.on_commit(committed)
            if self.queue is not None:
                await self.queue.enqueue(Task("/marked", marker.encode()), transaction=transaction)

        if self.queue is not None:
            self.scene.ledger.expected_tasks.add(marker)

        await self.box.run_in_transaction(body, attempts=self.rng.choice((1, 5)))
        for path, event, emission in events:
            assert event.id is not None
            self._told(path, event.id, emission, None)
