"""What is promised of locks and of the places that they guard, watched at each write."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from eventbox.sources import Committer, DistributedLock
from eventbox.sources.lock import GRAIN
from tests.simulation.process import Process
from tests.simulation.stage import Stage

_GRAIN_US = GRAIN // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True)
class Lease:
    """What a lock's document says."""

    holder: bytes  # empty: it was let go
    token: int
    lease_us: int
    time_us: int


@dataclass(frozen=True, slots=True)
class Place:
    """What an ingestor's document says."""

    token: int
    latest: bytes | None


class Leadership:
    """Watches all locks and all committers of one history.

    Args:
        moved: called with the ingestor, and its place before and after, whenever that has moved.
    """

    def __init__(self, stage: Stage, moved: Callable[[str, bytes | None, bytes], None]) -> None:
        self.stage = stage
        self.takeovers = 0
        self.commits = 0
        self._moved = moved
        self._locks: dict[str, list[tuple[Process, DistributedLock]]] = {}
        self._leases: dict[str, Lease] = {}
        self._holders: dict[str, bytes] = {}
        self._places: dict[str, Place] = {}
        self.written_by: dict[bytes, int] = {}
        """With which token; by what the writes bear."""
        self.claimed: dict[str, int] = {}
        """The largest token that was told that it holds an ingestor's place."""

    def lock(
        self, process: Process, key: str, heartbeat: timedelta, lease: timedelta | None, rng: Random
    ) -> DistributedLock:
        """A contender for a lock."""
        client = self.stage.client(process)
        lock = DistributedLock(
            client,
            key,
            heartbeat=heartbeat,
            lease=lease,
            clock=process.clock,
            rng=Random(rng.getrandbits(64)),
        )
        self._locks.setdefault(lock._document.id, []).append((process, lock))
        return lock

    def committer(self, process: Process, rng: Random) -> Committer:
        """A committer whose writes are known again in the database."""
        return _Committer(self, self.stage.client(process), process, rng.getrandbits(64))

    def leaders(self) -> list[Process]:
        """All who hold a lock now, by the database, and live."""
        return [holder for lock in self._locks if (holder := self.holder(lock)) is not None]

    def holder(self, lock: str) -> Process | None:
        """Who holds a lock (by its document's ID) now, by the database; None where nobody does that lives."""
        lease = self._leases.get(lock)
        for process, one in self._locks[lock]:
            session = one._session
            if not process.dead and lease and session is not None and session.holder == lease.holder:
                return process
        return None

    def latest(self, ingestor: str) -> bytes | None:
        """How far an ingestor has come."""
        place = self._places.get(ingestor)
        return None if place is None else place.latest

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        """Look at what an RPC has written."""
        if rpc != "Commit":
            return
        for write in request.writes:
            name = write.update.name
            if "/eventbox_locks/" in name:
                self._look_at_lease(name)
            elif "/eventbox_commits/" in name:
                self._look_at_place(name)

    def _look_at_lease(self, name: str) -> None:
        version = self.stage.truth.version(name)
        fields = version.message.fields
        if "token" not in fields:
            return  # tells that one waits
        lock = name.rpartition("/")[2]
        before = self._leases.get(lock)
        holder = fields["holder"].bytes_value if "holder" in fields else b""
        now = Lease(holder, fields["token"].integer_value, fields["lease"].integer_value, version.time_us)
        self._leases[lock] = now
        if holder and holder != self._holders.get(lock):
            self._taken(lock, before, now)
            self._holders[lock] = holder
        elif before is not None and (now.token != before.token or (holder and not before.holder)):
            self._violate(
                "at most one leader", f"{lock} was let go, and is held again by the same one: {now}"
            )

    def _taken(self, lock: str, before: Lease | None, now: Lease) -> None:
        checks = self.stage.checks
        self.takeovers += 1
        if before is not None:
            checks["the token rises"] += 1
            if now.token <= before.token:
                self._violate("the token rises", f"of {lock} it went from {before.token} to {now.token}")
            if before.holder:
                checks["a lease lasts"] += 1
                passed = now.time_us - before.time_us
                if passed < before.lease_us - _GRAIN_US:
                    self._violate("a lease lasts", f"{lock} was taken {passed} us after the last heartbeat")
        for process, contender in self._locks[lock]:
            session = contender._session
            if process.dead or session is None or session.holder == now.holder:
                continue
            checks["at most one leader"] += 1
            if contender.held:
                self._violate("at most one leader", f"{process.name} still holds {lock}, and another took it")

    def _look_at_place(self, name: str) -> None:
        fields = self.stage.truth.version(name).message.fields
        ingestor = fields["ingestor"].string_value
        before = self._places.get(ingestor, Place(0, None))
        latest = fields["latest"].bytes_value if "latest" in fields else None
        now = Place(fields["token"].integer_value, latest)
        self._places[ingestor] = now
        by = self.written_by[fields["nonce"].bytes_value]
        self.stage.checks["no commit by a lost lease"] += 1
        claimed = max(before.token, self.claimed.get(ingestor, 0))
        if by < claimed or now.token < before.token:
            self._violate(
                "no commit by a lost lease", f"{ingestor} was claimed with {claimed}, {by} wrote {now}"
            )
        if latest is not None and latest != before.latest:
            self.commits += 1
            self._moved(ingestor, before.latest, latest)
        elif latest is None and before.latest is not None:
            self._violate(
                "the pointer only moves on", f"that of {ingestor} is gone, it was {before.latest!r}"
            )

    def _violate(self, promise: str, detail: str) -> None:
        self.stage.history.violate(promise, detail)


class _Committer(Committer):
    """Remembers with which token it wrote what."""

    def __init__(self, leadership: Leadership, client: Any, process: Process, seed: int) -> None:
        super().__init__(client, clock=process.clock, rng=_Dice(seed, self._drawn))
        self._leadership = leadership
        self._token = 0

    def _drawn(self, nonce: bytes) -> None:
        self._leadership.written_by[nonce] = self._token

    async def claim(self, ingestor: str, token: int) -> None:
        self._token = token
        await super().claim(ingestor, token)
        claimed = self._leadership.claimed
        claimed[ingestor] = max(claimed.get(ingestor, 0), token)

    async def commit(
        self, ingestor: str, parent: bytes | None, block: bytes, *, token: int | None = None
    ) -> None:
        self._token = token or 0
        await super().commit(ingestor, parent, block, token=token)


class _Dice(Random):
    """Tells what bytes were drawn."""

    def __init__(self, seed: int, told: Callable[[bytes], None]) -> None:
        super().__init__(seed)
        self._told = told

    def randbytes(self, n: int) -> bytes:
        drawn = super().randbytes(n)
        self._told(drawn)
        return drawn
