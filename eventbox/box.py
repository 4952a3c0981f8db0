"""`EventBox`: emitting events to recipients, and processing them."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from datetime import datetime, timedelta
from random import Random, SystemRandom
from typing import Any, TypeVar

from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.async_transaction import AsyncTransaction
from opentelemetry.metrics import MeterProvider
from opentelemetry.trace import TracerProvider

from dsset.clock import Clock, SystemClock
from dsset.dsset import DEFAULT_MAX_BYTES, TIMEOUT
from dsset.server_time import ServerTime
from dsset.shared_adds import SharedAdds
from eventbox.arguments import (
    check_client,
    check_concurrency,
    check_duration,
    check_positive,
    check_processor,
    check_recipient,
    check_transaction,
    checked_bounds,
)
from eventbox.batch import Batch
from eventbox.drain import Drain, DrainBounds, DrainReport
from eventbox.emitting import emit_item, emit_items, emit_with, new_item, to_items
from eventbox.events import Event, NewEvent, Receipt
from eventbox.inbox import Inboxes, to_event
from eventbox.processor import PostProcessFn, Processor
from eventbox.quarantine import Quarantine, check_ids
from eventbox.quarantined_event import QuarantinedEvent
from eventbox.recipient import Recipient
from eventbox.run_in_transaction import run_in_transaction
from eventbox.telemetry import Telemetry
from eventbox.transaction import Concurrency, Transaction

S = TypeVar("S")
T = TypeVar("T")


class EventBox:
    """A durable inbox for every document of a database. One for each process is enough; it holds nothing to close.

        box = EventBox(client)
        order = Recipient(client.document("orders/1"), "order")
        await box.emit(b"paid", to=order, id=delivery_id)
        for post_process in await box.process_batch(order, OrderProcessor(order)):
            await post_process()

    Args:
        client: the client that the recipients' references come from.
        tombstones_delay: for how long the ID of a consumed event counts as used.
        clock: where the time comes from.
        concurrency: how transactions are kept apart. "optimistic" holds no locks while they run and lets the
            slower one fail at its commit; "pessimistic" locks what they read, and makes others wait.
        quarantine_after: an event is set aside once it has failed by itself in so many drains.
        quarantine_retention: how long it is kept then, until a TTL policy removes it; None: for ever.
        meter_provider, tracer_provider: where metrics and spans go; OpenTelemetry's global ones by default.
        share_emits: whether emits outside transactions that are under way at once share RPCs. One alone waits for
            nobody; of many, each takes up to two round trips, and all together a few RPCs. Each stands alone.
        rng: where IDs, tokens and jitter come from; the operating system by default.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        tombstones_delay: timedelta = timedelta(hours=24),
        clock: Clock | None = None,
        concurrency: Concurrency = "optimistic",
        quarantine_after: int = 5,
        quarantine_retention: timedelta | None = timedelta(days=30),
        meter_provider: MeterProvider | None = None,
        tracer_provider: TracerProvider | None = None,
        share_emits: bool = False,
        rng: Random | None = None,
    ) -> None:
        check_client(client)
        check_duration("tombstones_delay", tombstones_delay)
        check_concurrency(concurrency)
        check_positive("quarantine_after", quarantine_after)
        if quarantine_retention is not None:
            check_duration("quarantine_retention", quarantine_retention, " or None")
        self._client = client
        self._quarantine_after = quarantine_after
        self._quarantine_retention = quarantine_retention
        self._clock = clock or SystemClock()
        self._concurrency: Concurrency = concurrency
        self._rng = rng or SystemRandom()
        shared_adds = (
            SharedAdds(client, tombstones_delay=tombstones_delay, clock=self._clock, rng=self._rng)
            if share_emits
            else None
        )
        self._inboxes = Inboxes(
            tombstones_delay=tombstones_delay, clock=self._clock, rng=self._rng, shared_adds=shared_adds
        )
        self._telemetry = Telemetry(meter_provider, tracer_provider)
        self._providers = (meter_provider, tracer_provider)
        self._server_time = ServerTime.of(client, self._clock)  # from now on it hears what is answered

    @property
    def client(self) -> AsyncClient:
        """The client that it was made with."""
        return self._client

    @property
    def clock(self) -> Clock:
        """The clock that it goes by."""
        return self._clock

    async def emit(
        self,
        value: bytes,
        to: Recipient,
        *,
        id: str | None = None,
        process_after: datetime | None = None,
        transaction: AsyncTransaction | None = None,
        timeout: timedelta = TIMEOUT,
    ) -> Receipt:
        """Put an event into the recipient's inbox, once for each ID.

        When it returns, and the receipt does not say duplicate, the event is handed to processors until one consumes
        it. In a transaction it is emitted if and only if that commits. Transient errors are retried with backoff for
        up to `timeout`; a resend of its own is no duplicate.

        Args:
            value: at most 1,000,000 bytes; may be empty.
            to: whom it is for.
            id: 1 to 256 bytes of UTF-8; a random one by default. An ID that is outstanding, or was consumed less than
                the box's `tombstones_delay` ago, adds nothing. In a transaction pass the same value for the same ID.
            process_after: not handed over before this moment (aware).
            transaction: of google's client or eventbox's.

        Raises:
            TypeError, ValueError: a bad argument; nothing was sent.
            EmitError: it could not be written, or nobody knows; emit it again with the same ID.

        Cost: 1 RPC and 1 write; a duplicate 2 RPCs and 1 read; in a transaction no RPC, and 1 write of its commit.
        """
        if transaction is not None:
            events = [NewEvent(value, id=id, process_after=process_after)]
            return (await self.emit_many(events, to, transaction=transaction, timeout=timeout))[0]
        check_recipient(to, self._client)
        item = new_item(value, id, process_after, self._rng)
        return await emit_item(item, to, self._inboxes, timeout=timeout, telemetry=self._telemetry)

    async def emit_many(
        self,
        events: Iterable[NewEvent],
        to: Recipient,
        *,
        transaction: AsyncTransaction | None = None,
        timeout: timedelta = TIMEOUT,
    ) -> list[Receipt]:
        """Emit several events to one recipient in as few RPCs as the limits allow; a receipt for each, in order.

        Outside a transaction it is several emits: each event stands alone. Of equal IDs in one call the first counts.
        In a transaction they all take part in its one commit, and more than 8 MiB of them are a ValueError.

        Raises:
            TypeError, ValueError: a bad argument; nothing was sent.
            EmitError: some could not be written; it has the receipts of the others.

        Cost: as many writes as new events, in 1 RPC for each 500 events or 8 MiB; duplicates as in `emit`.
        """
        check_recipient(to, self._client)
        check_transaction(transaction, self._client)
        items = to_items(events, self._rng)
        return await emit_items(
            items,
            to,
            self._inboxes.of(to),
            transaction=transaction,
            timeout=timeout,
            telemetry=self._telemetry,
        )

    async def list_events(self, recipient: Recipient) -> list[Event]:
        """All outstanding events, also those that are not due yet. For tests and tools: it has no bound.

        Cost: 1 RPC for each 1,000 events, 1 read an event (at least 1).
        """
        check_recipient(recipient, self._client)
        return [to_event(item) for item in (await self._inboxes.of(recipient).list_all()).items]

    async def process_batch(
        self,
        recipient: Recipient,
        processor: Processor[S],
        *,
        max_events: int = 1_000,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> list[PostProcessFn]:
        """Run one batch of the recipient's events through its processor; the callbacks to run now.

        The state is loaded and the events are listed side by side, `prepare_mutation` decides, its garbage is deleted,
        and then one transaction does all the rest or nothing: the side effects, the consumption of the events, and the
        new state with the next eversion.

        Args:
            recipient: whose inbox it is.
            processor: what to do with the events.
            max_events: at most so many events are listed.
            max_bytes: and at most so many bytes of them (the first comes whatever its size).

        Raises:
            TypeError, ValueError: a bad argument or a bad mutation; nothing was changed.
            ContentionError: a concurrent writer won; nothing was changed but garbage. Try again later.
            UnknownOutcomeError: the answer to the commit was lost, and nothing tells (this needs a batch that
                consumes no event and saves no state of a `DocumentProcessor`).
            Whatever the processor or a side effect raised (for a `PrepareError`: its cause); nothing was changed but
            garbage.

        Cost, with n events consumed and a `DocumentProcessor`: 2 sequential round trips, 3 RPCs, n + 1 reads, n + 1
        writes; any other processor pays for its own loads and saves, and one round trip more for `fetch_eversion`. A
        batch with nothing to do: 1 round trip, 2 RPCs, 2 reads. Garbage: 1 round trip, 1 RPC, 1 write each. A side
        effect's reads: as they are, in the same transaction.
        """
        result = await self._batch(recipient, processor).run(checked_bounds(max_events, max_bytes))
        return list(result.post_process)

    async def drain(
        self,
        recipient: Recipient,
        processor: Processor[S],
        *,
        max_events: int = 1_000,
        max_batches: int | None = None,
        deadline: datetime | None = None,
        as_of: datetime | None = None,
        stop: Callable[[], bool] | None = None,
    ) -> DrainReport:
        """Run batch after batch while events are outstanding, and their callbacks after each commit.

        A callback that fails is logged and counted, and does not stop it. What ends it is in the report: nothing was
        left, `max_batches` was reached, the next batch would, by the longest so far, end after `deadline`, `stop` said
        so, a concurrent writer won, or a batch moved nothing (the same events were skipped twice, or none was
        consumed).

        Where `prepare_mutation` or a side effect fails, the batch is run again in halves, down to the events that fail
        by themselves; the others are processed. Such an event is held back, and its error is raised at the end. Once
        that has happened in `quarantine_after` drains, it is set aside (see `quarantined`), and the drain goes on
        without it. An attempt counts only where another batch of the drain has succeeded (or, where nothing else was
        due, one without events), so that a processor that fails on everything sets nothing aside. Outages and time-outs
        (`TimeoutError`, `ConnectionError`, transient errors of google's, also as the cause of another) are raised at
        once and count nothing.

        Args:
            recipient, processor, max_events: as those of `process_batch`.
            max_batches: at most so many batches; what is run again in parts is part of the batch that failed.
            deadline: when it has to have ended, by the box's clock (aware).
            as_of: a server's time that has passed, such as the one that this run was scheduled for (aware). Events due
                by then are taken also where the box's clock lags behind it.
            stop: asked before each batch; once it says True no other batch is begun.

        Raises what `process_batch` does, but for ContentionError; what was committed before stands.

        Cost: the first batch that of `process_batch`. A further one, of a backlog: 1 sequential round trip, 2 RPCs, n
        reads and n + 1 writes with a `DocumentProcessor`, for the state is kept from the commit before and the next
        events are listed while that is under way (any other processor pays for `fetch_eversion` besides, and for
        loading its state again after side effects and callbacks). At the end 1 or 2 listings that find nothing. Events
        that were listed ahead, for one batch or for two, are read in vain where a deadline, `stop` or contention ends
        the drain, or the state has to be loaded again: a batch failed, saved and consumed nothing, skipped a
        transition, or wrote to the state by a side effect. On the way of success the quarantine costs nothing. With one
        failing event among n: about 2 log n batches more, which list nothing, 1 query, 1 listing and 1 write; from the
        second drain on 2 batches more. Setting it aside: 1 RPC, 2 writes, 1 delete.
        """
        bounds = checked_bounds(max_events, DEFAULT_MAX_BYTES, as_of)
        drain_bounds = DrainBounds(max_batches, deadline, stop, self._quarantine_after)
        self._batch(recipient, processor)  # checks them before anything is done
        return await Drain(
            lambda: self._batch(recipient, processor),
            bounds,
            drain_bounds,
            recipient=recipient,
            quarantine=self._quarantine(recipient),
            clock=self._clock,
            rng=self._rng,
            telemetry=self._telemetry,
        ).run()

    async def quarantined(self, recipient: Recipient) -> list[QuarantinedEvent]:
        """The recipient's events that were set aside, since they failed again and again; the oldest first.

        Cost: 1 RPC for each 100, 1 read each (at least 1).
        """
        check_recipient(recipient, self._client)
        return await self._quarantine(recipient).list()

    async def requeue(self, recipient: Recipient, ids: Iterable[str]) -> int:
        """Put events back from the quarantine into the inbox, to be processed anew; how many.

        Each is again as it was emitted, in spite of its ID's being used, and its attempts are forgotten. IDs that are
        not in quarantine count nothing; nor do those that were used again meanwhile for an event that is outstanding:
        they stay in quarantine. It wakes nobody: do that yourself.

        Cost: 3 RPCs for each 8 events, 2 reads, 1 write and 2 deletes each.
        """
        check_recipient(recipient, self._client)
        return await self._quarantine(recipient).requeue(check_ids(ids))

    async def discard(self, recipient: Recipient, ids: Iterable[str]) -> int:
        """Delete events from the quarantine, for good; how many. IDs that are not in it count nothing.

        Cost: 1 RPC for each 500, 1 delete each.
        """
        check_recipient(recipient, self._client)
        return await self._quarantine(recipient).discard(check_ids(ids))

    async def purge(self, recipient: Recipient) -> int:
        """Delete all of the recipient's events in quarantine, for good; how many.

        Cost: 1 read and 1 delete each.
        """
        check_recipient(recipient, self._client)
        return await self._quarantine(recipient).purge()

    async def run_in_transaction(
        self,
        fn: Callable[[Transaction], Awaitable[T]],
        *,
        attempts: int = 5,
        concurrency: Concurrency | None = None,
    ) -> T:
        """Run `fn` in a transaction and commit; what `fn` returned.

        It is run again, with jittered backoff, where Firestore aborts the transaction (a concurrent writer was faster),
        so it acts through the transaction alone. What `fn` raises ends it, and nothing was changed. The transaction
        begins with its first read; without one, its writes are a single commit.

        Args:
            fn: is given the transaction.
            attempts: how often it is run at most.
            concurrency: for this transaction, in place of the box's.

        Raises:
            ContentionError: every attempt was aborted.
            UnknownOutcomeError: the answer to the commit was lost, and sending it again could have done it twice, or
                did not tell.
            GoogleAPICallError: Firestore refused it otherwise; a failed precondition is not retried.
            Whatever `fn` raised; TransactionEndedError where it had the transaction rolled back and went on.

        Cost: 1 round trip and RPC for the commit, and those of its reads.
        """
        if not callable(fn):
            raise TypeError(f"fn must be an asynchronous function, not {type(fn).__name__}")
        check_positive("attempts", attempts)
        if concurrency is not None:
            check_concurrency(concurrency)
        return await run_in_transaction(
            fn,
            client=self._client,
            clock=self._clock,
            rng=self._rng,
            concurrency=concurrency or self._concurrency,
            attempts=attempts,
        )

    async def _emit_with(
        self, event: NewEvent, to: Recipient, others: Sequence[Any], *, timeout: timedelta
    ) -> tuple[Receipt, datetime | None]:
        """`emit` outside a transaction, in one commit with other writes; the receipt, and the commit's time."""
        check_recipient(to, self._client)
        (item,) = to_items([event], self._rng)
        return await emit_with(
            item, others, to, self._inboxes.of(to), timeout=timeout, telemetry=self._telemetry
        )

    def _batch(self, recipient: Recipient, processor: Processor[S]) -> Batch[S]:
        check_recipient(recipient, self._client)
        check_processor(processor)
        return Batch(
            recipient,
            processor,
            self._inboxes.of(recipient),
            client=self._client,
            clock=self._clock,
            rng=self._rng,
            concurrency=self._concurrency,
            telemetry=self._telemetry,
        )

    def _quarantine(self, recipient: Recipient) -> Quarantine:
        return Quarantine(
            recipient,
            self._inboxes.of(recipient),
            retention=self._quarantine_retention,
            clock=self._clock,
            rng=self._rng,
            concurrency=self._concurrency,
            telemetry=self._telemetry,
        )
