"""A log does what two lists would: whatever is appended, ordered, read and followed, in whatever turns."""

from __future__ import annotations

import asyncio
from datetime import timedelta

from hypothesis import HealthCheck, given, settings, strategies as st

from emulator.firestore import Emulator, Fault
from eventbox import EventBox, Transaction
from eventbox.log import EventLog, EventPersistence, LogEntry, NewLogEntry
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.log.support import Tally, payloads

PERSISTENCES = [EventPersistence.PERSISTENT, EventPersistence.TRIMABLE]

APPEND = st.tuples(
    st.just("append"),
    st.lists(
        st.tuples(
            st.sampled_from(PERSISTENCES),
            st.sampled_from([0, 50, 20_000, 300_000]),
            st.none() | st.sampled_from("xyz"),
        ),
        min_size=1,
        max_size=8,
    ),
    st.booleans(),
)
ORDER = st.tuples(st.just("order"), st.none(), st.none())
READ = st.tuples(st.just("read"), st.integers(0, 40), st.integers(1, 40))
FOLLOW = st.tuples(st.just("follow"), st.sampled_from("ab"), st.integers(1, 10))


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(steps=st.lists(st.one_of(APPEND, ORDER, READ, FOLLOW), max_size=25))
def test_a_log_is_two_lists(steps: list[tuple[str, object, object]]) -> None:
    asyncio.run(Model().run(steps))


class Model:
    """The log, and what it should be."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.client = Emulator(clock=self.clock).client()
        self.box = EventBox(self.client, clock=self.clock)
        self.log = EventLog(self.box, self.client.document("logs/main"))
        self.waiting: list[tuple[EventPersistence, str]] = []
        self.persistent: list[str] = []
        self.trimable: list[str] = []
        self.ids: set[str] = set()
        self.positions = {"a": 0, "b": 0}
        self.count = 0

    async def run(self, steps: list[tuple[str, object, object]]) -> None:
        for what, first, second in steps:
            await getattr(self, what)(first, second)
        await self.order(None, None)
        assert payloads(await self.log.read()) == self.persistent
        assert payloads(await self.log.read_trimable()) == self.trimable

    async def append(
        self, entries: list[tuple[EventPersistence, int, str | None]], in_transaction: bool
    ) -> None:
        new = []
        for persistence, size, own in entries:
            if own is not None and (own in self.ids or in_transaction):
                own = None  # in a transaction, equal IDs are the caller's business
            payload = f"{self.count}:" + "x" * size
            self.count += 1
            new.append(NewLogEntry("said", payload.encode(), persistence=persistence, id=own))
            self.waiting.append((persistence, payload))
            if own is not None:
                self.ids.add(own)
                new.append(NewLogEntry("said", b"again", id=own))
        if not in_transaction:
            await self.log.append_many(new)
            return

        async def run(transaction: Transaction) -> None:
            for entry in new:
                await self.log.append(
                    entry.kind, entry.payload, persistence=entry.persistence, transaction=transaction
                )

        await self.box.run_in_transaction(run)

    async def order(self, *_: object) -> None:
        while taken := await self.log.order():
            for persistence, payload in self.waiting[:taken]:
                self.trimable.append(payload)
                if persistence is EventPersistence.PERSISTENT:
                    self.persistent.append(payload)
            del self.waiting[:taken]
        assert not self.waiting
        assert await self.log.next_id() == len(self.persistent)
        assert await self.log.next_trimable_id() == len(self.trimable)

    async def read(self, position: int, limit: int) -> None:
        for read, expected in ((self.log.read, self.persistent), (self.log.read_trimable, self.trimable)):
            entries = await read(position, limit)
            assert payloads(entries) == expected[position : position + limit]
            assert [entry.id for entry in entries] == list(range(position, position + len(entries)))

    async def follow(self, name: str, batch: int) -> None:
        seen: list[str] = []

        async def handler(transaction: Transaction, entry: LogEntry) -> None:
            transaction.on_commit(lambda: seen.append(entry.payload.decode()))

        await self.log.handle_events(name, handler, until_idle=True, batch=batch)
        assert seen == self.persistent[self.positions[name] :]
        self.positions[name] = len(self.persistent)


@settings(max_examples=25, suppress_health_check=[HealthCheck.too_slow])
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=5),
    batch=st.integers(1, 15),
    size=st.sampled_from([10, 5_000]),
    faults=st.lists(
        st.builds(
            Fault,
            rpc=st.sampled_from(["*", "Commit", "RunQuery"]),
            error=st.sampled_from(["UNAVAILABLE", "ABORTED", "INTERNAL"]),
            when=st.sampled_from(["before", "after"]),
            times=st.integers(1, 3),
        ),
        max_size=4,
    ),
)
def test_a_trimming_that_respects_cursors_takes_nothing_from_a_follower(
    counts: list[int], batch: int, size: int, faults: list[Fault]
) -> None:
    async def scenario() -> None:
        emulator = Emulator(clock=clock)
        client = emulator.client()
        log = EventLog(EventBox(client, clock=clock), client.document("logs/main"))
        tally = Tally(client)
        total = sum(counts)
        await log.move_cursor("f", 0, trimable=True)

        async def handler(transaction: Transaction, entry: LogEntry) -> None:
            await clock.sleep(timedelta(milliseconds=20))
            await tally(transaction, entry)

        async def keep_trimming() -> None:
            while True:
                await log.trim(min_id_age=0, min_age=timedelta(0), respect_cursors=True)
                await clock.sleep(timedelta(milliseconds=130))

        running = [
            asyncio.create_task(log.run_ordering(interval=timedelta(milliseconds=200))),
            asyncio.create_task(log.handle_trimable_events("f", handler, batch=batch)),
            asyncio.create_task(keep_trimming()),
        ]
        try:
            for fault in faults:
                emulator.faults.add(fault)
            for count in counts:
                await log.append_many([NewLogEntry("said", b"x" * size) for _ in range(count)])
                await clock.sleep(timedelta(milliseconds=300))
            while await log.cursor("f", trimable=True) != total:
                await clock.sleep(timedelta(milliseconds=500))
        finally:
            for task in running:
                task.cancel()
            results = await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results
        emulator.faults.clear()
        assert await tally.counts() == {f"e{n}": 1 for n in range(total)}
        await log.trim(min_id_age=0, min_age=timedelta(0), respect_cursors=True)
        assert await log.read_trimable(total) == []
        assert len(await log.read()) == total

    clock = ManualClock()

    async def main() -> None:
        await while_advancing(clock, scenario())

    asyncio.run(main())
