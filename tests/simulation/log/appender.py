"""Who appends to the log: alone and in transactions, again after failures, and to those in the same process alone."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

from eventbox import EventBox, UnknownOutcomeError
from eventbox.log import EventLog, EventPersistence, NewLogEntry
from tests.simulation.accounts import FlakyError
from tests.simulation.actors import FAILURES
from tests.simulation.log.actors import LogActor
from tests.simulation.log.ledger import Append
from tests.simulation.log.scene import LogScene, key_of, note

_STORED = (EventPersistence.PERSISTENT, EventPersistence.PERSISTENT, EventPersistence.TRIMABLE)


class Appender(LogActor):
    """One process that appends so many times, or until it dies."""

    def __init__(self, scene: LogScene, box: EventBox, log: EventLog, name: str) -> None:
        super().__init__(scene, box, log, name)
        self.count = 0

    async def work(self, count: int) -> None:
        subscription = self.log.transient()
        listening = asyncio.create_task(self._listen(subscription))
        longest = self.rng.choice((0.0, 0.02, 0.5, 3.0))  # some are in a hurry
        for _ in range(count):
            try:
                await self.rng.choice(
                    (self.append, self.append, self.append_many, self.transact, self.transact, self.whisper)
                )()
            except FAILURES as error:
                self.note(f"failed to append: {error!r:.150}")
            await self._pause(longest)
        await subscription.aclose()
        await listening
        self._judge_transient()

    async def append(self) -> None:
        """One entry; as a webhook does that comes again, where it has an ID."""
        one = self._new(self.rng.choice(_STORED))
        id = one.key if self.rng.random() < 0.5 else None
        for _ in range(1 if id is None else self.rng.choice((1, 2, 3))):
            try:
                await self.log.append_many([self._entry(one, id)])
            except FAILURES as error:
                self.note(f"failed to append {one.key}: {error!r:.120}")
            else:
                self._accepted(one)
            await self._pause(self.rng.choice((0.01, 1.0, 10.0)))

    async def append_many(self) -> None:
        appends = [self._new(self.rng.choice(_STORED)) for _ in range(self.rng.randint(2, 5))]
        await self.log.append_many(self._entry(one) for one in appends)
        for one in appends:
            self._accepted(one)

    async def transact(self) -> None:
        """Append and write a document, in one transaction, which may come to nothing."""
        client = self.box.client
        marker = f"{self.name}-{self.count}"
        persistences = (*_STORED, EventPersistence.TRANSIENT)
        appends = [self._new(self.rng.choice(persistences), marker) for _ in range(self.rng.randint(1, 3))]
        reads = self.rng.random() < 0.5
        fails = self.rng.random() < 0.15
        lasts = self.rng.choice((0.0, 0.0, 1.0))

        async def body(transaction: Any) -> None:
            if reads:
                await client.document("shared/log").get(transaction=transaction)
            for one in appends:
                await self.log.append_many([self._entry(one)], transaction=transaction)
                await self._pause(lasts)
            transaction.set(client.document(f"markers/{marker}"), {"by": self.name})
            if reads:
                transaction.set(client.document("shared/log"), {"by": self.name})
            if fails:
                raise FlakyError(marker)

        try:
            await self.box.run_in_transaction(body, attempts=self.rng.choice((1, 5)))
        except UnknownOutcomeError as error:
            self.note(f"does not know what became of {marker}: {error!r:.100}")
            return
        except FAILURES:
            self.ledger.refused.add(marker)
            raise
        for one in appends:
            self._accepted(one)

    async def whisper(self) -> None:
        """Append what is stored nowhere."""
        one = self._new(EventPersistence.TRANSIENT)
        await self.log.append_many([self._entry(one)])
        self._accepted(one)

    def _new(self, persistence: EventPersistence, marker: str | None = None) -> Append:
        self.count += 1
        key = f"{self.name}-{self.count}"
        echo = self.rng.random() < 0.15
        one = Append(key, self.name, persistence, self.ledger.moment(), marker, echo)
        self.ledger.appends[key] = one
        return one

    def _entry(self, one: Append, id: str | None = None) -> NewLogEntry:
        return NewLogEntry("note", note(one.key, echo=one.echo), persistence=one.persistence, id=id)

    def _accepted(self, one: Append) -> None:
        self.note(f"has appended {one.key}, {one.persistence.name}")
        if one.accepted is None:
            one.accepted = self.ledger.moment()

    # Transient entries ------------------------------------------------------------------------------------

    async def _listen(self, subscription: Any) -> None:
        heard = self.ledger.transient.setdefault(self.name, [])
        truth, violate = self.scene.stage.truth, self.scene.stage.history.violate
        async for entry in subscription:
            key = key_of(entry)
            self.note(f"hears {key}")
            marker = self.ledger.appends[key].marker
            if marker is not None and truth.fields(f"markers/{marker}") is None:
                violate(
                    "transient entries only after the commit", f"{key} was heard before {marker} was there"
                )
            heard.append(key)

    def _judge_transient(self) -> None:
        heard = self.ledger.transient[self.name]
        mine = [
            one
            for one in self.ledger.appends.values()
            if one.process == self.name and one.persistence is EventPersistence.TRANSIENT
        ]
        checks, violate = self.scene.stage.checks, self.scene.stage.history.violate
        for one in mine:
            checks["transient entries once"] += 1
            times = heard.count(one.key)
            if times > 1 or (one.accepted is not None and not times):
                violate("transient entries once", f"{one.key} was heard {times} times")
        order = [one.key for one in sorted(mine, key=_accepted_at) if one.accepted and one.key in heard]
        if [key for key in heard if key in order] != order:
            violate("transient entries in order", f"{order} were heard as {heard}")

    async def _pause(self, longest: float) -> None:
        await self.box.clock.sleep(timedelta(seconds=self.rng.uniform(0.0, longest)))


def _accepted_at(one: Append) -> int:
    return one.accepted or 0
