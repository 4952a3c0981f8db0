"""`EventLog`: appending to a log, ordering it, reading and following it, and trimming it."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterable
from datetime import timedelta

from google.cloud.firestore_v1.async_document import AsyncDocumentReference
from google.cloud.firestore_v1.async_transaction import AsyncTransaction

from eventbox.arguments import check_recipient
from eventbox.box import EventBox
from eventbox.log import ordering
from eventbox.log.appending import Appender
from eventbox.log.arguments import check_count, check_duration, check_id_age, check_position
from eventbox.log.cursor import CursorDocument, check_follower
from eventbox.log.entry import EventPersistence, LogEntry, Module, NewLogEntry
from eventbox.log.following import MAX_BATCH, CaughtUp, Follower, Handler, tail
from eventbox.log.in_process import InProcess
from eventbox.log.log_event import LogEvent, to_entry
from eventbox.log.ordering import Ordering
from eventbox.log.overview import LogOverview, overview
from eventbox.log.reading import Reader
from eventbox.log.sender import Sender
from eventbox.log.track import PERSISTENT, TRIMABLE, Track
from eventbox.log.transient import TransientEntries
from eventbox.log.trimming import trim
from eventbox.log.watching import watching
from eventbox.recipient import Recipient

MONITORING_STRING = "eventbox.log"

MAX_READ_BYTES = 32 * 1024 * 1024


class EventLog:
    """One ordered, append-only log, which any number of followers read in order, exactly once.

        log = EventLog(box, client.document("logs/main"))
        await log.append("payment-received", b"...", transaction=transaction)

    Appending never contends: entries are events in the inbox of the log's document, and an ordering step moves them
    into the log, where each gets the next ID. IDs begin with 0 and have no holes; an ID is never used again. There are
    two logs beside each other, with IDs of their own: the persistent one keeps its entries for good, the trimable one
    has every stored entry until it is trimmed.

    Entries appended by one process (with one client) keep their order, as far as they wait to be ordered together;
    those of several are ordered by their clocks. An entry appended in a transaction takes its place at the time of the
    append, not of the commit.

    Args:
        box: what it stands on.
        ref: the log's document, from the box's client. It need not exist. It is a recipient of its own: use it for no
            other inbox.
        sender: what sends entries, such as a `TaskQueue`: it wakes the `Worker` that orders them (see `processor`).
            By default they are emitted by the box, and somebody calls `order` or `run_ordering`.

    One log bears about 500 appends a second, Firestore's documented limit for an index on a rising value. A bad
    argument is a TypeError or ValueError, raised before anything is sent. Transient errors are retried for up to a
    minute, by followers for as long as it takes.
    """

    def __init__(self, box: EventBox, ref: AsyncDocumentReference, *, sender: Sender | None = None) -> None:
        if not isinstance(box, EventBox):
            raise TypeError(f"box must be an EventBox, not {type(box).__name__}")
        self._box = box
        self._recipient = Recipient(ref, MONITORING_STRING)
        check_recipient(self._recipient, box.client)
        self._ref = ref
        self._in_process = InProcess.of(box._client, ref._document_path)
        self._appender = Appender(box, self._recipient, self._in_process, sender)

    @property
    def recipient(self) -> Recipient:
        """The log as a recipient: what a wake-up is for."""
        return self._recipient

    # Appending ------------------------------------------------------------------------------------------------

    async def append(
        self,
        kind: str,
        payload: bytes,
        *,
        module: Module | None = None,
        persistence: EventPersistence = EventPersistence.PERSISTENT,
        id: str | None = None,
        transaction: AsyncTransaction | None = None,
    ) -> None:
        """Append an entry: it is in the log once it has been ordered.

        In a transaction it is appended if and only if that commits. A transient entry is handed to those who wait for
        it in this process (`transient`), at once or on the transaction's commit, and costs nothing.

        Args:
            kind: what happened: 1 to 256 bytes of UTF-8.
            payload: at most 900,000 bytes; may be empty.
            module: what kind of module it is from, and which of these.
            persistence: how long it is kept.
            id: appends once what is appended again within the box's `tombstones_delay`; a random one by default. In a
                transaction pass the same entry for the same ID. Not for transient entries.
            transaction: of google's client or eventbox's; for a transient entry eventbox's.

        Raises:
            TypeError, ValueError: a bad argument; nothing was sent.
            EmitError: it could not be written, or nobody knows; append it again with the same ID.

        Cost: 1 RPC and 1 write (with a `TaskQueue` as sender: as its `send`); in a transaction no RPC. A duplicate: as
        in `EventBox.emit`. Ordering it costs 1 read and 1 write more, and a share of the step.
        """
        entry = NewLogEntry(kind, payload, module=module, persistence=persistence, id=id)
        await self.append_many([entry], transaction=transaction)

    async def append_many(
        self, entries: Iterable[NewLogEntry], *, transaction: AsyncTransaction | None = None
    ) -> None:
        """Append several entries, which keep their order, in as few RPCs as the limits allow.

        Outside a transaction each stands alone: when it raises, some may have been appended. Those of an RPC (500
        entries, or 7 MiB) are appended before those of the next. See `append`.
        """
        await self._appender.append(entries, transaction)

    async def append_event(
        self,
        event: LogEvent,
        *,
        module_id: int | None = None,
        id: str | None = None,
        transaction: AsyncTransaction | None = None,
    ) -> None:
        """Append a typed event, as its type says: its kind, the kind of its module, and for how long it is kept.

        `module_id` says which of the modules of that kind it is from: both or neither. See `append`.
        """
        await self.append_many([to_entry(event, module_id, id)], transaction=transaction)

    def transient(self, *, capacity: int = 10_000) -> TransientEntries:
        """The transient entries that are appended in this process from now on, in order, by any `EventLog` for it.

            async for entry in log.transient():
                ...

        Up to `capacity` of them wait for who reads slowly; then the oldest are lost, and counted in `missed`.
        """
        check_count("capacity", capacity)
        return TransientEntries(self._in_process.subscribers, capacity)

    # Ordering -------------------------------------------------------------------------------------------------

    async def order(self) -> int:
        """Run one ordering step; how many entries it took up: 0 means that there was nothing to order.

        A step takes up to 1,000 entries, or 4 MiB of them. It moves all of them or none, once, whatever fails.

        Raises:
            ContentionError: another process orders at the same time; nothing was changed.
            MalformedEntryError: nothing but what is no entry lies in the log's inbox.

        Cost, for n entries: 2 sequential round trips, 3 RPCs, n + 1 reads, n + 1 writes and one for each segment that
        it adds to (mostly two: one in each log). Nothing to order: 2 reads.
        """
        return (await ordering.order(self._box, self._recipient)).taken

    async def run_ordering(self, *, interval: timedelta = timedelta(seconds=1)) -> None:
        """Order whenever there is something to order, until cancelled. For those who have no tasks.

        A listener tells when entries arrive, so it costs nothing while none do. At most one step is taken each
        `interval`, unless a step was full: fewer steps cost less, and make entries wait longer. Let one process do
        it; where several do, they take turns at the price of steps in vain. Errors that may pass are logged, and tried
        again with backoff. What is no entry is set aside after a few attempts (see `EventBox.quarantined`).

        Raises:
            google.api_core.exceptions.GoogleAPICallError: Firestore refuses for good (say, no permission).
        """
        check_duration("interval", interval)
        await ordering.run_ordering(self._box, self._recipient, interval)

    def processor(self) -> Ordering:
        """The ordering as a processor, for a worker that is woken up in place of `run_ordering`.

        worker.recipient("logs/{name}", lambda recipient, params: EventLog(box, recipient.ref).processor(),
                         monitoring_string="log")
        """
        return Ordering(self._recipient)

    # Reading --------------------------------------------------------------------------------------------------

    async def next_id(self) -> int:
        """The ID that the next entry of the persistent log gets: 1 read."""
        return await self._reader(PERSISTENT).next_id()

    async def next_trimable_id(self) -> int:
        """The ID that the next entry of the trimable log gets: 1 read."""
        return await self._reader(TRIMABLE).next_id()

    async def read(
        self, position: int = 0, limit: int = 1_000, *, max_bytes: int = MAX_READ_BYTES
    ) -> list[LogEntry]:
        """Up to `limit` entries of the persistent log, from this position on, in order.

        Fewer come where the log ends, or where they have more than `max_bytes` (one comes whatever its size); none
        from a position that no entry has yet.

        Raises:
            TrimmedError: the entry at this position was trimmed.

        Cost: 1 read for each segment, that is, for each 64 KiB at least, and 1 for a last one; 1 RPC where one segment
        has all of them. None: 2 reads.
        """
        return await self._read(PERSISTENT, position, limit, max_bytes)

    async def read_trimable(
        self, position: int = 0, limit: int = 1_000, *, max_bytes: int = MAX_READ_BYTES
    ) -> list[LogEntry]:
        """As `read`, from the trimable log."""
        return await self._read(TRIMABLE, position, limit, max_bytes)

    def tail(self, position: int | None = None, *, trimable: bool = False) -> AsyncGenerator[LogEntry, None]:
        """Every entry from a position on (the end, by default), and each that is added, until closed.

            async with contextlib.aclosing(log.tail()) as entries:
                async for entry in entries:
                    ...

        For who wants to see, and need not remember: nothing is written, and there is no cursor.

        Raises:
            TrimmedError: the next entry was trimmed before it was read.

        Cost: 1 read at the start, and 2 a step; 1 read for each segment of what is there already.
        """
        if position is not None:
            check_position(position)
        return tail(self._box, self._ref, TRIMABLE if trimable else PERSISTENT, position)

    # Following ------------------------------------------------------------------------------------------------

    async def handle_events(
        self,
        follower: str,
        handler: Handler,
        *,
        until_idle: bool = False,
        batch: int = 1,
        start: int = 0,
    ) -> None:
        """Give the handler each entry of the persistent log, in order, from the follower's cursor on.

            async def handler(transaction, entry):
                transaction.update(totals, {"count": Increment(1)})

            await log.handle_events("totals", handler, batch=100)

        The handler's writes and the cursor's move are one transaction, so each entry is handled exactly once, however
        often a process crashes, and however many run under the same name. A handler that fails is tried again, with
        backoff from 100 ms to 10 s, for as long as it takes, and its error is logged. It acts through the transaction
        alone, for it may run more than once before the one commit; it may append to the same log.

        It goes on until cancelled, woken by a listener when entries have been added; it needs CPU that is always
        allocated.

        Args:
            follower: whose cursor it is: printable text of 1 to 256 bytes, without slashes.
            handler: is given the transaction and the entry.
            until_idle: return once the end of the log is reached.
            batch: up to how many entries share a transaction. Reads do not show what the transaction has written, so
                with more than 1 a handler must not read what it wrote for the entry before. Where one of them fails,
                those before it are committed.
            start: where a follower that has no cursor yet begins.

        Raises:
            TypeError, ValueError: a bad argument; or, told by its first call, the handler is not asynchronous.
            TrimmedError: the entry at the cursor was trimmed. See `move_cursor`.
            google.api_core.exceptions.GoogleAPICallError: Firestore refuses our own reads for good.

        Cost: 1 read at the start; then for each transaction 1 RPC and 1 write besides the handler's own, and 1 read
        for each segment; live, 2 reads a step. Idle, nothing. Firestore's guidance for a single document, the cursor,
        is one write a second sustained: so one follower bears about `batch` entries a second for long, and some ten
        times as many while it catches up.
        """
        await self._handle(PERSISTENT, follower, handler, until_idle, batch, start)

    async def handle_trimable_events(
        self,
        follower: str,
        handler: Handler,
        *,
        until_idle: bool = False,
        batch: int = 1,
        start: int = 0,
    ) -> None:
        """As `handle_events`, on the trimable log, with a cursor of its own."""
        await self._handle(TRIMABLE, follower, handler, until_idle, batch, start)

    async def cursor(self, follower: str, *, trimable: bool = False) -> int | None:
        """The next position that this follower will handle; None where it has handled nothing yet: 1 read."""
        cursor = await self._cursor(follower, trimable=trimable).load()
        return None if cursor.version is None else cursor.position

    async def move_cursor(self, follower: str, position: int, *, trimable: bool = False) -> None:
        """Let the follower go on from this position: back, to handle entries again, or on, to leave some out.

        A follower that runs goes there too: at once where it is at work, and what it is just handling is not committed;
        with the next entry where it waits for one. Cost: 1 write.
        """
        check_position(position)
        await self._cursor(follower, trimable=trimable).move(position)

    # Upkeep ---------------------------------------------------------------------------------------------------

    async def trim(
        self,
        *,
        min_id_age: int = 10_000,
        min_age: timedelta = timedelta(days=14),
        max_entries: int = 100_000,
        respect_cursors: bool = False,
    ) -> int:
        """Remove the oldest entries of the trimable log; how many this call removed.

        An entry goes only when the log has gone on by `min_id_age` since (next ID - its ID) *and* it was logged at
        least `min_age` ago, by the server's time. It may be called by several at once, and again after a crash.

        Args:
            min_id_age: how many IDs back an entry must lie; 1 is the last entry.
            min_age: how old an entry must be.
            max_entries: after so many it returns; call it again where it removed as many.
            respect_cursors: keep what some follower's cursor has yet to pass. A follower without a cursor counts
                for nothing, and one that is never run again keeps everything: see `overview`.

        Cost: 1 read; then, for each 8 segments, 2 RPCs, a read and a write or delete a segment. With
        `respect_cursors` a read for each follower.
        """
        check_id_age(min_id_age)
        check_duration("min_age", min_age)
        check_count("max_entries", max_entries)
        return await trim(
            self._box,
            self._ref,
            TRIMABLE,
            min_id_age=min_id_age,
            min_age=min_age,
            max_entries=max_entries,
            respect_cursors=respect_cursors,
        )

    async def overview(self) -> LogOverview:
        """How far the log has come, what waits to be ordered, and the followers: for tools and dashboards.

        Cost: 6 RPCs side by side; 3 reads, one for each follower, and one for each 1,000 entries not yet ordered.
        """
        return await overview(self._box, self._recipient)

    async def _read(self, track: Track, position: int, limit: int, max_bytes: int) -> list[LogEntry]:
        check_position(position)
        check_count("limit", limit)
        check_count("max_bytes", max_bytes)
        return await self._reader(track).read(position, limit, max_bytes)

    async def _handle(
        self, track: Track, follower: str, handler: Handler, until_idle: bool, batch: int, start: int
    ) -> None:
        check_follower(follower)
        if not callable(handler):
            raise TypeError(f"handler must be an asynchronous function, not {type(handler).__name__}")
        check_count("batch", batch, MAX_BATCH)
        check_position(start)
        run = Follower(self._box, self._ref, track, follower, handler, batch=batch, start=start)
        if until_idle:
            await run.run(CaughtUp(self._reader(track, patience=timedelta.max)))
        else:
            async with watching(self._box, self._ref, track) as watch:
                await run.run(watch)

    def _reader(self, track: Track, *, patience: timedelta = timedelta(minutes=1)) -> Reader:
        return Reader(self._box, self._ref, track, patience=patience)

    def _cursor(self, follower: str, *, trimable: bool) -> CursorDocument:
        return CursorDocument(self._box, self._ref, TRIMABLE if trimable else PERSISTENT, follower)
