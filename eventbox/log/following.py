"""Following: a handler is given each entry, in a transaction that moves the follower's cursor as well."""

from __future__ import annotations

import inspect
import logging
from collections.abc import AsyncGenerator, Awaitable, Callable
from datetime import timedelta
from typing import Protocol, TypeAlias

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1.async_document import AsyncDocumentReference

from dsset.retry import Backoff, is_transient
from eventbox.box import EventBox
from eventbox.commit import Outcome, commit
from eventbox.errors import ContentionError, UnknownOutcomeError
from eventbox.log.cursor import Cursor, CursorDocument
from eventbox.log.entry import LogEntry
from eventbox.log.errors import TrimmedError
from eventbox.log.reading import Reader
from eventbox.log.track import Track
from eventbox.log.watching import watching
from eventbox.transaction import Transaction

_log = logging.getLogger("eventbox.log")

MAX_BATCH = 10_000
"""Entries in one transaction, at most: as many as one may hope to commit within 10 MiB."""

Handler: TypeAlias = Callable[[Transaction, LogEntry], Awaitable[None]]


class _NotAsynchronousError(TypeError):
    """The handler is an ordinary function: no other attempt would change that."""


class Ends(Protocol):
    """Tells how far a log reaches."""

    async def beyond(self, position: int) -> int | None:
        """The next ID of the log, once that is greater than the position; None where nobody is to wait for it."""
        ...


class Follower:
    """One run of one follower: the cursor as last seen, and what to do with the entries from there on."""

    def __init__(
        self,
        box: EventBox,
        ref: AsyncDocumentReference,
        track: Track,
        follower: str,
        handler: Handler,
        *,
        batch: int,
        start: int,
    ) -> None:
        self._box = box
        self._reader = Reader(box, ref, track, patience=timedelta.max)
        self._document = CursorDocument(box, ref, track, follower, patience=timedelta.max)
        self._name = f"{follower!r} on {ref.path} ({track.name})"
        self._handler = handler
        self._batch = batch
        self._start = start
        self._at_once = batch  # fewer for a while, after a batch that could not be committed as one
        self._backoff = self._new_backoff()

    async def run(self, ends: Ends) -> None:
        """Handle entries until `ends` tells that there will be no more."""
        self._cursor = await self._document.load(self._start)
        while await ends.beyond(self._cursor.position) is not None:
            page = await self._page()
            done = 0
            # the cursor may be elsewhere once it had to be looked up: another process has gone on under this name
            while done < len(page) and page[done].id == self._cursor.position:
                done += await self._handle(page[done : done + self._at_once])

    async def _page(self) -> list[LogEntry]:
        """The entries at the cursor; none where that was moved on meanwhile, and what it passed was trimmed."""
        seen = self._cursor
        try:
            return await self._reader.following(seen.position)
        except TrimmedError:
            self._cursor = await self._document.load(self._start)
            if self._cursor.position == seen.position:
                raise
            return []

    async def _handle(self, entries: list[LogEntry]) -> int:
        """Handle the entries in one transaction; how many of the first that did, as far as this process knows."""
        transaction = Transaction(
            self._box._client,
            clock=self._box._clock,
            rng=self._box._rng,
            concurrency=self._box._concurrency,
            token=self._box._rng.randbytes(16),
        )
        failure: Exception | None = None
        handled = 0
        try:
            for entry in entries:
                take_back = transaction._savepoint()
                try:
                    await self._called(transaction, entry)
                except _NotAsynchronousError:
                    raise
                except Exception as error:
                    take_back()
                    failure = error
                    break
                handled += 1
        except BaseException:
            await transaction._end("rolled back")
            raise
        if transaction._aborted is not None:
            await transaction._end("aborted")
            await self._lost(transaction._aborted)
            return 0
        if not handled:
            await transaction._end("rolled back")
        else:
            refusal = await self._commit(transaction, self._cursor.position + handled)
            if isinstance(refusal, ContentionError | UnknownOutcomeError):
                await self._lost(refusal)
                return 0
            if refusal is not None:
                if len(entries) > 1:
                    # one of them makes Firestore refuse all: find out which, so that the others stand
                    self._at_once = max(1, handled // 2)
                    return 0
                failure, handled = refusal, 0
            else:
                self._backoff = self._new_backoff()
                self._at_once = min(self._batch, self._at_once * 2)
        if failure is not None:
            _log.error(
                "the handler of %s failed at entry %s, and is tried again: %r",
                self._name,
                entries[handled].id,
                failure,
                exc_info=failure,
            )
            await self._backoff.wait()
        return handled

    def _called(self, transaction: Transaction, entry: LogEntry) -> Awaitable[None]:
        handling = self._handler(transaction, entry)
        if not inspect.isawaitable(handling):
            raise _NotAsynchronousError(
                f"the handler of {self._name} must be an asynchronous function: it returned a "
                f"{type(handling).__name__} at entry {entry.id}, and nothing of that was committed"
            )
        return handling

    async def _commit(self, transaction: Transaction, position: int) -> Exception | None:
        """Commit, with the cursor moved to the position; what stood against it, if anything."""
        before = self._cursor

        async def resolve() -> Outcome:
            return await self._document.outcome(transaction.token, before)

        self._document.move_in(transaction, before, position)
        try:
            response = await commit(transaction, resolve=resolve)
        except (ContentionError, UnknownOutcomeError) as error:
            return error
        except GoogleAPICallError as error:
            # what may pass is no refusal: the next attempt may be carried out as it is
            return UnknownOutcomeError(str(error)) if is_transient(error) else error
        if response is None:  # committed, but the answer was lost
            self._cursor = await self._document.load(self._start)
        else:
            self._cursor = Cursor(position, response.commit_time)
        return None

    async def _lost(self, error: Exception) -> None:
        """Find out where the cursor is, after a while: somebody else has moved it, or the handler met others."""
        _log.info("%s met with another writer, and goes on: %s", self._name, error)
        await self._backoff.wait()
        self._cursor = await self._document.load(self._start)

    def _new_backoff(self) -> Backoff:
        return Backoff(self._box._clock, self._box._rng, timedelta.max)


class CaughtUp:
    """Ends where the log does: asks for its next ID whenever that last heard has been reached."""

    def __init__(self, reader: Reader) -> None:
        self._reader = reader
        self._next = 0

    async def beyond(self, position: int) -> int | None:
        if self._next <= position:
            self._next = await self._reader.next_id()
        return self._next if self._next > position else None


async def tail(
    box: EventBox, ref: AsyncDocumentReference, track: Track, position: int | None
) -> AsyncGenerator[LogEntry, None]:
    """See `EventLog.tail`."""
    reader = Reader(box, ref, track, patience=timedelta.max)
    if position is None:
        position = await reader.next_id()
    async with watching(box, ref, track) as watch:
        while await watch.beyond(position) is not None:
            for entry in await reader.following(position):
                position += 1
                yield entry
