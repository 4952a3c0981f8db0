"""`Producer`: emits, retries, and writes transactions of its own."""

from __future__ import annotations

import json
from datetime import timedelta

from google.cloud.firestore import Increment

from eventbox import EmitError, EventBox, NewEvent, Transaction, UnknownOutcomeError
from eventbox.tasks import Task, TaskQueue
from tests.simulation.accounts import KINDS
from tests.simulation.actors import FAILURES, Actor
from tests.simulation.ledger import Emission
from tests.simulation.scene import TASK, Scene, recipient


class Producer(Actor):
    """Does so many things, unless it dies."""

    def __init__(self, scene: Scene, box: EventBox, name: str, queue: TaskQueue | None) -> None:
        super().__init__(scene, box, name, queue)
        self.count = 0

    async def work(self, count: int) -> None:
        deeds = [self.emit, self.emit, self.transact, self.annotate]
        if not self.scene.alone:  # it wakes nobody
            deeds.append(self.emit_many)
        if self.queue is not None:
            deeds.append(self.enqueue)
        for _ in range(count):
            try:
                async with self.timeout():
                    await self.rng.choice(deeds)()
            except FAILURES as error:
                self.note(f"failed: {error!r:.150}")
            await self.pause(self.rng.choice((0.02, 0.02, 0.5, 3.0)))
        if self.scene.alone:
            await self.hurry()

    async def hurry(self) -> None:
        """Send a few events to one recipient, once each, within a second or two: the last that anybody does."""
        path = self.rng.choice(self.scene.recipients)
        for _ in range(self.rng.randint(2, 4)):
            event, emission = self._new(path)
            emission.unknown += 1
            to = recipient(self.box.client, path)
            try:
                receipt = await self.send(event.value, to, id=event.id, process_after=event.process_after)
            except FAILURES as error:
                self.note(f"failed to emit {event.id}: {error!r:.120}")
            else:
                self._told(path, receipt.id, emission, receipt.duplicate)
            await self.pause(0.7)

    def _new(self, path: str, marker: str | None = None) -> tuple[NewEvent, Emission]:
        self.count += 1
        event_id = f"{self.name}-{self.count}"
        kind = self.rng.choice(KINDS)
        amount = self.rng.randint(1, 50) if kind in ("credit", "transfer") else 0
        order = {"do": kind, "amount": amount, "to": self.rng.choice(self.scene.recipients)}
        after = None
        if self.rng.random() < 0.2:
            after = self.scene.stage.clock.now() + timedelta(seconds=self.rng.uniform(0.0, 20.0))
        emission = Emission(kind, amount, after, marker)
        self.scene.ledger.emissions[path, event_id] = emission
        event = NewEvent(json.dumps(order).encode(), id=event_id, process_after=after)
        if marker is None:
            self.scene.hooks.append((path, event, emission))
        return event, emission

    def _told(self, path: str, id: str, emission: Emission, duplicate: bool | None) -> None:
        self.note(f"emitted {id} to {path}, duplicate: {duplicate}")
        check = self.scene.check
        if duplicate is not None:
            others = emission.added or emission.unknown > 1 or emission.in_transactions
            check(
                "duplicates", others or not duplicate, f"the only emit of {id} to {path} says that it is none"
            )
        emission.unknown -= 1
        emission.accepted = True
        emission.added += duplicate is False
        check("duplicates", emission.added <= 1, f"two emits of {id} to {path} both say that it was new")

    async def emit(self) -> None:
        """One event; again, as a webhook does that comes again; at times one that somebody else has emitted."""
        path = self.rng.choice(self.scene.recipients)
        if self.scene.hooks and self.rng.random() < 0.25:
            path, event, emission = self.rng.choice(self.scene.hooks[-10:])
        else:
            event, emission = self._new(path)
            # as the webhook's first try may, where the application began to wake only then
            emission.wakes = not (self.scene.alone and self.rng.random() < 0.3)
        for _ in range(self.rng.choice((1, 1, 1, 2, 3)) + (not emission.wakes)):
            emission.unknown += 1
            options = {} if emission.wakes or emission.accepted else {"wake": False}
            try:
                receipt = await self.send(
                    event.value,
                    recipient(self.box.client, path),
                    id=event.id,
                    process_after=event.process_after,
                    timeout=timedelta(seconds=self.rng.choice((2, 60))),
                    **options,
                )
            except FAILURES as error:
                self.note(f"failed to emit {event.id}: {error!r:.120}")
            else:
                emission.wakes = emission.wakes or not options
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
        """Emit to two recipients, write a document, and put a task on the queue, in one transaction."""
        client, ledger = self.box.client, self.scene.ledger
        paths = self.rng.sample(self.scene.recipients, 2)
        marker = f"{self.name}-{self.count}"
        events = [(path, *self._new(path, marker)) for path in paths]
        reads, creates = self.rng.random() < 0.5, self.rng.random() < 0.5
        if self.scene.hooks and self.rng.random() < 0.6:  # in a transaction nobody is told of duplicates
            path, event, emission = self.rng.choice(self.scene.hooks[-2:])
            emission.in_transactions += 1
            events.append((path, event, Emission(emission.kind)))
        called = 0

        def committed() -> None:
            nonlocal called
            called += 1
            there = self.scene.stage.truth.fields(f"markers/{marker}") is not None
            self.scene.check("on_commit only after the commit", there, marker)
            self.scene.check("on_commit at most once", called == 1, marker)

        async def body(transaction: Transaction) -> None:
            if reads:
                await client.document("shared/count").get(transaction=transaction)
            for path, event, _ in events:
                await self.send(
                    event.value,
                    recipient(client, path),
                    id=event.id,
                    process_after=event.process_after,
                    transaction=transaction,
                )
            there = client.document(f"markers/{marker}")
            if creates:
                transaction.create(there, {"n": 1})
            else:
                transaction.set(there, {"n": Increment(1)}, merge=True)
            transaction.on_commit(committed)
            if self.queue is not None:
                await self.queue.enqueue(Task(TASK, marker.encode()), transaction=transaction)

        if self.queue is not None:
            ledger.expected_tasks.add(marker)
        try:
            await self.box.run_in_transaction(body, attempts=self.rng.choice((1, 5)))
        except UnknownOutcomeError:
            raise
        except Exception as error:
            ledger.refused_markers[marker] = repr(error)[:200]
            raise
        self.scene.check("on_commit runs where the commit is known", called == 1, marker)
        ledger.accepted_markers.add(marker)
        for path, event, emission in events:
            assert event.id is not None
            self._told(path, event.id, emission, None)

    async def enqueue(self) -> None:
        """Put a task on the queue, for now or later."""
        assert self.queue is not None
        self.count += 1
        marker = f"plain task {self.name}-{self.count}"
        eta = None
        if self.rng.random() < 0.3:
            eta = self.scene.stage.clock.now() + timedelta(seconds=self.rng.uniform(0.0, 60.0))
        self.scene.ledger.plain_tasks[marker] = False
        await self.queue.enqueue(Task(TASK, marker.encode(), eta=eta))
        self.scene.ledger.plain_tasks[marker] = True

    async def annotate(self) -> None:
        """Write a field of its own into a recipient's document, as the application's other code may."""
        path = self.rng.choice(self.scene.recipients)
        if not path.startswith("plain/"):  # it knows all fields of its document
            await self.box.client.document(path).set({"note": Increment(1)}, merge=True, retry=None)
