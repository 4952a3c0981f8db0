"""Transactions: when they begin, what they have read, and when they end or expire."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from typing import Any

from grpc import StatusCode

from emulator.clock import Clock
from emulator.firestore import protos
from emulator.firestore.lock_queue import Owner
from emulator.firestore.locks import LockTable
from emulator.firestore.query import Query
from emulator.firestore.versions import microseconds
from emulator.status import Status

MAX_AGE = timedelta(seconds=270)
MAX_IDLE = timedelta(seconds=60)
"""Production's limits, by Firestore's documentation."""

_MAX_AGE_US = MAX_AGE // timedelta(microseconds=1)
_MAX_IDLE_US = MAX_IDLE // timedelta(microseconds=1)

_REMEMBERED = 10_000
"""How many finished transactions are told apart from unknown ones."""

_MODES = protos.TransactionOptions.ConcurrencyMode
_GONE = "The referenced transaction has expired or is no longer valid."
_CONTENTION = "Too much contention on these documents. Please try again."


@dataclass(eq=False)
class Transaction:
    """A transaction that is under way.

    A pessimistic one locks what it reads. An optimistic one, and a read-only one, holds nothing. Each reads as of its
    first read (`snapshot_us`); a pessimistic one as of a later time where what it is about to lock has changed since.
    """

    id: bytes
    database: str
    owner: Owner
    pessimistic: bool
    read_only: bool
    began_us: int
    used_us: int
    snapshot_us: int | None = None
    read: set[str] = field(default_factory=set)
    queries: list[Query] = field(default_factory=list)


class TransactionManager:
    """The transactions of one engine."""

    def __init__(self, clock: Clock, locks: LockTable, *, pessimistic: bool, seed: int | str) -> None:
        self._clock = clock
        self._locks = locks
        self._pessimistic = pessimistic
        self._rng = Random(seed)
        self._active: dict[bytes, Transaction] = {}
        self._ages: dict[bytes, int] = {}  # of all that are remembered, for those who try again
        self._next_age = 0
        self._soonest_us = 0  # nothing expires before this: using a transaction only puts it off

    def begin(self, database: str, options: Any) -> Transaction:
        """A new transaction; INVALID_ARGUMENT for options that contradict themselves."""
        self.expire()
        now_us = self._now_us()
        mode = options.WhichOneof("mode")
        read_only = mode == "read_only"
        retried = options.read_write.retry_transaction if mode == "read_write" else b""
        concurrency = options.read_write.concurrency_mode if mode == "read_write" else 0
        pessimistic = self._pessimistic if concurrency == 0 else concurrency == _MODES.PESSIMISTIC
        age = self._ages.get(retried) if retried else None
        self._next_age += 1
        transaction = Transaction(
            id=self._next_age.to_bytes(8, "big") + self._rng.randbytes(8),
            database=database,
            owner=Owner(self._next_age if age is None else age, exclusive=age is not None),
            pessimistic=pessimistic and not read_only,
            read_only=read_only,
            began_us=now_us,
            used_us=now_us,
        )
        if read_only and options.read_only.HasField("read_time"):
            transaction.snapshot_us = microseconds(options.read_only.read_time)
        self._soonest_us = (
            min(self._soonest_us, self._expires(transaction)) if self._active else self._expires(transaction)
        )
        self._active[transaction.id] = transaction
        self._ages[transaction.id] = transaction.owner.age or 0
        while len(self._ages) > _REMEMBERED:
            del self._ages[next(iter(self._ages))]
        return transaction

    def get(self, transaction_id: bytes, database: str) -> Transaction:
        """The transaction of this ID, which has been used now.

        INVALID_ARGUMENT where it is unknown, another database's, finished or expired; ABORTED where it lost.
        """
        self.expire()
        transaction = self._active.get(transaction_id)
        if transaction is None or transaction.database != database:
            raise Status(StatusCode.INVALID_ARGUMENT, _GONE)
        self.check(transaction)
        return transaction

    def check(self, transaction: Transaction) -> None:
        """ABORTED where the transaction has lost meanwhile; where it has not, it has been used now."""
        if transaction.owner.aborted:
            raise aborted()
        if transaction.id not in self._active:
            raise Status(StatusCode.INVALID_ARGUMENT, _GONE)
        transaction.used_us = self._now_us()

    def rollback(self, transaction_id: bytes, database: str) -> None:
        """End a transaction without a commit; one that has ended already is no error, an unknown one is."""
        transaction = self._active.get(transaction_id)
        if transaction is not None and transaction.database == database:
            self.finish(transaction)
        elif transaction is not None or transaction_id not in self._ages:
            raise Status(StatusCode.INVALID_ARGUMENT, _GONE)

    def abort(self, transaction_id: bytes) -> None:
        """Let a transaction lose, if it is there."""
        transaction = self._active.get(transaction_id)
        if transaction is not None:
            self._locks.abort(transaction.owner)

    def finish(self, transaction: Transaction) -> None:
        """End a transaction: let go of its locks."""
        self._active.pop(transaction.id, None)
        self._locks.release(transaction.owner)

    def expire(self) -> None:
        """End the transactions that are too old or were idle for too long."""
        if not self._active:
            return
        now_us = self._now_us()
        if now_us < self._soonest_us:
            return  # each RPC asks: it must not cost more where many transactions are under way
        for transaction in [one for one in self._active.values() if self._expires(one) <= now_us]:
            del self._active[transaction.id]
            self._locks.abort(transaction.owner)
        # who waits is not idle, but may be as soon as the wait is over
        idle = now_us + _MAX_IDLE_US
        self._soonest_us = min(idle, min(map(self._expires, self._active.values()), default=idle))

    def next_expiry(self) -> timedelta | None:
        """How long until it is worth calling `expire`: not after the next one expires; None where there is none."""
        if not self._active:
            return None
        return timedelta(microseconds=max(0, self._soonest_us - self._now_us()))

    def clear(self, database: str | None = None) -> None:
        """End all transactions."""
        for transaction in list(self._active.values()):
            if database in (None, transaction.database):
                del self._active[transaction.id]
                self._locks.abort(transaction.owner)

    def new_document_id(self) -> str:
        """An ID for a document that was created without one."""
        return self._rng.randbytes(10).hex()

    def _now_us(self) -> int:
        """The clock's monotonic time in whole microseconds: sums of floats drift, and waits would end too early."""
        return round(self._clock.monotonic() * 1e6)

    def _expires(self, transaction: Transaction) -> int:
        oldest = transaction.began_us + _MAX_AGE_US
        if self._locks.waits(transaction.owner):  # that is not idle
            return oldest
        return min(oldest, transaction.used_us + _MAX_IDLE_US)


def aborted() -> Status:
    """What a transaction is told that lost to another."""
    return Status(StatusCode.ABORTED, _CONTENTION)
