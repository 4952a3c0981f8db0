"""`EventStore`: events from elsewhere, each taken in once, and kept until it is known to have arrived."""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Iterable, Mapping
from datetime import timedelta
from random import Random, SystemRandom
from typing import Any

from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    GoogleAPICallError,
    NotFound,
    from_grpc_status,
)
from google.cloud.firestore_v1.async_document import AsyncDocumentReference
from google.cloud.firestore_v1.async_transaction import AsyncTransaction
from grpc import StatusCode

from dsset import documents, protos
from dsset.clock import Clock, SystemClock
from dsset.retry import TRANSIENT, Backoff, is_transient, retry_transient
from dsset.server_time import ServerTime
from dsset.wire import Wire
from eventbox.sources import stored_event
from eventbox.sources.arguments import check_bytes, check_ref, check_text, check_transaction
from eventbox.sources.kv import KV
from eventbox.sources.stored_event import (
    MAX_DATA_BYTES,
    MAX_TYPE_BYTES,
    STORE,
    StoredEvent,
    is_id,
    stored_event_id,
)
from eventbox.sources.votes import VoteStore

PAGE = 500
_MAX_WRITES = 500
_TIMEOUT = timedelta(minutes=1)
_GRAIN = timedelta(
    milliseconds=1
)  # commit times only rise: that of a deletion may run ahead of the clock by a little
_CODES = {code.value[0]: code for code in StatusCode}


class EventStore:
    """A store of events under a document, each under a hash of what it says.

        store = EventStore(client.document("sources/payments"), event_types={"paid", "refunded"})
        event_id = await store.store(body, "paid")     # however often the webhook comes

    An event is new, then broadcasted, then received; `mark_rebroadcast` makes a broadcasted one new again, and nothing
    takes a received one back. A deleted event is not taken in again: the store remembers its ID.

    Args:
        ref: the document that it lies under. It need not exist.
        event_types: the types that may be stored; any, by default.
        votes: is asked before an event is stored; what it says is processed is not stored.
        remember: for how long after its deletion an event is known; forever by default. Each one costs a document of
            some 200 bytes for that time. With a duration, a TTL policy on `expire_at` removes it some time after that,
            which is billed as a delete.
        clock: what it waits by between attempts.
        rng: where jitter comes from; the operating system by default.

    Every method retries transient errors for up to a minute, and then raises what google.api_core raises; all of them
    are harmless to repeat. Marks and deletions take one ID or several; an ID that is not in the store is passed over.
    """

    def __init__(
        self,
        ref: AsyncDocumentReference,
        *,
        event_types: Collection[str] | None = None,
        votes: VoteStore | None = None,
        remember: timedelta | None = None,
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        check_ref(ref)
        if isinstance(event_types, str | bytes):
            raise TypeError(f"event_types must be a collection of str, not one: {event_types!r}")
        for event_type in event_types or ():
            check_text("an event type", event_type, MAX_TYPE_BYTES)
        if votes is not None and not callable(getattr(votes, "is_processed", None)):
            raise TypeError(f"votes must be a VoteStore, not {type(votes).__name__}")
        if remember is not None and (not isinstance(remember, timedelta) or remember <= timedelta(0)):
            raise ValueError(f"remember must be a positive timedelta or None, not {remember!r}")
        self.ref = ref
        self._event_types = None if event_types is None else frozenset(event_types)
        self._votes = votes
        self._remember = remember
        self._clock = clock or SystemClock()
        self._rng = rng or SystemRandom()
        self._client = ref._client
        self._server_time = ServerTime.of(self._client, self._clock)
        self._prefix = f"{ref._document_path}/{STORE}/"

    # Storing --------------------------------------------------------------------------------------------------

    async def store(
        self, data: bytes, event_type: str, *, transaction: AsyncTransaction | None = None
    ) -> str:
        """Take an event in, unless it is known already; its ID, a hash of type and bytes.

        Args:
            data: at most 900,000 bytes; may be empty.
            event_type: 1 to 256 bytes of UTF-8; one of the store's `event_types`.
            transaction: it is stored if and only if that commits.

        Raises:
            TypeError, ValueError: a bad argument, or a type that is not registered; nothing was sent.

        Cost: 1 RPC and 1 write; for one that is known 2 RPCs and 1 read. In a transaction: 1 RPC and 1 read, and 1
        write of its commit if it is new. Besides what `votes` takes.
        """
        check_bytes("data", data, MAX_DATA_BYTES)
        check_text("event_type", event_type, MAX_TYPE_BYTES)
        if self._event_types is not None and event_type not in self._event_types:
            raise ValueError(
                f"event type {event_type!r} is not registered; this store takes {sorted(self._event_types)}"
            )
        check_transaction(transaction, self.ref)
        event_id = stored_event_id(data, event_type)
        if self._votes is not None and await self._votes.is_processed(event_id):
            return event_id
        if transaction is not None:
            await self._store_in(transaction, event_id, data, event_type)
        else:
            await self._store(self._prefix + event_id, data, event_type)
        return event_id

    async def _store(self, name: str, data: bytes, event_type: str) -> None:
        document = protos.Document(name=name, fields=stored_event.fields(data, event_type))
        condition = protos.Precondition(exists=False)
        wire, backoff = Wire.of(self._client), Backoff(self._clock, self._rng, _TIMEOUT)
        while True:
            try:
                write = protos.Write(update=document, current_document=condition)
                await wire.commit([write], timeout=backoff.attempt_timeout)
                return
            except (AlreadyExists, FailedPrecondition, NotFound):
                found = await self._look(name, backoff)
                if found.WhichOneof("result") == "missing":
                    condition = protos.Precondition(exists=False)
                    continue
                age = documents.moment(found.read_time) - documents.moment(found.found.update_time)
                if stored_event.is_known(found.found.fields, age + _GRAIN, self._remember):
                    return
                condition = protos.Precondition(update_time=found.found.update_time)
            except GoogleAPICallError as error:
                if not is_transient(error) or not await backoff.wait():
                    raise

    async def _store_in(
        self, transaction: AsyncTransaction, event_id: str, data: bytes, event_type: str
    ) -> None:
        snapshot = await self._document(event_id).get(transaction=transaction)
        if snapshot.exists:
            age = snapshot.read_time - snapshot.update_time
            if stored_event.is_known(snapshot.to_dict() or {}, age + _GRAIN, self._remember):
                return
        document = protos.Document(name=self._prefix + event_id, fields=stored_event.fields(data, event_type))
        transaction._add_write_pbs([protos.wrap_write(protos.Write(update=document))])

    # Listing --------------------------------------------------------------------------------------------------

    async def get_event(self, id: str) -> StoredEvent | None:
        """The event, if it is held. 1 RPC, 1 read."""
        if not is_id(_check_id(id)):
            return None
        found = await self._look(self._prefix + id, Backoff(self._clock, self._rng, _TIMEOUT))
        return stored_event.decode(found.found) if found.WhichOneof("result") == "found" else None

    async def get_events(self) -> list[StoredEvent]:
        """All events that are held, in the order in which they were stored.

        Cost: 1 RPC for each 500; 1 read an event, at least 1.
        """
        return await self._all({"held": True})

    async def get_unreceived_events(self) -> list[StoredEvent]:
        """All that are neither received nor broadcasted, in the order in which they were stored.

        For more than fits the memory see `unreceived`. Cost: as `get_events`; what was received is not read.
        """
        return await self._all({"received": False, "broadcasted": False})

    def unreceived(
        self, *, broadcasted: bool = False, unchanged_for: timedelta = timedelta(0), page: int = PAGE
    ) -> AsyncIterator[list[StoredEvent]]:
        """Those that are not received, page by page, each of at most `page` events in the order of their IDs.

        Args:
            broadcasted: False for those that wait to be broadcasted, True for those that wait to be received.
            unchanged_for: leaves out (but reads) those that were marked or stored in this time.
            page: how many are read by 1 RPC.
        """
        if not isinstance(page, int) or isinstance(page, bool):
            raise TypeError(f"page must be an int, not {type(page).__name__}")
        if not 0 < page < 2**31:
            raise ValueError(f"page must be positive and fit 32 bits, not {page}")
        return self._events({"received": False, "broadcasted": broadcasted}, page, unchanged_for)

    async def _all(self, conditions: Mapping[str, bool]) -> list[StoredEvent]:
        found = []
        async for responses in self._pages(conditions, PAGE):
            found.extend([(one.document.create_time.ToNanoseconds(), one.document) for one in responses])
        found.sort(key=lambda pair: pair[0])
        return [event for _, document in found if (event := stored_event.decode(document)) is not None]

    async def _events(
        self, conditions: Mapping[str, bool], page: int, unchanged_for: timedelta
    ) -> AsyncIterator[list[StoredEvent]]:
        async for responses in self._pages(conditions, page):
            yield [
                event
                for one in responses
                if documents.moment(one.read_time) - documents.moment(one.document.update_time)
                >= unchanged_for - _GRAIN
                and (event := stored_event.decode(one.document)) is not None
            ]

    async def _pages(self, conditions: Mapping[str, bool], page: int) -> AsyncIterator[list[Any]]:
        after: str | None = None
        while True:
            query = stored_event.query(conditions, page, after)
            responses = await retry_transient(
                lambda timeout, query=query: self._run(query, timeout),  # type: ignore[misc]
                Backoff(self._clock, self._rng, _TIMEOUT),
            )
            if responses:
                yield responses
            if len(responses) < page:
                return
            after = responses[-1].document.name

    async def _run(self, query: Any, timeout: float) -> list[Any]:
        responses = Wire.of(self._client).run_query(self.ref._document_path, query, timeout=timeout)
        return [response async for response in responses if response.HasField("document")]

    # Marking --------------------------------------------------------------------------------------------------

    async def mark_broadcasted(
        self, ids: str | Iterable[str], *, transaction: AsyncTransaction | None = None
    ) -> None:
        """Note that they were broadcasted, and wait to be received.

        Cost: 1 write an event, in 1 RPC for each 500; in a transaction no RPC, but writes of its commit. No read.
        """
        await self._mark(ids, "broadcasted", True, transaction)

    async def mark_rebroadcast(
        self, ids: str | Iterable[str], *, transaction: AsyncTransaction | None = None
    ) -> None:
        """Have those that are not received broadcasted again. Cost: as `mark_broadcasted`."""
        await self._mark(ids, "broadcasted", False, transaction)

    async def mark_received(
        self, id: str | Iterable[str], *, transaction: AsyncTransaction | None = None
    ) -> None:
        """Note that they have arrived: for good. Cost: as `mark_broadcasted`."""
        await self._mark(id, "received", True, transaction)

    async def delete_event(
        self, id: str | Iterable[str], *, transaction: AsyncTransaction | None = None
    ) -> None:
        """Let go of them; the store still knows them, for as long as `remember` says. Cost: as `mark_broadcasted`."""
        expire_at = None
        if self._remember is not None:
            # a clock that lags must not let TTL take it early: the server's time is a lower bound
            now = self._clock.now()
            now = max(now, self._server_time.lower_bound() or now)
            expire_at = now + self._remember + documents.TTL_MARGIN
        names = self._names(id, transaction)
        await self._write([stored_event.deletion(name, expire_at) for name in names], transaction)

    async def _mark(
        self, ids: str | Iterable[str], field: str, value: bool, transaction: AsyncTransaction | None
    ) -> None:
        names = self._names(ids, transaction)
        await self._write([stored_event.mark(name, field, value) for name in names], transaction)

    def _names(self, ids: str | Iterable[str], transaction: AsyncTransaction | None) -> list[str]:
        check_transaction(transaction, self.ref)
        given = list(ids) if isinstance(ids, Iterable) and not isinstance(ids, str | bytes) else [ids]
        unique = dict.fromkeys(_check_id(one) for one in given)
        return [self._prefix + one for one in unique if is_id(one)]

    async def _write(self, writes: list[Any], transaction: AsyncTransaction | None) -> None:
        if transaction is not None:  # blindly: a precondition would fail the whole transaction
            transaction._add_write_pbs([protos.wrap_write(write) for write in writes])
            return
        for write in writes:
            write.current_document.exists = True
        backoff = Backoff(self._clock, self._rng, _TIMEOUT)
        for begin in range(0, len(writes), _MAX_WRITES):
            await self._write_each(writes[begin : begin + _MAX_WRITES], backoff)

    async def _write_each(self, writes: list[Any], backoff: Backoff) -> None:
        wire = Wire.of(self._client)
        while writes:
            again: list[Any] = []
            try:
                response = await wire.batch_write(writes, timeout=backoff.attempt_timeout)
            except GoogleAPICallError as failed:
                error, again = failed, writes
                if not is_transient(error):
                    raise
            else:
                for write, status in zip(writes, response.status, strict=True):
                    code = _CODES.get(status.code, StatusCode.UNKNOWN)
                    if code in (StatusCode.OK, StatusCode.NOT_FOUND):
                        continue
                    error = from_grpc_status(code, status.message)
                    if code not in TRANSIENT:
                        raise error
                    again.append(write)
            writes = again
            if writes and not await backoff.wait():
                raise error

    # The rest -------------------------------------------------------------------------------------------------

    def kv(self, prefix: bytes) -> KV:
        """A key-value scope of this store, of its own for each prefix."""
        return KV(self.ref, prefix, clock=self._clock, rng=self._rng)

    def _document(self, event_id: str) -> AsyncDocumentReference:
        return self.ref.collection(STORE).document(event_id)

    async def _look(self, name: str, backoff: Backoff) -> Any:
        wire = Wire.of(self._client)
        responses = await retry_transient(lambda timeout: wire.batch_get([name], timeout=timeout), backoff)
        return responses[name]


def _check_id(id: object) -> str:
    if not isinstance(id, str):
        raise TypeError(f"the ID of an event must be a str, not {type(id).__name__}")
    return id
