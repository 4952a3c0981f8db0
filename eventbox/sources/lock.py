"""`DistributedLock`: a lease in Firestore that one process holds at a time, and keeps by a heartbeat."""

from __future__ import annotations

import asyncio
import logging
import math
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random, SystemRandom
from types import TracebackType
from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.base_query import FieldFilter

from dsset import documents, protos
from dsset.clock import Clock, SystemClock
from dsset.retry import is_transient
from eventbox.sources.ending import end
from eventbox.sources.errors import LockHeldError, LockLostError
from eventbox.sources.versioned_document import Found, SupersededError, VersionedDocument
from eventbox.sources.watch import Watch

logger = logging.getLogger(__name__)

LOCKS = "eventbox_locks"
"""The collection of all locks: `free`, which those who wait ask for, is its only indexed field."""

GRAIN = timedelta(milliseconds=1)
"""Taken off the lease on the holder's side and left to those who take it over: the server's commit times only rise, so
that one may run ahead of its read times by a little."""

_MAX_KEY_BYTES = 1_024
_ATTEMPT = timedelta(minutes=1)
_STAND_BACK = timedelta(seconds=1)


@dataclass(slots=True, eq=False)
class _Session:
    """One time that the lock was held."""

    holder: bytes
    token: int
    version: Any
    began: Any  # the version that it began with
    deadline: float  # on the monotonic clock
    lost: bool = False
    tasks: list[asyncio.Task[None]] = field(default_factory=list)


class DistributedLock:
    """A lock that at most one process holds at a time, for as long as it keeps its lease.

        lock = DistributedLock(client, "ingest", heartbeat=timedelta(seconds=5))
        async with lock:                 # cancelled, and LockLostError, if the lease is lost meanwhile
            await work(lock.token)

    The holder writes to the lease document at every heartbeat. Others may take the lock over when, by the *server's*
    times, a lease has passed since the last write: no clock of a participant matters. The holder itself reckons when
    its lease ends on its monotonic clock, from before it sent the heartbeat, so it knows no later than the others do.

    A process may nevertheless stand still beyond its lease, and go on afterwards without knowing. Whatever it writes
    then must be refused: hand the `token`, which rises with each new holder, to what you write to, as `Committer` does.

    Who waits is told at once when the lock is let go, and otherwise looks again when the lease would end. First come,
    first served is not promised; but one that lets go while others wait stands back for a random moment, so that it
    cannot keep them out by coming back at once.

    Args:
        client: an AsyncClient.
        key: which lock: 1 to 1,024 bytes of UTF-8. Locks of different keys are independent, and their tokens compare.
        heartbeat: how often the lease is renewed. Firestore takes about one write a second to a document for good, so a
            second is the least to use in production.
        lease: how long the lock stays taken after a crash; 3 heartbeats by default, and more than one.
        clock: what it waits by.
        rng: where nonces and jitter come from; the operating system by default.

    On Cloud Run a heartbeat needs CPU that is always allocated.

    Cost: 1 read and 1 write to take it (2 reads for an object that had it before, and looks whether others wait), 1
    write a heartbeat, 1 write to let it go. Waiting: 1 write and 3 reads at first, then 1 read a lease, and 2 when the
    lock is let go.
    """

    def __init__(
        self,
        client: AsyncClient,
        key: str,
        *,
        heartbeat: timedelta,
        lease: timedelta | None = None,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        if not isinstance(client, AsyncClient):
            raise TypeError(
                f"client must be a google.cloud.firestore.AsyncClient, not {type(client).__name__}"
            )
        if not isinstance(key, str):
            raise TypeError(f"key must be a str, not {type(key).__name__}")
        if not 1 <= len(key.encode()) <= _MAX_KEY_BYTES:
            raise ValueError(f"key must have 1 to {_MAX_KEY_BYTES:,} bytes of UTF-8: {key!r:.100}")
        _check_positive("heartbeat", heartbeat)
        lease = 3 * heartbeat if lease is None else lease
        _check_positive("lease", lease)
        if lease <= heartbeat or lease <= 2 * GRAIN:
            raise ValueError(
                f"lease must be longer than the heartbeat ({heartbeat}) and than 2 ms, not {lease}"
            )
        self.key = key
        self.lost = asyncio.Event()
        """Set when the lease is lost; cleared when the lock is taken again."""
        self._client = client
        self._heartbeat = heartbeat
        self._lease = lease
        self._clock = clock or SystemClock()
        self._rng = rng or SystemRandom()
        self._document = VersionedDocument(client, LOCKS, key, clock=self._clock, rng=self._rng)
        self._waiters = VersionedDocument(
            client, LOCKS, key, role=b"waiters", clock=self._clock, rng=self._rng
        )
        self._session: _Session | None = None
        self._last: _Session | None = None
        self._taking = False
        self._guarded: tuple[asyncio.Task[Any], int] | None = None

    @property
    def token(self) -> int:
        """The fencing token of the last time that this object took the lock; 0 before the first."""
        session = self._session or self._last
        return 0 if session is None else session.token

    @property
    def held(self) -> bool:
        """Whether this object holds the lock now, by its own clock."""
        session = self._session
        return session is not None and not session.lost and self._remaining(session) > timedelta(0)

    async def lock(self) -> None:
        """Wait until the lock is free, and take it; `lost` is cleared, and `token` is larger than ever before.

        Outages are waited out. If it is cancelled while its request to take the lock is under way, the lock may stay
        taken for a lease.

        Raises:
            LockHeldError: this object holds the lock, or is waiting for it.
            GoogleAPICallError: Firestore refused, for want of a permission, say.
        """
        if self._taking or (self._session is not None and not self._session.lost):
            raise LockHeldError(
                f"this object {'is waiting for' if self._taking else 'holds'} the lock {self.key!r} already"
            )
        self._taking = True
        try:
            if self._session is not None:  # lost, and never unlocked
                await self.unlock()
            session = await self._acquire()
        finally:
            self._taking = False
        self.lost.clear()
        self._session = session
        session.tasks = [
            asyncio.create_task(self._renew(session), name=f"heartbeat of {self.key}"),
            asyncio.create_task(self._watch_deadline(session), name=f"lease of {self.key}"),
        ]

    async def unlock(self) -> None:
        """Let go of the lock, if this object holds it; otherwise this changes nothing.

        What goes wrong is logged and not raised, so that it may stand in a `finally`: the lease then runs out.
        """
        session, self._session = self._session, None
        if session is None:
            return
        self._last = session
        await end(*session.tasks)
        if session.lost:
            return
        fields = self._fields(session.token)
        fields["free"] = protos.Value(string_value=self._document.id)
        timeout = min(self._heartbeat, self._remaining(session))
        try:
            while not await self._write(session, fields, timeout):
                # a heartbeat that was under way when it was ended may have been carried out
                found = await self._document.read(timeout)
                if found.bytes("holder") != session.holder:
                    return
                session.version = found.version
        except GoogleAPICallError as error:
            logger.warning(
                "lock %r could not be let go, and is free when its lease has run out: %s", self.key, error
            )

    async def __aenter__(self) -> DistributedLock:
        await self.lock()
        task = asyncio.current_task()
        assert task is not None
        self._guarded = (task, task.cancelling())
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._guarded is not None
        (task, cancelling), self._guarded = self._guarded, None
        lost = self.lost.is_set()
        if lost:  # by then our cancellation has reached the body, whatever that made of it
            task.uncancel()
        await self.unlock()
        if lost and (kind is None or (kind is asyncio.CancelledError and task.cancelling() <= cancelling)):
            raise LockLostError(
                f"the lease of lock {self.key!r} was lost, so what it guards was cancelled; take the lock again"
            ) from error

    # Taking it ------------------------------------------------------------------------------------------------

    async def _acquire(self) -> _Session:
        free = self._client.collection(LOCKS).where(filter=FieldFilter("free", "==", self._document.id))
        waited = False
        if await self._owes_a_turn():
            await self._stand_back()
        async with Watch(free.limit(1), self._clock, self._rng) as watch:
            while True:
                try:
                    found = await self._document.read(_ATTEMPT)
                    taken_for = self._taken_for(found)
                    if taken_for <= timedelta(0):
                        session = await self._take(found)
                        if session is not None:
                            return session
                        continue
                    if not waited:
                        waited = True
                        await self._tell_that_one_waits()
                except GoogleAPICallError as error:
                    if not is_transient(error):
                        raise
                    logger.warning(
                        "lock %r could not be looked at, which is tried again: %s", self.key, error
                    )
                    continue
                await watch.wait(taken_for)

    def _taken_for(self, found: Found) -> timedelta:
        """How long from now the lock is taken, unless its holder writes again."""
        if found.version is None or "free" in found.fields:
            return timedelta(0)
        return timedelta(microseconds=found.integer("lease")) - GRAIN - found.age

    async def _take(self, found: Found) -> _Session | None:
        """Take it, if it is still as it was found."""
        holder = self._rng.randbytes(16)
        token = max(found.integer("token") + 1, documents.microseconds(found.read_time))
        deadline = self._deadline()
        try:
            version = await self._document.replace(self._fields(token, holder), found.version, self._lease)
        except SupersededError:
            return None
        session = None if version is None else _Session(holder, token, version, version, deadline)
        # answers that came late may have used up the lease: then it is nobody's until it has run out
        return session if session is not None and self._remaining(session) > timedelta(0) else None

    async def _owes_a_turn(self) -> bool:
        """Whether somebody began to wait while this object held the lock the last time."""
        last = self._last
        if last is None or last.lost:
            return False
        try:
            found = await self._waiters.read(_ATTEMPT)
        except GoogleAPICallError as error:
            if not is_transient(error):
                raise
            return False
        return found.version is not None and documents.moment(found.version) > documents.moment(last.began)

    async def _stand_back(self) -> None:
        """Leave the lock to those who wait, until one has it, or for a moment if none of them comes."""
        jitter = min(self._heartbeat, _STAND_BACK) * self._rng.uniform(0.2, 0.5)
        until = self._clock.monotonic() + jitter.total_seconds()
        document = self._client.collection(LOCKS).document(self._document.id)
        async with Watch(document, self._clock, self._rng) as watch:
            while (remaining := until - self._clock.monotonic()) > 1e-6:
                try:
                    if self._taken_for(await self._document.read(_ATTEMPT)) > timedelta(0):
                        return
                except GoogleAPICallError as error:
                    if not is_transient(error):
                        raise
                await watch.wait(timedelta(seconds=remaining))

    async def _tell_that_one_waits(self) -> None:
        found = await self._waiters.read(_ATTEMPT)
        try:
            await self._waiters.replace({"key": protos.Value(string_value=self.key)}, found.version, _ATTEMPT)
        except SupersededError:
            return  # another one has told

    # Keeping it -----------------------------------------------------------------------------------------------

    async def _renew(self, session: _Session) -> None:
        while True:
            await self._clock.sleep(self._heartbeat)
            while not await self._beat(session):
                if session.lost:
                    return

    async def _beat(self, session: _Session) -> bool:
        """Write to the lease document; whether the lease is renewed. Tells if it is lost."""
        if self._remaining(session) == timedelta(0):
            self._lose(session, "it could not be renewed in time")
            return False
        deadline = self._deadline()
        try:
            fields = self._fields(session.token, session.holder)
            if await self._write(session, fields, self._remaining(session)):
                session.deadline = deadline
                return True
            # an earlier heartbeat, given up for lost, may have been carried out after all
            found = await self._document.read(self._remaining(session))
            if found.bytes("holder") == session.holder:
                session.version = found.version
            else:
                self._lose(session, "another one holds it")
            return False
        except GoogleAPICallError as error:
            logger.warning("the lease of lock %r could not be renewed: %s", self.key, error)
            await self._clock.sleep(min(self._heartbeat / 2, _STAND_BACK))
            return False

    async def _write(self, session: _Session, fields: dict[str, Any], timeout: timedelta) -> bool:
        try:
            version = await self._document.replace(fields, session.version, timeout)
        except SupersededError:
            return False
        if version is None:
            return False
        session.version = version
        return True

    async def _watch_deadline(self, session: _Session) -> None:
        while (remaining := self._remaining(session)) > timedelta(0):
            await self._clock.sleep(remaining)
        self._lose(session, "it could not be renewed in time")

    def _lose(self, session: _Session, reason: str) -> None:
        """Tell that the lease is lost: once, and at once."""
        if session.lost or session is not self._session:
            return
        session.lost = True
        logger.warning("lock %r was lost: %s", self.key, reason)
        self.lost.set()
        current = asyncio.current_task()
        for task in session.tasks:
            if task is not current:
                task.cancel()
        if self._guarded is not None:
            self._guarded[0].cancel()

    def _deadline(self) -> float:
        """When, on the monotonic clock, a lease ends whose write is sent now."""
        return self._clock.monotonic() + (self._lease - GRAIN).total_seconds()

    def _remaining(self, session: _Session) -> timedelta:
        # rounded up, or a clock without fractions of a microsecond would stand before the deadline for ever
        seconds = session.deadline - self._clock.monotonic()
        return timedelta(microseconds=max(0, math.ceil(seconds * 1e6 - 0.01)))

    def _fields(self, token: int, holder: bytes | None = None) -> dict[str, Any]:
        fields = {
            "key": protos.Value(string_value=self.key),
            "token": protos.Value(integer_value=token),
            "lease": protos.Value(integer_value=self._lease // timedelta(microseconds=1)),
        }
        if holder is not None:
            fields["holder"] = protos.Value(bytes_value=holder)
        return fields


def _check_positive(name: str, value: object) -> None:
    if not isinstance(value, timedelta):
        raise TypeError(f"{name} must be a timedelta, not {type(value).__name__}")
    if value <= timedelta(0):
        raise ValueError(f"{name} must be positive, not {value}")
