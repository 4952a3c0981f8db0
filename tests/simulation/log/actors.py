"""Who orders the log, follows it, reads it and trims it."""

from __future__ import annotations

from datetime import timedelta

from eventbox import ContentionError, EventBox
from eventbox.log import EventLog, TrimmedError
from eventbox.log.track import PERSISTENT, TRIMABLE
from tests.simulation.actors import FAILURES
from tests.simulation.log.scene import Following, LogScene


class LogActor:
    """One process's part."""

    def __init__(self, scene: LogScene, box: EventBox, log: EventLog, name: str) -> None:
        self.scene = scene
        self.ledger = scene.ledger
        self.rng = scene.rng
        self.box = box
        self.log = log
        self.name = name
        self.goes = 0

    async def rest(self, longest: float) -> None:
        """Between two goes; longer and longer, for histories in which somebody stands still are long."""
        self.goes += 1
        seconds = self.rng.uniform(0.0, longest) * (1.0 + self.goes / 10)
        await self.box.clock.sleep(timedelta(seconds=seconds))

    def note(self, what: str) -> None:
        self.scene.stage.history.add(self.name, what)

    def violate(self, promise: str, detail: str) -> None:
        self.scene.stage.history.violate(promise, f"{self.name}: {detail}")


class Orderer(LogActor):
    """Orders, in one of the ways there are, until it dies."""

    async def listen(self) -> None:
        """As those do who have no tasks."""
        await self.log.run_ordering(interval=timedelta(seconds=self.rng.choice((0.0, 1.0))))

    async def step(self) -> None:
        """Step by step, or as a worker does that was woken up."""
        longest = self.rng.choice((0.1, 0.5, 2.0, 5.0))
        drains = self.rng.choice((0.0, 0.5, 1.0))
        while True:
            try:
                if self.rng.random() < drains:
                    await self.drain()
                else:
                    await self.order()
            except FAILURES as error:
                self.note(f"failed to order: {error!r:.150}")
                self.ledger.contended += isinstance(error, ContentionError)
            await self.rest(longest)

    async def order(self) -> int:
        taken = await self.log.order()
        self.ledger.taken += taken
        self.note(f"has ordered {taken}")
        return taken

    async def drain(self) -> None:
        report = await self.box.drain(
            self.log.recipient,
            self.log.processor(),
            max_events=self.rng.choice((1, 1, 2, 5, 1_000)),
            max_batches=self.rng.choice((1, 10, None)),
        )
        self.note(f"has drained: {report}")


class Follower(LogActor):
    """Follows under one name, until it dies."""

    async def follow(self, following: Following, *, live: bool) -> None:
        """As a service does that runs for ever, or as a job that comes again."""
        longest = self.rng.choice((1.0, 5.0))
        while True:
            await self.catch_up(following, live=live)
            await self.rest(longest)

    async def catch_up(self, following: Following, *, live: bool = False) -> None:
        """Handle all there is; live: and whatever comes, for ever."""
        name = self.scene.name_of(following)
        start = self.ledger.followers[following.trimable, name]
        handle = self.log.handle_trimable_events if following.trimable else self.log.handle_events
        self.note(f"follows as {name}")
        try:
            await handle(
                name,
                self.scene.handler(self.box, self.log, following, name),
                until_idle=not live,
                batch=self.rng.choice((1, 2, 5, 100)),
                start=start,
            )
        except TrimmedError as error:
            self._trimmed(following, name, error)
        else:
            self.note(f"is idle as {name}")

    def _trimmed(self, following: Following, name: str, error: TrimmedError) -> None:
        self.note(f"comes too late as {name}: {error}")
        truth = self.scene.truth.tracks[following.track]
        if not following.trimable or self.scene.rules.respect_cursors:
            self.violate("trimmed only when it may be", f"{name} comes too late: {error}")
        if not error.position < error.first <= truth.first:
            self.violate("who comes too late is told", f"{name}: {error}, and the first is {truth.first}")
        self.ledger.abandoned.add((following.trimable, name))
        if self.scene.name_of(following) == name:
            self.ledger.followers[following.trimable, f"{following.base}.{error.first}"] = error.first


class Trimmer(LogActor):
    """Trims now and then, until it dies."""

    async def work(self) -> None:
        pace = self.rng.choice((0.2, 2.0))
        while True:
            await self.rest(pace)
            if self.scene.rules.respect_cursors and not self._all_have_begun():
                continue  # who has no cursor counts for nothing
            try:
                await self.trim(self.rng.choice((1, 100_000, 100_000)))
            except FAILURES as error:
                self.note(f"failed to trim: {error!r:.150}")

    async def trim(self, max_entries: int = 100_000) -> int:
        rules = self.scene.rules
        removed = await self.log.trim(
            min_id_age=rules.min_id_age,
            min_age=rules.min_age,
            max_entries=max_entries,
            respect_cursors=rules.respect_cursors,
        )
        self.note(f"has trimmed {removed}")
        if removed > max_entries:
            self.violate("trimmed only when it may be", f"{removed} entries at once, of {max_entries}")
        return removed

    def _all_have_begun(self) -> bool:
        cursors = self.scene.truth.tracks[TRIMABLE].cursors
        return all(name in cursors for trimable, name in self.ledger.followers if trimable)


class Reader(LogActor):
    """Reads here and there, until it dies: what it gets has to be what the log holds."""

    async def work(self) -> None:
        while True:
            await self.rest(5.0)
            try:
                await self.rng.choice((self.read, self.read, self.ask))()
            except FAILURES as error:
                self.note(f"failed to read: {error!r:.150}")

    async def read(self) -> None:
        track = self.rng.choice((PERSISTENT, TRIMABLE))
        truth = self.scene.truth.tracks[track]
        first, end = truth.first, len(truth.entries)
        position = self.rng.randint(0, end + 1)
        limit = self.rng.choice((1, 2, 1_000))
        read = self.log.read if track is PERSISTENT else self.log.read_trimable
        self.ledger.reads += 1
        self.scene.stage.checks["reads tell what is there"] += 1
        try:
            entries = await read(position, limit)
        except TrimmedError as error:
            self.note(f"reads too late: {error}")
            if not (position < error.first and first <= error.first <= truth.first):
                self.violate("who comes too late is told", f"{error}, and the first is {truth.first}")
            return
        self.note(f"reads {len(entries)} from {position} of {track.name}")
        if position < first:
            self.violate("who comes too late is told", f"{position} was read, and {first} is the first")
        if entries != truth.entries[position : position + len(entries)]:
            self.violate("one order for all", f"{entries} were read from {position} of {track.name}")
        if first == truth.first and len(entries) < min(limit, end - position):
            self.violate(
                "reads tell what is there", f"{len(entries)} came from {position} of {track.name}, {end} long"
            )

    async def ask(self) -> None:
        """Where the log ends, and where a follower is."""
        for track, asked in ((PERSISTENT, self.log.next_id), (TRIMABLE, self.log.next_trimable_id)):
            truth = self.scene.truth.tracks[track]
            before = len(truth.entries)
            told = await asked()
            if not before <= told <= len(truth.entries):
                self.violate("reads tell what is there", f"the next ID of {track.name} is {told}")
        following = self.rng.choice(self.scene.followers)
        name = self.scene.name_of(following)
        cursors = self.scene.truth.tracks[following.track].cursors
        earlier = cursors.get(name)
        position = await self.log.cursor(name, trimable=following.trimable)
        if not (earlier or 0) <= (position or 0) <= cursors.get(name, 0):
            self.violate("reads tell what is there", f"the cursor of {name} is {position}")
        await self.log.overview()
