"""google.firestore.v1.Firestore, as a sans-I/O service: requests in, responses or a `Status` out.

The coroutines suspend on `Waiter`s only; a front drives them, one step at a time, holding `lock` during each step.
"""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable, Iterable, Iterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import Any

from grpc import StatusCode

from emulator.bidi_stream import BidiStream
from emulator.clock import Clock, SystemClock
from emulator.firestore import limits, names, protos
from emulator.firestore.committing import Committer
from emulator.firestore.counts import Counts
from emulator.firestore.document_lists import list_documents
from emulator.firestore.field_paths import parse_field_path
from emulator.firestore.index_definitions import IndexDefinitions
from emulator.firestore.journal import Journal
from emulator.firestore.listen_stream import ListenStream
from emulator.firestore.locks import LockTable
from emulator.firestore.missing_index import require_indexes
from emulator.firestore.query import Query, compile_query, masked
from emulator.firestore.querying import Querying, begun
from emulator.firestore.reading import Reader
from emulator.firestore.responses import Encoded, batch_written, committed, found_by_name
from emulator.firestore.server_time import WRITING, until_server_time
from emulator.firestore.store import Store
from emulator.firestore.transactions import TransactionManager
from emulator.firestore.ttl import TimeToLive
from emulator.firestore.versions import Version, timestamp
from emulator.firestore.watchers import Watchers
from emulator.firestore.write_stream import WriteStream
from emulator.firestore.writes import target
from emulator.rpcs import Rpcs
from emulator.status import Status

UNARY: dict[str, tuple[Any, Any]] = {
    "BatchWrite": (protos.BatchWriteRequest, protos.BatchWriteResponse),
    "BeginTransaction": (protos.BeginTransactionRequest, protos.BeginTransactionResponse),
    "Commit": (protos.CommitRequest, protos.CommitResponse),
    "CreateDocument": (protos.CreateDocumentRequest, protos.Document),
    "DeleteDocument": (protos.DeleteDocumentRequest, protos.Empty),
    "GetDocument": (protos.GetDocumentRequest, protos.Document),
    "ListCollectionIds": (protos.ListCollectionIdsRequest, protos.ListCollectionIdsResponse),
    "ListDocuments": (protos.ListDocumentsRequest, protos.ListDocumentsResponse),
    "PartitionQuery": (protos.PartitionQueryRequest, protos.PartitionQueryResponse),
    "Rollback": (protos.RollbackRequest, protos.Empty),
    "UpdateDocument": (protos.UpdateDocumentRequest, protos.Document),
}
"""The RPCs with one response, by their short names: the classes of request and response."""

STREAMING: dict[str, tuple[Any, Any]] = {
    "BatchGetDocuments": (protos.BatchGetDocumentsRequest, protos.BatchGetDocumentsResponse),
    "ExecutePipeline": (protos.ExecutePipelineRequest, protos.ExecutePipelineResponse),
    "RunAggregationQuery": (protos.RunAggregationQueryRequest, protos.RunAggregationQueryResponse),
    "RunQuery": (protos.RunQueryRequest, protos.RunQueryResponse),
}
"""The RPCs that answer with a stream."""

BIDIRECTIONAL: dict[str, tuple[Any, Any]] = {
    "Listen": (protos.ListenRequest, protos.ListenResponse),
    "Write": (protos.WriteRequest, protos.WriteResponse),
}
"""The RPCs that are streams both ways."""

RPCS = Rpcs("google.firestore.v1.Firestore", UNARY, STREAMING, BIDIRECTIONAL)


class Service:
    """One engine, with any number of projects and databases in it.

    Raises:
        ValueError: the data folder, or the file of indexes, cannot be used.
    """

    def __init__(
        self,
        *,
        clock: Clock,
        data_dir: Path | None = None,
        concurrency: str = "pessimistic",
        indexes: Path | None = None,
        enforce_indexes: bool = False,
        seed: int = 0,
    ) -> None:
        self.lock = threading.RLock()
        self.rpcs = RPCS
        self.counts = Counts()
        self._clock = clock
        self._clock_runs = isinstance(clock, SystemClock)  # one that a test moves by hand is never waited for
        definitions = IndexDefinitions.load(indexes)
        self._journal = None if data_dir is None else Journal(data_dir)
        try:
            self._store = Store(clock, self._journal)
        except ValueError:
            self.close()
            raise
        self._watchers = Watchers()
        self._store.on_change = self._watchers.collection_changed
        self._locks = LockTable()
        # data outlive the process, and so do clients: an ID that one of them kept from another life is nobody's now
        lasting_seed = seed if data_dir is None else f"{seed} {self._store.life}"
        self._transactions = TransactionManager(
            clock, self._locks, pessimistic=concurrency == "pessimistic", seed=lasting_seed
        )
        self._definitions = definitions
        self._enforce_indexes = enforce_indexes
        self._ttl = TimeToLive(definitions.ttl_fields)
        if self._ttl:
            for version in self._store.documents():
                self._ttl.written(version.message)
                version.forget()
        self._committer = Committer(self._store, self._locks, self._transactions, self._ttl, self.counts)
        self._reader = Reader(self._store, self._locks, self._transactions)
        self._querying = Querying(self._store, self._reader, self.counts, self._compile)
        self._unary: dict[str, Callable[[Any], Awaitable[Any]]] = {
            "BatchWrite": self._batch_write,
            "BeginTransaction": self._begin,
            "Commit": self._commit,
            "CreateDocument": self._create_document,
            "DeleteDocument": self._delete_document,
            "GetDocument": self._get_document,
            "ListCollectionIds": self._list_collection_ids,
            "ListDocuments": self._list_documents,
            "PartitionQuery": self._querying.partition,
            "Rollback": self._rollback,
            "UpdateDocument": self._update_document,
        }
        self._streaming: dict[str, Callable[[Any], Awaitable[Iterable[Any]]]] = {
            "BatchGetDocuments": self._batch_get,
            "ExecutePipeline": self._querying.execute_pipeline,
            "RunAggregationQuery": self._querying.aggregate,
            "RunQuery": self._querying.run,
        }

    def called(self, rpc: str) -> None:
        """Count a call, whatever becomes of it."""
        self.counts.rpcs[rpc] += 1

    def pause_before(self, rpc: str, request: Any) -> timedelta | None:
        """How long a request for the server's time has to be held up (see `server_time`); None: not at all."""
        if not self._clock_runs or rpc not in WRITING:
            return None
        return until_server_time(request, self._clock.now())

    def refused(self, request: Any, code: StatusCode) -> None:
        """An ABORTED ends the transaction, as in production: whoever begins anew must not wait for its locks."""
        if code is StatusCode.ABORTED:
            self._transactions.abort(getattr(request, "transaction", b""))

    async def unary(self, rpc: str, request: Any, received: int | None = None) -> Any:
        """The response of an RPC that has one; a Status where it fails."""
        self.tick()
        limits.check_request(request, received)
        return await self._unary[rpc](request)

    async def stream(self, rpc: str, request: Any) -> Iterator[Any]:
        """The responses of a streaming RPC; a Status where it fails."""
        self.tick()
        limits.check_request(request)
        return iter(await self._streaming[rpc](request))

    def converse(self, rpc: str) -> BidiStream:
        """A new stream of an RPC that is one both ways."""
        self.tick()
        if rpc == "Listen":
            return ListenStream(self._store, self._watchers, self.counts, self._compile_watched)
        return WriteStream(
            lambda database, writes: self._committer.commit(database, writes, None),
            self._transactions.new_document_id,
        )

    def tick(self) -> None:
        """Do what the clock has made due: end transactions that have expired, delete documents whose time is up."""
        self._transactions.expire()
        if self._ttl:
            now_us = self._store.now_us()
            for name in self._ttl.due(now_us):
                self._committer.expire(name, now_us)

    def next_expiry(self) -> timedelta | None:
        """How long until a transaction expires, for whoever waits for one; None where there is none."""
        return self._transactions.next_expiry()

    def clear(self, database: str | None = None) -> None:
        """Delete everything in a database, or in all, and end its transactions."""
        self._transactions.clear(database)
        self._store.clear(database)
        if database is None:
            self._ttl.clear()

    def documents(self) -> list[Version]:
        """All documents as they are, sorted by name."""
        return sorted(self._store.documents(), key=lambda version: version.name)

    def commit_time(self) -> int:
        """The time of the next commit, in microseconds since the epoch."""
        return self._store.commit_time()

    def replace(self, versions: Sequence[Version], time_us: int) -> None:
        """Put documents in the place of those of their names, all or none; ends all transactions, and history.

        Raises:
            Status: the data folder cannot be written.
        """
        self._store.replace(versions, time_us)
        self._transactions.clear()
        if self._ttl:
            for version in versions:
                self._ttl.written(version.message)
                version.forget()

    def close(self) -> None:
        """Let go of the data folder."""
        if self._journal is not None:
            self._journal.close()

    # Writing ----------------------------------------------------------------------------------------------

    async def _commit(self, request: Any) -> Any:
        database = names.check_database(request.database)
        transaction = self._transactions.get(request.transaction, database) if request.transaction else None
        if transaction is not None and transaction.read_only and request.writes:
            raise Status(StatusCode.INVALID_ARGUMENT, "Cannot modify entities in a read-only transaction.")
        done = await self._committer.commit(database, request.writes, transaction)
        return committed(done.results, done.time_us)

    async def _batch_write(self, request: Any) -> Any:
        database = names.check_database(request.database)
        writes = list(request.writes)
        if len(writes) > limits.MAX_BATCH_WRITES:
            raise Status(
                StatusCode.INVALID_ARGUMENT,
                f"cannot write more than {limits.MAX_BATCH_WRITES} entities in a single call",
            )
        targets = [target(write) for write in writes]
        if len(set(targets)) < len(targets):
            raise Status(
                StatusCode.INVALID_ARGUMENT, "BatchWrite cannot write the same document more than once."
            )
        return batch_written(await self._committer.commit_each(database, targets, writes))

    async def _create_document(self, request: Any) -> Any:
        database = names.check_parent(request.parent)
        names.check_collection_id(request.collection_id)
        document_id = request.document_id or self._transactions.new_document_id()
        names.check_document_id(document_id)
        name = f"{request.parent}/{request.collection_id}/{document_id}"
        document = protos.Document(name=name, fields=request.document.fields)
        write = protos.Write(update=document, current_document=protos.Precondition(exists=False))
        await self._committer.commit(database, [write], None)
        return self._answer(self._store.latest(name), request)

    async def _update_document(self, request: Any) -> Any:
        write = protos.Write(update=request.document)
        if request.HasField("update_mask"):
            write.update_mask.CopyFrom(request.update_mask)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        await self._committer.commit(names.database_of(request.document.name), [write], None)
        return self._answer(self._store.latest(request.document.name), request)

    async def _delete_document(self, request: Any) -> Any:
        write = protos.Write(delete=request.name)
        if request.HasField("current_document"):
            write.current_document.CopyFrom(request.current_document)
        await self._committer.commit(names.database_of(request.name), [write], None)
        return protos.Empty()

    # Transactions -----------------------------------------------------------------------------------------

    async def _begin(self, request: Any) -> Any:
        database = names.check_database(request.database)
        self._reader.check_options(request.options)
        transaction = self._transactions.begin(database, request.options)
        return protos.BeginTransactionResponse(transaction=transaction.id)

    async def _rollback(self, request: Any) -> Any:
        self._transactions.rollback(request.transaction, names.check_database(request.database))
        return protos.Empty()

    # Reading ----------------------------------------------------------------------------------------------

    async def _batch_get(self, request: Any) -> Iterable[Any]:
        database = names.check_database(request.database)
        wanted = [names.check_document(name, database) for name in dict.fromkeys(request.documents)]
        consistency = self._reader.consistency(request, database)
        documents, read_us = await self._reader.documents(wanted, consistency)
        self.counts.reads += len(wanted)
        read_time = timestamp(read_us)
        encoded_time = read_time.SerializeToString()
        responses = list(begun(consistency, protos.BatchGetDocumentsResponse))
        missing = []
        for name, document in zip(wanted, documents, strict=True):
            if document is None:
                missing.append(protos.BatchGetDocumentsResponse(missing=name, read_time=read_time))
            else:
                responses.append(found_by_name(self._masked(document, request), encoded_time))
        # last, as in production: who relies on the order of the request should learn of it here
        return responses + missing

    async def _get_document(self, request: Any) -> Any:
        database = names.database_of(request.name)
        name = names.check_document(request.name, database)
        (document,), _ = await self._reader.documents([name], self._reader.consistency(request, database))
        self.counts.reads += 1
        if document is None:
            raise Status(StatusCode.NOT_FOUND, f'Document "{request.name}" not found.')
        return self._answer(document, request)

    async def _list_documents(self, request: Any) -> Any:
        database = names.check_parent(request.parent)
        if request.collection_id:
            names.check_collection_id(request.collection_id)
        consistency = self._reader.consistency(request, database)
        response, read = await list_documents(request, self._compile, self._reader, consistency)
        self.counts.reads += read
        return response

    async def _list_collection_ids(self, request: Any) -> Any:
        database = names.check_parent(request.parent)
        if request.page_size < 0:
            raise Status(StatusCode.INVALID_ARGUMENT, "Page size must be nonnegative.")
        read_us = self._reader.consistency(request, database).read_us
        ids = [
            one for one in self._store.collections_below(request.parent, read_us) if one > request.page_token
        ]
        size = request.page_size or len(ids)
        self.counts.reads += 1
        return protos.ListCollectionIdsResponse(
            collection_ids=ids[:size], next_page_token=ids[size - 1] if len(ids) > size else ""
        )

    def _answer(self, document: Version | None, request: Any) -> Encoded:
        assert document is not None
        return Encoded(self._masked(document, request))

    def _compile(self, parent: str, structured: Any, aggregations: Iterable[Any] = ()) -> Query:
        """The query; a Status where it is malformed, or lacks an index that is enforced."""
        query = compile_query(parent, structured)
        if self._enforce_indexes:
            require_indexes(self._definitions, query, structured, aggregations)
        return query

    def _compile_watched(self, parent: str, structured: Any) -> Query:
        """The query of a listener; also a Status where it is one that cannot be listened to."""
        if structured.HasField("find_nearest"):
            raise Status(StatusCode.INVALID_ARGUMENT, "Listen does not support FindNearest.")
        return self._compile(parent, structured)

    @staticmethod
    def _masked(document: Version, request: Any) -> bytes:
        assert document.data is not None
        if not request.HasField("mask"):
            return document.data
        paths = (parse_field_path(path) for path in request.mask.field_paths)
        return masked(document, tuple(path for path in paths if path != ("__name__",)))
