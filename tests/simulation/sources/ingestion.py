"""The workload of leadership that moves: feeds taken in by one process at a time, and other work of leaders."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field, replace
from datetime import timedelta
from random import Random

from google.api_core.exceptions import GoogleAPICallError

from dsset.documents import document_id
from eventbox import (
    ContentionError,
    DocumentProcessor,
    Event,
    Mutation,
    Recipient,
    Transition,
    UnknownOutcomeError,
)
from eventbox.sources import BoxWriter, InvalidCommitError, Leader, LockLostError, run
from tests.simulation.process import Process
from tests.simulation.sources.feed import Feed, Follower
from tests.simulation.sources.leadership import Leadership
from tests.simulation.stage import Stage
from tests.simulation.workload import Role, Workload

_PROMPT = 5.0
"""Seconds, besides its lease, within which a lock is taken over."""

_PATIENCE = 120.0
"""Seconds within which a feed without faults is taken in."""

_RPCS = 550
"""After so many, the feeds grow no more: a history is to end."""

CHAIN = "chain"
"""The lock, and the place, of those who do not listen when they are told that it is lost."""

WORK = "work"
"""The lock of those who lead without a feed."""


@dataclass
class Taken:
    """The state of the recipient of a feed's events."""

    values: list[str] = field(default_factory=list)


class _Taking(DocumentProcessor[Taken]):
    async def prepare_mutation(self, events: Sequence[Event], state: Taken) -> Mutation[Taken]:
        values = [event.value.decode() for event in events]
        if not values:
            return Mutation()
        return Mutation([Transition(replace(state, values=[*state.values, *values]), events=events)])


class Ingestion(Workload):
    """Several processes want to take in the same feeds; one may, and each block arrives once, in order."""

    name = "ingestion"

    def __init__(self, stage: Stage, rng: Random) -> None:
        super().__init__(stage, rng)
        self.leadership = Leadership(stage, self._moved)
        self.feeds = {name: Feed(name) for name in ("deposits", "history")[: rng.randint(1, 2)]}
        self.heartbeat = timedelta(seconds=rng.choice((1, 2, 5)))
        self.lease = rng.choice((None, self.heartbeat * 1.5))
        self.leading: Counter[Process] = Counter()

    def roles(self) -> Sequence[Role]:
        rng = self.rng
        roles = [Role("feeder", self._grow, ends=True), Role("consumer", self._consume)]
        for name in self.feeds:
            roles += [Role(f"{name}{number}", self._ingest(name)) for number in range(rng.randint(1, 3))]
        roles += [Role(f"leader{number}", self._lead) for number in range(rng.randint(0, 2))]
        if rng.random() < 0.5:
            roles += [Role(f"stubborn{number}", self._insist) for number in range(2)]
        if rng.random() < 0.5:
            roles.append(Role("starver", self._starve))
        return roles

    # What they do -----------------------------------------------------------------------------------------

    async def _grow(self, process: Process) -> None:
        blocks = self.rng.randint(2, 12)
        while len(self.feeds["deposits"].blocks) < blocks and self.stage.history.rpcs < _RPCS:
            for feed in self.feeds.values():
                for _ in range(self.rng.choice((0, 1, 1, 4))):
                    feed.grow(self.rng.choice((0, 1, 3)))
            await asyncio.sleep(self.rng.choice((0.1, 5.0, 15.0)))

    def _ingest(self, name: str) -> Callable[[Process], Awaitable[None]]:
        async def ingest(process: Process) -> None:
            rng, box = self.rng, self.stage.box(process)
            lock = self.leadership.lock(process, name, self.heartbeat, self.lease, rng)
            writer = BoxWriter(box, Recipient(box.client.document(f"taken/{name}"), "taken"))
            follower = Follower(self.feeds[name], process.clock, rng)
            committer = self.leadership.committer(process, rng)
            await run(
                lock, committer, writer, follower,
                concurrency=rng.choice((1, 3, 16)), clock=process.clock, rng=Random(rng.getrandbits(64)),
            )  # fmt: skip

        return ingest

    async def _consume(self, process: Process) -> None:
        box = self.stage.box(process)
        while True:
            for name in self.feeds:
                await self._drain(process, box, name)
            await process.clock.sleep(timedelta(seconds=self.rng.uniform(1.0, 20.0)))

    async def _drain(self, process: Process, box: object, name: str) -> bool:
        assert hasattr(box, "drain")
        to = Recipient(box.client.document(f"taken/{name}"), "taken")
        try:
            report = await box.drain(to, _Taking(to, Taken), max_events=self.rng.choice((3, 1_000)))
        except (GoogleAPICallError, ContentionError, UnknownOutcomeError) as error:
            self.stage.history.add(process.name, f"failed: {error!r:.150}")
            return False
        return bool(report.drained)

    async def _lead(self, process: Process) -> None:
        """Lead for a while, again and again: by `Leader`, or by the lock itself."""
        rng = self.rng
        lock = self.leadership.lock(process, WORK, self.heartbeat, self.lease, rng)
        while True:
            if rng.random() < 0.5:
                await Leader(lock).run(lambda token: self._work(process))
            else:
                try:
                    async with lock:
                        await self._work(process)
                except LockLostError:
                    self.stage.history.add(process.name, "has lost its lease")
            if self.leading[process]:
                self.stage.history.violate(
                    "work ends with the lease", f"{process.name} leads no more, and works"
                )
            await process.clock.sleep(timedelta(seconds=rng.choice((0.0, 3.0))))

    async def _work(self, process: Process) -> None:
        self.leading[process] += 1
        try:
            await process.clock.sleep(timedelta(seconds=self.rng.choice((0.1, 5.0, 30.0))))
        finally:
            try:
                await asyncio.sleep(0)  # it takes a moment to clean up
            finally:
                self.leading[process] -= 1

    async def _insist(self, process: Process) -> None:
        """Commit, once the lock was taken, whatever becomes of the lease, until that is refused."""
        rng = self.rng
        lock = self.leadership.lock(process, CHAIN, self.heartbeat, self.lease, rng)
        committer = self.leadership.committer(process, rng)
        while True:
            await lock.lock()
            try:
                await committer.claim(CHAIN, lock.token)
                latest = await committer.latest(CHAIN)
                while True:
                    await process.clock.sleep(self.heartbeat * rng.uniform(0.1, 3.0))
                    block = b"%06d" % (1 if latest is None else int(latest) + rng.randint(1, 3))
                    await committer.commit(CHAIN, latest, block, token=lock.token)
                    latest = block
            except (GoogleAPICallError, InvalidCommitError, UnknownOutcomeError) as error:
                self.stage.history.add(process.name, f"failed: {error!r:.150}")
            await lock.unlock()

    async def _starve(self, process: Process) -> None:
        """Have leaders stand still beyond their lease, and go on without knowing."""
        rng, lease = self.rng, (self.lease or self.heartbeat * 3).total_seconds()
        while True:
            await asyncio.sleep(rng.uniform(0.5, 3.0) * lease)
            leaders = self.leadership.leaders()
            if leaders:
                seconds, leader = rng.uniform(0.5, 2.0) * lease, rng.choice(leaders)
                self.stage.history.fault(leader.name, "starved", f"stands still for {seconds:.1f} s")
                leader.stand_still(seconds)

    # What may never happen --------------------------------------------------------------------------------

    def observe(self, rpc: str, request: object, response: object) -> None:
        self.leadership.observe(rpc, request, response)

    def _moved(self, name: str, before: bytes | None, after: bytes) -> None:
        """The pointer has moved: all that it has moved over has to be there."""
        stage = self.stage
        feed = self.feeds.get(name, Feed(name))
        begin, end = feed.position(before), feed.position(after)
        stage.history.add("", f"{name} is taken in up to {after!r}")
        if end <= begin:
            stage.history.violate(
                "the pointer only moves on", f"that of {name} went from {before!r} to {after!r}"
            )
        for number in range(begin, end) if name in self.feeds else ():
            for event_id in feed.event_ids(number):
                stage.checks["a block before its pointer"] += 1
                if stage.truth.fields(f"taken/{name}/eventbox_inbox/{document_id(event_id)}") is None:
                    stage.history.violate(
                        "a block before its pointer", f"{name} is at {after!r}, without {number}"
                    )

    # The end ----------------------------------------------------------------------------------------------

    def calmed(self) -> None:
        for feed in self.feeds.values():
            feed.unruly = False

    async def finish(self, process: Process) -> None:
        for name, feed in self.feeds.items():
            await self._succeed(name, self._ingest(name), lambda feed=feed: feed.grow(2))  # type: ignore[misc]
            box = self.stage.box(process)
            if not await self._drain(process, box, name):
                self.stage.history.violate("liveness", f"what {name} brought is not consumed")
        await self._succeed(WORK, self._lead, lambda: None)

    async def _succeed(
        self, key: str, play: Callable[[Process], Awaitable[None]], grow: Callable[[], None]
    ) -> None:
        """Let one lead, and another one that waits; once the first has died, the second takes over soon."""
        stage = self.stage
        lease = (self.lease or self.heartbeat * 3).total_seconds()
        one, other = (stage.process(f"{key}.last", mortal=False) for _ in range(2))
        probe = self.leadership.lock(other, key, self.heartbeat, self.lease, self.rng)
        for process, within in ((one, _PROMPT), (other, lease + _PROMPT)):
            grow()
            if process is one:
                process.start(play(process))  # type: ignore[arg-type]
            if key == WORK:
                within += 70.0  # for the work of the one before, and as many turns as it took
            if not await self._within(
                within, lambda process=process: self.leadership.holder(probe._document.id) is process
            ):  # type: ignore[misc]
                stage.history.violate("taken over in time", f"{process.name} waits for more than {within} s")
            stage.checks["taken over in time"] += 1
            if key != WORK:
                last = self.feeds[key].pointer(len(self.feeds[key].blocks) - 1)
                if not await self._within(_PATIENCE, lambda last=last: self.leadership.latest(key) == last):  # type: ignore[misc]
                    stage.history.violate(
                        "liveness", f"{key} is not taken in: {self.leadership.latest(key)!r}"
                    )
            if process is one:
                other.start(play(other))  # type: ignore[arg-type]
                await asyncio.sleep(2.0)
            process.die()

    async def _within(self, seconds: float, done: Callable[[], bool]) -> bool:
        waited = 0.0
        while not done():
            if waited >= seconds:
                return False
            await asyncio.sleep(0.25)
            waited += 0.25
        return True

    def judge(self) -> None:
        for name, feed in self.feeds.items():
            fields = self.stage.truth.fields(f"taken/{name}")
            values = (
                [] if fields is None else [one.string_value for one in fields["values"].array_value.values]
            )
            expected = {value.decode() for block in feed.blocks for value in block}
            self.stage.checks["each block once"] += len(expected)
            twice = [value for value, times in Counter(values).items() if times > 1]
            if twice or set(values) != expected:
                differing = sorted(set(values) ^ expected)
                self.stage.history.violate(
                    "each block once", f"of {name}: {differing} are amiss, {twice} came twice"
                )

    def figures(self) -> dict[str, int]:
        return {
            "takeovers": self.leadership.takeovers,
            "commits": self.leadership.commits,
            "blocks": sum(len(feed.blocks) for feed in self.feeds.values()),
        }
