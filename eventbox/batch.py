"""One batch: load and list side by side, prepare, delete the garbage, and commit the transitions at once."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from random import Random
from typing import Generic, TypeVar

from google.api_core.exceptions import Aborted, GoogleAPICallError
from google.cloud.firestore_v1.async_client import AsyncClient
from opentelemetry.trace import INVALID_SPAN, Span

from dsset import DSSet, Listing
from dsset.clock import Clock
from eventbox.awaited import check_awaitable
from eventbox.batch_log import BatchOutcome, log_batch
from eventbox.batch_result import BatchResult
from eventbox.batch_scope import BatchScope
from eventbox.both import both
from eventbox.commit import Outcome, commit
from eventbox.errors import ContentionError, PrepareError, SkipTransition
from eventbox.events import Event
from eventbox.inbox import to_event
from eventbox.kept import Kept
from eventbox.listing_ahead import Cursor, ListingAhead
from eventbox.offered import Offered
from eventbox.plan import Plan, check_garbage, plan
from eventbox.processor import Processor, Transition
from eventbox.recipient import Recipient
from eventbox.suspicion import Suspicion, may_be_an_events_fault, may_be_an_events_refusal
from eventbox.telemetry import Telemetry, link
from eventbox.tombstones import ask_tombstones
from eventbox.transaction import Concurrency, Transaction

S = TypeVar("S")


@dataclass(frozen=True, slots=True)
class Bounds:
    """How much one batch may take, and which events: those due by the clock, or by `as_of` where that is later."""

    max_events: int
    max_bytes: int
    as_of: datetime | None = None


class Batch(Generic[S]):
    """A batch of one recipient's events through its processor. Run it once.

    Where that raises, `suspicion` tells whether one of the events may be to blame.
    """

    def __init__(
        self,
        recipient: Recipient,
        processor: Processor[S],
        inbox: DSSet,
        *,
        client: AsyncClient,
        clock: Clock,
        rng: Random,
        concurrency: Concurrency,
        telemetry: Telemetry,
    ) -> None:
        self._recipient = recipient
        self._processor = processor
        self._offered = Offered(processor)
        self._inbox = inbox
        self._client = client
        self._clock = clock
        self._rng = rng
        self._concurrency: Concurrency = concurrency
        self._telemetry = telemetry
        self._source = f"{type(processor).__name__}.prepare_mutation"
        self._listed = 0
        self._consumed: list[str] = []  # the IDs of the events that the commit takes out
        self._goes_on = False
        self._kept: Kept[S] | None = None
        self._ahead: ListingAhead | None = None  # for the next batch
        self._span: Span = INVALID_SPAN
        self.suspicion: Suspicion | None = None

    async def run(
        self,
        bounds: Bounds,
        *,
        skip_if_empty: bool = False,
        without: Collection[str] = (),
        kept: Kept[S] | None = None,
        ahead: int = 0,
    ) -> BatchResult:
        """Run it without the events of these IDs; with `skip_if_empty`, prepare nothing where none is outstanding.

        With `kept`, the state is not loaded, and the listing that is under way is taken over. With `ahead`, how many
        batches may follow, the state is kept for the next one, and where events are left its listing begins beside the
        commit; with `kept` besides, that of the one after follows as soon as it can.
        """
        self._goes_on = ahead > 0

        async def load() -> tuple[Listing, tuple[S, int]]:
            if kept is None:
                loading = check_awaitable(
                    self._processor.load_state(), f"{type(self._processor).__name__}.load_state"
                )
                # the state first: it is here before the events are, and decoded while they are on their way
                loaded, listing = await both(loading, self._list_beside_load(bounds, without))
                return listing, loaded
            self._kept = kept.with_listing(None)
            self._offered.resume(kept)
            if kept.listing is None:
                listing = await self._list(bounds, without)
            else:
                listing, self._ahead = await kept.listing.take()
            return listing, (kept.state, kept.eversion)

        def list_ahead(listing: Listing) -> None:
            if self._ahead is None:
                if listing.complete or self._offered.in_order:
                    return
                self._ahead = ListingAhead(partial(self._list, bounds, without), listing.cursor)
            if ahead > 1 and kept is not None:  # a first batch does not know yet whether one goes on from it
                self._ahead.go_on()

        try:
            return await self._told(load, skip_if_empty, list_ahead)
        finally:
            if self._ahead is not None:
                await self._ahead.discard()

    async def run_on(self, listing: Listing) -> BatchResult:
        """Run it on these events, which were listed a moment ago: the commit fails where they are so no longer."""

        async def load() -> tuple[Listing, tuple[S, int]]:
            return listing, await self._processor.load_state()

        return await self._told(load, skip_if_empty=False)

    async def _told(
        self,
        load: Callable[[], Awaitable[tuple[Listing, tuple[S, int]]]],
        skip_if_empty: bool,
        list_ahead: Callable[[Listing], None] = lambda _: None,
    ) -> BatchResult:
        """Run it, and tell the telemetry and the batch log."""
        began = self._clock.monotonic()
        outcome: BatchOutcome = "failed"
        result: BatchResult | None = None
        try:
            with self._telemetry.processing(self._recipient) as self._span:
                entered = BatchScope(self._clock, self._rng).enter()
                try:
                    result = await self._run(load, skip_if_empty, list_ahead)
                finally:
                    BatchScope.leave(entered)
                outcome = "done" if result.removed or result.transitions else "idle"
                return result
        except (ContentionError, Aborted) as error:
            outcome = "contended"
            self._telemetry.contended(self._recipient)
            # what the processor sent by itself, or what was sent until time was up
            if isinstance(error, Aborted):
                raise ContentionError(f"Firestore aborted a request of the batch: {error.message}") from error
            raise
        finally:
            seconds = self._clock.monotonic() - began
            self._telemetry.processed(self._recipient, seconds)
            if result is None or result.prepared:
                log_batch(
                    self._recipient,
                    outcome=outcome,
                    seconds=seconds,
                    events=self._listed,
                    removed=len(result.removed) if result is not None else 0,
                    transitions=result.transitions if result is not None else 0,
                )

    async def _run(
        self,
        load: Callable[[], Awaitable[tuple[Listing, tuple[S, int]]]],
        skip_if_empty: bool,
        list_ahead: Callable[[Listing], None],
    ) -> BatchResult:
        listing, (state, eversion) = await load()
        events = tuple(map(to_event, listing.items))
        self._listed = len(events)
        if skip_if_empty and not events:
            return BatchResult(events, listing.complete, prepared=False, kept=self._kept)

        with self._telemetry.step("eventbox.prepare_mutation", self._span):
            todo = await self._prepare(listing, events, state)
        link(self._span, todo.garbage)
        link(self._span, (event for transition in todo.transitions for event in transition.events))

        await self._delete(todo.garbage, listing)
        garbage = frozenset(event.id for event in todo.garbage)
        left = tuple(event for event in events if event.id not in garbage) if garbage else events
        if not todo.transitions:
            return BatchResult(events, listing.complete, garbage)
        if self._goes_on and self._offered.may_keep(todo.transitions):
            list_ahead(listing)
        with self._telemetry.step("eventbox.commit", self._span):
            committed = await self._commit(listing, left, state, eversion, todo.transitions)
        kept = None
        if self._kept is not None:
            kept, self._ahead = self._kept.with_listing(self._ahead), None
        self._telemetry.removed(self._recipient, len(self._consumed))
        return BatchResult(
            events,
            listing.complete,
            garbage.union(self._consumed),
            tuple(one.post_process for one in committed if one.post_process is not None),
            skipped=len(committed) < len(todo.transitions),
            transitions=len(committed),
            quiet=not any(one.side_effect or one.post_process for one in committed),
            kept=kept,
        )

    async def _list_beside_load(self, bounds: Bounds, without: Collection[str]) -> Listing:
        """List beside the load of the state, which has just begun, and is waited for first.

        Its RPC is sent in the next turn of the event loop, before which putting a query together would come. (A commit
        comes second: it is large where a listing is long, and the next batch waits for both.)
        """
        await asyncio.sleep(0)
        return await self._list(bounds, without)

    async def _list(self, bounds: Bounds, without: Collection[str], after: Cursor = None) -> Listing:
        max_events, max_bytes = self._offered.within(bounds.max_events, bounds.max_bytes)
        began = self._clock.monotonic()
        try:
            with self._telemetry.step("dsset.list", self._span):
                listing = await self._inbox.list(
                    max_events,
                    max_bytes=max_bytes,
                    due_by=bounds.as_of,
                    without=without,
                    after=after,
                )
        except BaseException as error:
            self._telemetry.not_listed(self._recipient, error, self._clock.monotonic() - began)
            raise
        self._telemetry.listed(self._recipient, listing, self._clock.monotonic() - began)
        return listing

    async def _prepare(self, listing: Listing, events: tuple[Event, ...], state: S) -> Plan[S]:
        """Let the processor decide; what is to be done."""
        try:
            mutation = await check_awaitable(self._processor.prepare_mutation(events, state), self._source)
        except PrepareError as error:
            try:
                garbage = check_garbage(events, error.garbage, self._source)
            except Exception as mistake:
                self._suspect(mistake, listing, events)
                raise
            await self._delete(garbage, listing)
            cause = error if error.__cause__ is None else error.__cause__
            self._suspect(cause, listing, tuple(event for event in events if event not in garbage))
            raise cause  # noqa: B904 - the processor said what the cause is
        except Exception as error:
            self._suspect(error, listing, events)
            raise
        try:
            return plan(
                events,
                mutation,
                unchanged=partial(self._offered.unchanged, state),
                same=self._offered.same,
                source=self._source,
            )
        except Exception as error:
            self._suspect(error, listing, events)
            raise

    def _suspect(self, error: BaseException, listing: Listing, left: tuple[Event, ...]) -> None:
        """Note it where it may be for one of these events, which are left of the listing, that something failed."""
        if isinstance(error, Exception) and may_be_an_events_fault(error):
            self.suspicion = Suspicion(error, listing, left)

    async def _delete(self, garbage: Sequence[Event], listing: Listing) -> None:
        if garbage:
            await self._inbox.delete((event.id for event in garbage), not_before=listing.read_time)
            self._telemetry.removed(self._recipient, len(garbage))

    async def _commit(
        self,
        listing: Listing,
        left: tuple[Event, ...],
        state: S,
        eversion: int,
        transitions: Sequence[Transition[S]],
    ) -> Sequence[Transition[S]]:
        """Do everything that happens in the transaction; the transitions that were committed."""
        self._kept = None
        transaction = Transaction(
            self._client,
            clock=self._clock,
            rng=self._rng,
            concurrency=self._concurrency,
            token=self._rng.randbytes(16),
        )
        try:
            now = await self._processor.fetch_eversion(transaction)
            if now != eversion:
                raise ContentionError(
                    f"{self._recipient} was processed by somebody else meanwhile: its eversion was {eversion} "
                    f"when the batch began and is {now} now"
                )
            kept = await self._apply(transaction, listing, left, transitions)
            saves = bool(kept) and not self._offered.unchanged(state, kept[-1].transition_to)
            if saves:
                await self._processor.save_state(transaction, kept[-1].transition_to, eversion + 1)
            if kept:
                await self._read_absences(transaction)
            if transaction._aborted is not None:
                raise transaction._aborted
        except BaseException as error:
            aborted = transaction._aborted
            await transaction._end("rolled back" if aborted is None else "aborted")
            if aborted is not None and isinstance(error, Exception):
                raise ContentionError(
                    f"Firestore aborted a read in the transaction: {aborted.message}"
                ) from error
            raise
        if not kept:
            await transaction._end("rolled back")
            return kept

        async def resolve() -> Outcome:
            return await self._was_committed(transaction.token, listing, eversion + 1 if saves else None)

        try:
            response = await commit(transaction, resolve=resolve)
        except GoogleAPICallError as error:
            # what no side effect wrote is the state's fault, or for how much was written
            written = len(left) > 1 or any(transition.side_effect for transition in kept)
            if written and may_be_an_events_refusal(error):
                self.suspicion = Suspicion(error, listing, left)
            raise
        if self._goes_on and response is not None and len(kept) == len(transitions):
            after = kept[-1].transition_to if saves else state
            self._kept = self._offered.keep(
                transaction, response, after, eversion + saves, saved=saves, committed=kept
            )
        return kept

    async def _apply(
        self,
        transaction: Transaction,
        listing: Listing,
        left: tuple[Event, ...],
        transitions: Sequence[Transition[S]],
    ) -> Sequence[Transition[S]]:
        """Run the side effects and consume the events, in order; the transitions before one that was skipped."""
        for position, transition in enumerate(transitions):
            if transition.side_effect is not None:
                take_back = transaction._savepoint()
                source = f"the side effect of transition {position} that {self._source} returned"
                try:
                    await check_awaitable(transition.side_effect(transaction), source)
                except SkipTransition as skip:
                    if self._offered.changed_in_place():
                        raise ValueError(
                            f"{self._source} changed the loaded state in place, so what belongs to the transition "
                            "that was skipped cannot be taken back: let each transition have a state of its own"
                        ) from skip
                    take_back()
                    return transitions[:position]
                except Exception as error:
                    self._suspect(error, listing, left)
                    raise
            if transition.events:
                ids = [event.id for event in transition.events]
                transaction._consume(self._inbox.removals(listing, ids, token=transaction.token))
                self._consumed += ids
        return transitions

    async def _read_absences(self, transaction: Transaction) -> None:
        """Make the commit depend on the absence of a document that it does not write: by a read in the transaction."""
        root = f"{self._client._database_string}/documents/"
        for name in transaction._staging.unwritten_absences:
            snapshot = await transaction.get(self._client.document(name.removeprefix(root)))
            if snapshot.exists:
                raise ContentionError(f"{self._recipient} did not exist when the batch began, and exists now")
            transaction._staging.drop(name)

    async def _was_committed(self, token: bytes, listing: Listing, saved: int | None) -> Outcome:
        """What became of the commit of the batch of this token, by what it would have left behind."""
        # the tombstones first: a successor may have written its own token into the state
        told = await ask_tombstones(self._inbox, listing, self._consumed, token)
        if told is not None:
            return told
        return Outcome.UNKNOWN if saved is None else await self._offered.was_saved(token, saved)
