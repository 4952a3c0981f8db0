"""The workload of the event store: webhooks and listeners that store, a broadcaster, receivers, and voters."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Sequence
from datetime import timedelta
from random import Random

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore import Increment

from eventbox import ContentionError, EmitError, EventBox, SkipTransition, Transaction, UnknownOutcomeError
from eventbox.sources import (
    Broadcaster,
    EventStore,
    Leader,
    ListenerError,
    ListenerManager,
    ListenerStore,
    QuorumVotes,
    Service,
    StoredEvent,
)
from tests.simulation.process import Process
from tests.simulation.sources.keeping import STORE, Ballot, Keeping
from tests.simulation.sources.leadership import Leadership
from tests.simulation.stage import Stage
from tests.simulation.workload import Role, Workload

FAILURES = (GoogleAPICallError, ContentionError, UnknownOutcomeError, EmitError)
TYPES = ("paid", "refunded", "told")
_HEARTBEAT = timedelta(seconds=5)
_PATIENCE = 200.0
"""Seconds within which, without faults, all that is stored has arrived."""

_RPCS = 400


class ListenError(Exception):
    """A listener failed, for now."""


class PublishError(Exception):
    """Nobody took the event, for now."""


class Storing(Workload):
    """Events come several times, are broadcast, arrive or get lost, are voted on, deleted, and come again."""

    name = "store"

    def __init__(self, stage: Stage, rng: Random) -> None:
        super().__init__(stage, rng)
        self.remember = rng.choice((None, timedelta(minutes=6), timedelta(minutes=6)))
        self.keeping = Keeping(stage, self.remember)
        self.leadership = Leadership(stage, lambda *_: None)
        self.voting = rng.random() < 0.5
        self.threshold = rng.randint(1, 3)
        self.ballots: dict[str, Ballot] = {}
        self.rebroadcast_after = timedelta(seconds=rng.choice((5, 30)))
        self.listeners = rng.random() < 0.5
        self.arriving: list[str] = []
        self.listening: Counter[Process] = Counter()
        self.told = 0
        self.bodies = [f"event {number}".encode() for number in range(rng.randint(2, 12))]
        self.unruly = True

    def roles(self) -> Sequence[Role]:
        rng = self.rng
        roles = [
            Role(f"webhook{number}", self._receive_webhooks, ends=True) for number in range(rng.randint(1, 3))
        ]
        roles += [Role(f"broadcaster{number}", self._broadcast) for number in range(rng.randint(1, 2))]
        roles += [Role(f"receiver{number}", self._receive) for number in range(rng.randint(1, 2))]
        if self.listeners:
            roles += [Role(f"listener{number}", self._listen) for number in range(2)]
        if self.voting:
            roles += [Role(f"voter{number}", self._vote) for number in range(rng.randint(1, 3))]
        return roles

    def _store(self, process: Process, box: EventBox | None = None) -> EventStore:
        box = box or self.stage.box(process)
        return EventStore(
            box.client.document(STORE),
            event_types=TYPES,
            votes=self._votes(box) if self.voting else None,
            remember=self.remember,
            clock=process.clock,
            rng=Random(self.rng.getrandbits(64)),
        )

    def _votes(self, box: EventBox) -> QuorumVotes:
        return QuorumVotes(
            box, box.client.document("sources/bridge"), threshold=self.threshold, on_approved=self._approve
        )

    async def _approve(self, transaction: Transaction, event: StoredEvent) -> None:
        if self.unruly and self.rng.random() < 0.2:
            raise SkipTransition
        document = transaction._client.document(f"approvals/{event.id}")
        transaction.set(document, {"n": Increment(1)}, merge=True)

    # What they do -----------------------------------------------------------------------------------------

    async def _receive_webhooks(self, process: Process) -> None:
        """Store events, each several times, as a sender does that was not answered."""
        rng, box = self.rng, self.stage.box(process)
        store = self._store(process, box)
        for turn in range(rng.randint(5, 10)):
            if self.stage.history.rpcs > _RPCS:
                return
            data, kind = rng.choice(self.bodies), rng.choice(TYPES[:2])
            gone = [kept for kept in self.keeping.kept.values() if kept.deleting and kept.marker is None]
            if gone and rng.random() < 0.5:
                data, kind = rng.choice([(kept.data, kept.event_type) for kept in gone])
            for _ in range(rng.choice((1, 1, 2, 3))):
                try:
                    await self._store_one(process, box, store, data, kind, turn)
                except FAILURES as error:
                    self._note(process, error)
                await self._pause(process, rng.choice((0.01, 1.0, 20.0)))
            if turn == 3 and self.remember is not None and rng.random() < 0.5:
                await self._pause(process, 800.0)

    async def _store_one(
        self, process: Process, box: EventBox, store: EventStore, data: bytes, kind: str, turn: int
    ) -> None:
        rng, keeping = self.rng, self.keeping
        if rng.random() < 0.1:  # one that may be known
            event_id, kept = keeping.event(data, kind)
            await box.run_in_transaction(lambda transaction: store.store(data, kind, transaction=transaction))
            self._settle(event_id)
            kept.accepted = True
            return
        if rng.random() < 0.25:  # an event of its own: its fate is that of the transaction
            data = f"{process.name} {turn}".encode()
            event_id, kept = keeping.event(data, kind)
            if kept.marker is not None:
                return
            marker = kept.marker = f"{process.name}-{turn}"

            async def body(transaction: Transaction) -> None:
                await store.store(data, kind, transaction=transaction)
                self._settle(event_id)  # at once: nobody may hear what becomes of the commit
                transaction.set(box.client.document(f"markers/{marker}"), {})

            await box.run_in_transaction(body)
            return
        event_id, kept = keeping.event(data, kind)
        if rng.random() < 0.1:  # about one that nobody has stored yet, perhaps
            await self._mark_early(box, store, event_id)
        await store.store(data, kind)
        self.stage.history.add(process.name, f"stored {event_id[:8]}")
        self._settle(event_id)
        kept.accepted = True

    def _settle(self, event_id: str) -> None:
        """An event that was approved meanwhile need not be stored."""
        if self._is_approved(event_id) and not self.keeping.life(event_id).known:
            self.keeping.settled.add(event_id)

    async def _mark_early(self, box: EventBox, store: EventStore, event_id: str) -> None:
        self.keeping.kept[event_id].repeating = True
        if self.rng.random() < 0.5:
            await store.mark_rebroadcast(event_id)
            return

        async def body(transaction: Transaction) -> None:
            await store.mark_rebroadcast([event_id], transaction=transaction)

        await box.run_in_transaction(body)

    async def _broadcast(self, process: Process) -> None:
        """Hand on what is stored, where it leads."""
        rng = self.rng
        broadcaster = Broadcaster(
            self._store(process),
            self._publish,
            rebroadcast_after=self.rebroadcast_after,
            concurrency=rng.choice((1, 16)),
            clock=process.clock,
            rng=Random(rng.getrandbits(64)),
        )
        lock = self.leadership.lock(process, "broadcasting", _HEARTBEAT, None, rng)
        await Leader(lock).run(lambda token: broadcaster.run())

    async def _publish(self, event: StoredEvent) -> None:
        kept = self.keeping.kept[event.id]
        if (event.data, event.event_type) != (kept.data, kept.event_type):
            self.stage.history.violate(
                "nothing stored is lost", f"{event.id} was stored, and broadcast as {event}"
            )
        if self.unruly and (event.data.endswith(b"3") or self.rng.random() < 0.2):
            raise PublishError
        kept.delivered += 1
        kept.repeating = True  # by the broadcaster, from now on
        if not self.unruly or self.rng.random() < 0.7:
            self.arriving.append(event.id)

    async def _receive(self, process: Process) -> None:
        """Say what has arrived; let go of some; have some broadcast again."""
        rng, store, kept = self.rng, self._store(process), self.keeping.kept
        while not self.unruly or self.stage.history.rpcs < _RPCS:
            try:
                if self.arriving:
                    event_id = self.arriving.pop(rng.randrange(len(self.arriving)))
                    kept[event_id].receiving = True
                    await store.mark_received(event_id)
                    self._check(not self.keeping.life(event_id).held or self.keeping.life(event_id).received)
                    if self.unruly and rng.random() < 0.3:
                        kept[event_id].deleting = True
                        await store.delete_event([event_id])
                        self._check(not self.keeping.life(event_id).held)
                if self.unruly and kept and rng.random() < 0.2:
                    event_id = rng.choice(list(kept))
                    kept[event_id].repeating = True
                    await store.mark_rebroadcast([event_id])
            except FAILURES as error:
                self._note(process, error)
            await self._pause(process, rng.choice((0.1, 3.0)))

    def _check(self, so: bool) -> None:
        """What a mark says has to be so as soon as it returns."""
        self.stage.checks["marks are there"] += 1
        if not so:
            self.stage.history.violate("marks are there", "a mark has returned, and is not there")

    async def _listen(self, process: Process) -> None:
        """Run listeners for as long as it leads."""
        store = self._store(process)
        lock = self.leadership.lock(process, "listening", _HEARTBEAT, None, self.rng)

        async def tell(service: Service, own: ListenerStore) -> None:
            await self._tell(process, own)

        async def end(service: Service, own: ListenerStore) -> None:
            await own.set(b"ended", b"")

        manager = ListenerManager(
            Service("shop"), store, lock, listeners={"Tell": tell, "end": end}, clock=process.clock
        )
        while True:
            try:
                await manager.run()
                self.stage.history.violate(
                    "listeners run while it leads", f"those of {process.name} have ended"
                )
            except ListenerError as error:
                if not isinstance(error.__cause__, (*FAILURES, ListenError)):
                    raise
                self._note(process, error)
            self.stage.checks["listeners end with the lease"] += 1
            if self.listening[process] or lock.held:
                self.stage.history.violate(
                    "listeners end with the lease", f"{process.name} has left one running"
                )
            await self._pause(process, 2.0)

    async def _tell(self, process: Process, own: ListenerStore) -> None:
        """Store what has come since it was last remembered."""
        self.listening[process] += 1
        try:
            while True:
                seen = int(await own.get(b"seen") or b"0")
                if seen < self.told:
                    data = f"told {seen}".encode()
                    event_id, kept = self.keeping.event(data, "told")
                    await own.broadcast("told", data)
                    self._settle(event_id)
                    kept.accepted = True
                    await own.set(b"seen", b"%d" % (seen + 1))
                elif self.told < 5:
                    self.told += 1
                if self.unruly and self.rng.random() < 0.05:
                    raise ListenError
                await self._pause(process, 6.0)
        finally:
            self.listening[process] -= 1

    async def _vote(self, process: Process) -> None:
        rng, votes = self.rng, self._votes(self.stage.box(process))
        voter = process.name.partition(".")[0]
        while self.stage.history.rpcs < _RPCS:
            if self.keeping.kept:
                await self._vote_on(process, votes, voter, rng.choice(list(self.keeping.kept)))
            await self._pause(process, rng.choice((1.0, 10.0)))

    async def _vote_on(self, process: Process, votes: QuorumVotes, voter: str, event_id: str) -> None:
        kept, ballot = self.keeping.kept[event_id], self.ballots.setdefault(event_id, Ballot())
        ballot.tried.add(voter)
        try:
            approved = await votes.vote(voter, StoredEvent(event_id, kept.event_type, kept.data))
        except FAILURES as error:
            self._note(process, error)
            return
        ballot.counted.add(voter)
        ballot.approved = ballot.approved or approved
        self.stage.checks["told when it is approved"] += 1
        if approved and not self._is_approved(event_id):
            self.stage.history.violate("told when it is approved", f"{event_id[:8]} is not approved")

    def _is_approved(self, event_id: str) -> bool:
        return self.stage.truth.fields(f"approvals/{event_id}") is not None

    async def _pause(self, process: Process, longest: float) -> None:
        await process.clock.sleep(timedelta(seconds=self.rng.uniform(0.0, longest)))

    def _note(self, process: Process, error: Exception) -> None:
        self.stage.history.add(process.name, f"failed: {error!r:.150}")

    # What may never happen, and the end -------------------------------------------------------------------

    def observe(self, rpc: str, request: object, response: object) -> None:
        self.leadership.observe(rpc, request, response)
        self.keeping.observe(rpc, request, response)

    def calmed(self) -> None:
        self.unruly = False

    async def finish(self, process: Process) -> None:
        others = [self.stage.process(f"last{number}", mortal=False) for number in range(3)]
        for other, play in zip(others, (self._broadcast, self._receive, self._listen), strict=True):
            if play != self._listen or self.listeners:
                other.start(play(other))
        waited = 0.0
        while left := [event_id for event_id in self.keeping.kept if not self._has_arrived(event_id)]:
            if waited > _PATIENCE:
                self.stage.history.violate(
                    "liveness", f"{left} have not arrived after {waited} s without faults"
                )
                break
            await asyncio.sleep(5.0)
            waited += 5.0
        for other in others:
            other.die()
        store = self._store(process)
        listed, unreceived = await store.get_events(), await store.get_unreceived_events()
        self.keeping.judge([one.id for one in listed], [one.id for one in unreceived])
        await self._forget(store)
        for event_id in [one for one in self.keeping.kept if self._is_approved(one)]:
            kept = self.keeping.kept[event_id]
            if not self.keeping.life(event_id).known and self.voting:
                self.stage.checks["what is approved is not stored"] += 1
                await store.store(kept.data, kept.event_type)
                if self.keeping.life(event_id).known:
                    self.stage.history.violate("what is approved is not stored", event_id)
        if self.voting:
            votes = self._votes(self.stage.box(process))
            for event_id, ballot in list(self.ballots.items()):
                await self._vote_on(process, votes, sorted(ballot.tried)[0], event_id)

    async def _forget(self, store: EventStore) -> None:
        """What is deleted is known for as long as it is remembered, and comes again after that."""
        event_id = next((one for one in self.keeping.kept if self.keeping.life(one).held), None)
        if event_id is None or self.voting:
            return
        kept = self.keeping.kept[event_id]
        kept.deleting = True
        await store.delete_event(event_id)
        for wait, held in (
            (timedelta(0), False),
            (self.remember or timedelta(days=1), self.remember is not None),
        ):
            await asyncio.sleep(wait.total_seconds())
            await store.store(kept.data, kept.event_type)
            self.stage.checks["remembered for so long"] += 1
            if self.keeping.life(event_id).held != held:
                self.stage.history.violate(
                    "remembered for so long", f"{event_id[:8]}, {wait} after its deletion"
                )

    def _has_arrived(self, event_id: str) -> bool:
        life = self.keeping.life(event_id)
        return life.received if life.held else True

    def judge(self) -> None:
        violate, checks = self.stage.history.violate, self.stage.checks
        for event_id, ballot in self.ballots.items():
            fields = self.stage.truth.fields(f"approvals/{event_id}")
            times = 0 if fields is None else fields["n"].integer_value
            checks["approved exactly once"] += 1
            if times > 1 or (len(ballot.counted) >= self.threshold and not times):
                violate("approved exactly once", f"{event_id[:8]} was approved {times} times by {ballot}")
            if times and len(ballot.tried) < self.threshold:
                violate(
                    "approved by a quorum",
                    f"{event_id[:8]} was approved by {ballot}, not by {self.threshold}",
                )
        if self.listeners:
            checks["liveness"] += 1

    def figures(self) -> dict[str, int]:
        return {
            "stored": self.keeping.lives,
            "takeovers": self.leadership.takeovers,
            "ballots": len(self.ballots),
        }
