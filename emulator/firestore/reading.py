"""Reading: as things are, as they were, or as a transaction sees them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from grpc import StatusCode

from emulator.firestore.locks import LockTable
from emulator.firestore.ordered_index import QueryRun
from emulator.firestore.query import Query
from emulator.firestore.store import Store
from emulator.firestore.transactions import Transaction, TransactionManager
from emulator.firestore.versions import Version, microseconds
from emulator.status import Status


@dataclass(frozen=True, slots=True)
class Consistency:
    """What a request's consistency selector says: a transaction, one that has just begun, a time, or nothing."""

    transaction: Transaction | None = None
    began: bool = False
    read_us: int | None = None


class Reader:
    """Reads from the store, under the locks."""

    def __init__(self, store: Store, locks: LockTable, transactions: TransactionManager) -> None:
        self._store = store
        self._locks = locks
        self._transactions = transactions

    def consistency(self, request: Any, database: str) -> Consistency:
        """What the request asks for; begins a transaction where it says so."""
        match request.WhichOneof("consistency_selector"):
            case "transaction":
                return Consistency(self._transactions.get(request.transaction, database))
            case "new_transaction":
                self.check_options(request.new_transaction)
                return Consistency(self._transactions.begin(database, request.new_transaction), began=True)
            case "read_time":
                return Consistency(read_us=self._read_time(request.read_time))
        return Consistency()

    def check_options(self, options: Any) -> None:
        """Raise the documented error where a transaction is to read at a time that cannot be read at."""
        if options.WhichOneof("mode") == "read_only" and options.read_only.HasField("read_time"):
            self._read_time(options.read_only.read_time)

    async def documents(
        self, names: Sequence[str], consistency: Consistency
    ) -> tuple[list[Version | None], int]:
        """The documents of these names (None: there is none), and the read time in microseconds."""
        transaction = consistency.transaction
        if transaction is not None and transaction.pessimistic:
            with self._ending_what_fails_to_begin(consistency):
                await self._locks.read(transaction.owner, names)
                self._transactions.check(transaction)
            locked_us = self._locked_read_us(
                transaction, lambda since: any(self._store.changed_at(name) > since for name in names)
            )
            return [self._store.latest(name) for name in names], locked_us
        read_us = self._read_us(consistency)
        if transaction is not None:
            transaction.read.update(names)
        if read_us is None:
            return [self._store.latest(name) for name in names], self._store.read_time()
        return [self._store.at(name, read_us) for name in names], read_us

    async def query(self, query: Query, consistency: Consistency) -> tuple[QueryRun, int]:
        """What the query finds, and the read time in microseconds."""
        transaction = consistency.transaction
        if transaction is not None and transaction.pessimistic:
            with self._ending_what_fails_to_begin(consistency):
                await self._locks.read_query(transaction.owner, query)
                self._transactions.check(transaction)
            locked_us = self._locked_read_us(
                transaction, lambda since: any(True for _ in self._store.changes_since(query, since))
            )
            return self._store.indexes.run(query), locked_us
        read_us = self._read_us(consistency)
        if transaction is not None:
            transaction.queries.append(query)
        if read_us is None:
            return self._store.indexes.run(query), self._store.read_time()
        changed = self._store.changed_since(query, read_us)
        return self._store.indexes.run(query, changed), read_us

    def missing(self, collection: str, consistency: Consistency) -> set[str]:
        """The names of a collection's documents that do not exist but have collections under them."""
        transaction = consistency.transaction
        # no lock is about what does not exist: a pessimistic transaction sees what there is now, as it does elsewhere
        pessimistic = transaction is not None and transaction.pessimistic
        return self._store.missing_below(collection, None if pessimistic else self._read_us(consistency))

    @contextmanager
    def _ending_what_fails_to_begin(self, consistency: Consistency) -> Iterator[None]:
        """End a transaction whose first read fails, or is given up: nobody has been told its ID."""
        try:
            yield
        except BaseException:
            if consistency.began and consistency.transaction is not None:
                self._transactions.finish(consistency.transaction)
            raise

    def _locked_read_us(self, transaction: Transaction, changed_since: Callable[[int], bool]) -> int:
        """When a transaction reads what it has locked: at the time of its first read, unless that has changed since.

        What it read before is locked, and so still as it was: whatever the time, it sees one snapshot.
        """
        if transaction.snapshot_us is None or changed_since(transaction.snapshot_us):
            transaction.snapshot_us = self._store.read_time()
        return transaction.snapshot_us

    def _read_us(self, consistency: Consistency) -> int | None:
        """When to read at; None: now. A transaction reads everything as of its first read."""
        transaction = consistency.transaction
        if transaction is None:
            return consistency.read_us
        if transaction.snapshot_us is None:
            transaction.snapshot_us = self._store.read_time()
        self._check_age(transaction.snapshot_us)
        return transaction.snapshot_us

    def _read_time(self, time: Any) -> int:
        if time.nanos % 1_000:
            raise Status(StatusCode.INVALID_ARGUMENT, "A read time must have microsecond precision.")
        read_us = microseconds(time)
        if read_us > self._store.read_time():
            raise Status(StatusCode.INVALID_ARGUMENT, "read_time cannot be in the future.")
        self._check_age(read_us)
        return read_us

    def _check_age(self, read_us: int) -> None:
        if read_us < self._store.oldest_us:
            raise Status(StatusCode.FAILED_PRECONDITION, "The requested snapshot version is too old.")
