"""`Transaction`: google's AsyncTransaction that begins with its first read and may be read at any time."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any, Literal, TypeAlias

from google.api_core.exceptions import Aborted, GoogleAPICallError
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.async_document import AsyncDocumentReference
from google.cloud.firestore_v1.async_transaction import AsyncTransaction
from google.cloud.firestore_v1.base_document import DocumentSnapshot

from dsset import protos
from dsset.clock import Clock
from dsset.encoded_writes import EncodedWrites
from dsset.retry import Backoff, is_transient, retry_transient
from dsset.wire import Wire
from eventbox.errors import TransactionEndedError
from eventbox.lazy_begin import LazyBeginApi
from eventbox.staging import Staging

Concurrency: TypeAlias = Literal["optimistic", "pessimistic"]
OnCommitFn: TypeAlias = Callable[[], Awaitable[None] | None]

GatherFn: TypeAlias = Callable[["Transaction", list[Any]], Awaitable[None]]

COMMITTING = "sent to be committed"

_READ_TIMEOUT = timedelta(minutes=1)
"""How long a read is retried: the transaction would be idle for too long after that (60 s)."""

_ROLLBACK_TIMEOUT_S = 10.0

_MODES = {
    "optimistic": protos.TransactionOptions.ConcurrencyMode.OPTIMISTIC,
    "pessimistic": protos.TransactionOptions.ConcurrencyMode.PESSIMISTIC,
}


@dataclass(frozen=True, slots=True)
class Gathered:
    """Something that is handled together with all others of the same function, once the transaction has committed."""

    fn: GatherFn
    item: Any
    evidence: str = ""  # a document that exists only if the transaction has committed


class Transaction(AsyncTransaction):  # type: ignore[misc]
    """A transaction, to be used wherever google's client takes one.

        snapshot = await ref.get(transaction=transaction)
        transaction.update(ref, {"seen": True})

    It costs no round trip of its own: it begins with its first read, and not at all where nothing is read; then its
    writes are one atomic commit all the same. It may be read at any time, also after writes: reads show the database
    as it was, never the transaction's own writes.

    Once it has committed, `commit_time` is the server's time of that; None where it had nothing to send, or where the
    answer was lost.

    You get one from `EventBox.run_in_transaction` or in a side effect, and whoever made it commits it. Act through it
    alone: the code around it may be run again.
    """

    def __init__(
        self,
        client: AsyncClient,
        *,
        clock: Clock,
        rng: Random,
        concurrency: Concurrency,
        token: bytes = b"",
        retry_of: bytes = b"",
    ) -> None:
        self._placeholder = b""
        super().__init__(client)
        self.token = token
        self._clock = clock
        self._rng = rng
        self._concurrency: Concurrency = concurrency
        self._retry_of = retry_of
        self._server_id = b""
        self._begin_lock = asyncio.Lock()
        self._staging = Staging()
        self._on_commit: list[OnCommitFn | Gathered] = []
        self.commit_time: datetime | None = None
        self._aborted: Aborted | None = None
        self._ended = ""
        self._api = LazyBeginApi.before(client)

    def on_commit(self, fn: OnCommitFn) -> None:
        """Call `fn` (and await what it returns, if that can be awaited) once the transaction has committed.

        It runs at most once, in the order of registration, and not at all if the process dies first. One that fails
        is logged, not raised: the commit stands.
        """
        self._require_open()
        self._on_commit.append(fn)

    async def get(
        self, ref_or_query: Any, retry: Any = None, timeout: float | None = None, **kwargs: Any
    ) -> Any:
        """Read a document, a query or an aggregation in the transaction.

        Transient errors are retried for up to a minute, on the box's clock: `retry` is accepted as google's client
        passes it, and not used.

        Of a document it returns the snapshot (which can be iterated with `async for` as well, as google's signature
        has it); of a query or an aggregation the stream of its results.
        """
        if timeout is not None:
            kwargs["timeout"] = timeout
        if isinstance(ref_or_query, AsyncDocumentReference):
            async for snapshot in self._client.get_all([ref_or_query], transaction=self, **kwargs):
                return _ReadSnapshot.of(snapshot)
        if not hasattr(ref_or_query, "stream"):
            raise TypeError(
                "expected a document reference, a query or an aggregation of the asynchronous client, not "
                f"{type(ref_or_query).__name__}"
            )
        return ref_or_query.stream(transaction=self, **kwargs)

    async def get_all(
        self, references: Iterable[Any], retry: Any = None, timeout: float | None = None, **kwargs: Any
    ) -> AsyncIterator[Any]:
        """Read several documents in one RPC; an asynchronous iterator of their snapshots, in any order."""
        if timeout is not None:
            kwargs["timeout"] = timeout
        return self._client.get_all(list(references), transaction=self, **kwargs)  # type: ignore[no-any-return]

    # What google's classes ask of a transaction ---------------------------------------------------------

    @property
    def _id(self) -> bytes:
        """A placeholder, see `lazy_begin`: made when it is asked for first, since many a transaction reads nothing."""
        if not self._placeholder:
            self._placeholder = b"eventbox/" + self._rng.randbytes(16)
            self._api.register(self)
        return self._placeholder

    @_id.setter
    def _id(self, value: bytes | None) -> None:
        """Set by the constructors of google's classes."""

    @property
    def _write_pbs(self) -> list[Any]:
        return []  # never shown: its client refuses to read after a write, which the server does not

    @_write_pbs.setter
    def _write_pbs(self, value: list[Any]) -> None:
        """Set by the constructors of google's classes."""

    def _add_write_pbs(self, write_pbs: list[Any]) -> None:
        self._require_open()
        for write in write_pbs:
            self._staging.add(write._pb)

    def _consume(self, pops: EncodedWrites) -> None:
        """Consume events, as a `DSSet` says it."""
        self._require_open()
        self._staging.consume(pops)

    def _clean_up(self) -> None:
        """google's would forget the writes and the ID here."""

    async def _begin(self, retry_id: bytes | None = None) -> None:
        raise TypeError("an eventbox Transaction begins by itself: use EventBox.run_in_transaction")

    async def _commit(self) -> list[Any]:
        raise TypeError("an eventbox Transaction is committed by whoever made it, not by its users")

    async def _rollback(self) -> None:
        await self._end("rolled back")

    # What the rest of eventbox asks of it -----------------------------------------------------------------

    def _verify(self, name: str, version: Any | None) -> None:
        """Let the commit fail unless the document is still at this update time (None: does not exist)."""
        self._staging.verify(name, version)

    def _gather(self, fn: GatherFn, item: Any, *, evidence: str = "") -> None:
        """Call `fn` with this transaction and all items gathered for it, in place of the first one's callback.

        `evidence` names a document that this transaction alone can make: where it is found, the commit was done.
        """
        self._require_open()
        self._on_commit.append(Gathered(fn, item, evidence))

    @property
    def _evidence(self) -> str:
        """A document whose existence tells that the transaction has committed; empty where there is none."""
        found = (one.evidence for one in self._on_commit if isinstance(one, Gathered) and one.evidence)
        return next(found, "")

    def _gathered(self, fn: GatherFn) -> list[Any]:
        """The items gathered for `fn` so far, without those that were taken back."""
        return [one.item for one in self._on_commit if isinstance(one, Gathered) and one.fn == fn]

    def _savepoint(self) -> Callable[[], None]:
        """A function that takes back what has been written and registered since."""
        mark, callbacks = self._staging.mark(), len(self._on_commit)

        def take_back() -> None:
            self._staging.take_back(mark)
            del self._on_commit[callbacks:]

        return take_back

    async def _end(self, how: str) -> None:
        """Let go of the server's transaction, if there is one, and refuse all use from now on."""
        if self._ended not in ("", COMMITTING):
            return
        self._ended = how
        if self._server_id and how not in ("committed", "aborted"):
            # shielded: whoever is cancelled must not leave locks behind
            await asyncio.shield(asyncio.ensure_future(self._roll_back()))

    async def _roll_back(self) -> None:
        with suppress(GoogleAPICallError):  # the server lets go of an idle one by itself, after a while
            await Wire.of(self._client).rollback(self._server_id, timeout=_ROLLBACK_TIMEOUT_S)

    def _require_open(self) -> None:
        if self._ended:
            raise TransactionEndedError(
                f"this transaction has been {self._ended}: use it only inside the function that it was handed to"
            )

    # Reading ----------------------------------------------------------------------------------------------

    async def _read(self, rpc: Any, request: dict[str, Any], kwargs: dict[str, Any]) -> AsyncIterator[Any]:
        """Send a read of google's client as part of this transaction; the stream of its responses."""
        self._require_open()
        request = {key: value for key, value in request.items() if key != "transaction"}
        kwargs = {**kwargs, "retry": None}  # GAPIC's retries would sleep outside the clock
        try:
            if not self._server_id:
                async with self._begin_lock:
                    if not self._server_id:
                        return await self._read_first(rpc, request, kwargs)
            return await self._read_next(rpc, request, kwargs, self._backoff())
        except Aborted as error:
            self._aborted = error
            raise

    async def _read_first(
        self, rpc: Any, request: dict[str, Any], kwargs: dict[str, Any]
    ) -> AsyncIterator[Any]:
        backoff = self._backoff()
        try:
            stream = aiter(await rpc(request={**request, "new_transaction": self._options}, **kwargs))
            first = await anext(stream, None)
        except GoogleAPICallError as error:
            if isinstance(error, Aborted) or not is_transient(error) or not await backoff.wait():
                raise
            first = None
        if first is not None and first.transaction:
            self._server_id = bytes(first.transaction)
            return self._relay(first, stream)
        # The read may have begun a transaction whose ID was lost with the answer. Reading so again might leave a
        # second one behind, with locks against our own commit; one begun apart has none.
        wire = Wire.of(self._client)
        self._server_id = await retry_transient(
            lambda timeout: wire.begin(self._options, timeout=timeout), backoff
        )
        return await self._read_next(rpc, request, kwargs, backoff)

    async def _read_next(
        self, rpc: Any, request: dict[str, Any], kwargs: dict[str, Any], backoff: Backoff
    ) -> AsyncIterator[Any]:
        while True:
            try:
                stream = aiter(await rpc(request={**request, "transaction": self._server_id}, **kwargs))
                return self._relay(await anext(stream, None), stream)
            except Aborted:
                raise
            except GoogleAPICallError as error:
                if not is_transient(error) or not await backoff.wait():
                    raise

    async def _relay(self, first: Any, stream: AsyncIterator[Any]) -> AsyncIterator[Any]:
        try:
            # BatchGetDocuments may answer the transaction's ID alone at first, which google's `get` does not expect
            if first is not None and _has_result(first):
                yield first
            async for response in stream:
                yield response
        except Aborted as error:
            self._aborted = error
            raise

    @property
    def _options(self) -> Any:
        """What it begins with."""
        return protos.TransactionOptions(
            read_write=protos.TransactionOptions.ReadWrite(
                concurrency_mode=_MODES[self._concurrency], retry_transaction=self._retry_of
            )
        )

    def _backoff(self) -> Backoff:
        return Backoff(self._clock, self._rng, _READ_TIMEOUT)


class _ReadSnapshot(DocumentSnapshot):  # type: ignore[misc]
    """A snapshot that `async for` takes as well: google's AsyncTransaction.get is declared to yield it."""

    @classmethod
    def of(cls, snapshot: Any) -> _ReadSnapshot:
        return cls(
            snapshot.reference,
            snapshot._data,
            snapshot.exists,
            snapshot.read_time,
            snapshot.create_time,
            snapshot.update_time,
        )

    async def __aiter__(self) -> AsyncIterator[_ReadSnapshot]:
        yield self


def _has_result(response: Any) -> bool:
    fields = response._pb.DESCRIPTOR.oneofs_by_name
    return "result" not in fields or response._pb.WhichOneof("result") is not None
