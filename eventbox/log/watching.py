"""Watching how far a log reaches: one listener for all followers of a process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing, asynccontextmanager
from random import Random
from weakref import WeakKeyDictionary

from google.cloud.firestore_v1.async_document import AsyncDocumentReference

from dsset.clock import Clock
from eventbox.box import EventBox
from eventbox.listening import listen
from eventbox.log.track import PERSISTENT, TRIMABLE, Track


class Watch:
    """Goes on for ever: tells when entries have been added."""

    def __init__(self, listener: _Listener, track: Track) -> None:
        self._listener = listener
        self._track = track

    async def beyond(self, position: int) -> int | None:
        """The next ID of the log, once that is greater than the position."""
        return await self._listener.beyond(self._track, position)


@asynccontextmanager
async def watching(box: EventBox, ref: AsyncDocumentReference, track: Track) -> AsyncIterator[Watch]:
    """A `Watch`, for as long as it is needed.

    All of them share a listener, by log and event loop: a stream each would use up the hundred or so that a connection
    to Firestore bears, and leave none for the commits.
    """
    listeners = Listeners.of(box, ref)
    listener = listeners.join(ref, box._clock, box._rng)
    try:
        yield Watch(listener, track)
    finally:
        await listeners.leave(listener)


class _Listener:
    """Listens to a log's document, for so many."""

    def __init__(self, ref: AsyncDocumentReference, clock: Clock, rng: Random) -> None:
        self.users = 0
        self._next = {PERSISTENT: 0, TRIMABLE: 0}
        self._changed = asyncio.Event()
        self._snapshots = listen(ref, clock=clock, rng=rng)
        self._listening = asyncio.create_task(self._listen())
        self._listening.add_done_callback(lambda _: self._changed.set())

    @property
    def has_ended(self) -> bool:
        return self._listening.done()

    async def beyond(self, track: Track, position: int) -> int:
        while self._next[track] <= position:
            if self._listening.done():
                self._listening.result()
            self._changed.clear()
            await self._changed.wait()
        return self._next[track]

    async def aclose(self) -> None:
        self._listening.cancel()
        await asyncio.gather(self._listening, return_exceptions=True)

    async def _listen(self) -> None:
        async with aclosing(self._snapshots) as snapshots:
            async for snapshot in snapshots:
                for document in snapshot.documents.values():
                    fields = document.to_dict() or {}
                    for track, seen in self._next.items():
                        self._next[track] = max(seen, fields.get(track.next_id, 0))
                self._changed.set()


class Listeners:
    """The listener of one log in each event loop, for as long as somebody watches."""

    def __init__(self) -> None:
        self._all: WeakKeyDictionary[asyncio.AbstractEventLoop, _Listener] = WeakKeyDictionary()

    @staticmethod
    def of(box: EventBox, ref: AsyncDocumentReference) -> Listeners:
        """Those for the log with this document, made at the first call and kept on the client."""
        logs: dict[str, Listeners] | None = getattr(box._client, "_eventbox_log_listeners", None)
        if logs is None:
            logs = box._client._eventbox_log_listeners = {}
        return logs.setdefault(ref._document_path, Listeners())

    def join(self, ref: AsyncDocumentReference, clock: Clock, rng: Random) -> _Listener:
        """The listener under way, or a new one; `leave` it."""
        loop = asyncio.get_running_loop()
        listener = self._all.get(loop)
        if listener is None or listener.has_ended:
            listener = self._all[loop] = _Listener(ref, clock, rng)
        listener.users += 1
        return listener

    async def leave(self, listener: _Listener) -> None:
        """End the listener where nobody watches any more."""
        listener.users -= 1
        if not listener.users:
            loop = asyncio.get_running_loop()
            if self._all.get(loop) is listener:
                del self._all[loop]
            await listener.aclose()
