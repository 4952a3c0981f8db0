"""Carrying out writes: a whole commit or none of it, or each write by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from emulator.firestore import protos
from emulator.firestore.counts import Counts
from emulator.firestore.lock_queue import Owner, touches
from emulator.firestore.locks import LockTable
from emulator.firestore.store import Change, Store
from emulator.firestore.transactions import Transaction, TransactionManager, aborted
from emulator.firestore.ttl import TimeToLive
from emulator.firestore.versions import timestamp
from emulator.firestore.writes import apply_write, check_transforms, target
from emulator.status import Status


@dataclass(frozen=True, slots=True)
class Committed:
    """When a commit happened, and what became of each write."""

    time: Any
    results: list[Any]


class Committer:
    """Applies writes to the store, under the locks."""

    def __init__(
        self,
        store: Store,
        locks: LockTable,
        transactions: TransactionManager,
        ttl: TimeToLive,
        counts: Counts,
    ) -> None:
        self._store = store
        self._locks = locks
        self._transactions = transactions
        self._ttl = ttl
        self._counts = counts

    async def commit(
        self, database: str, writes: Sequence[Any], transaction: Transaction | None
    ) -> Committed:
        """Carry out all writes in order, or none; with a transaction, if it has lost nothing meanwhile."""
        names = [target(write, database) for write in writes]
        owner = Owner(None) if transaction is None else transaction.owner
        try:
            if names:
                await self._locks.write(owner, names, lambda: self._preview(names, writes))
        except BaseException:
            self._forget(names)
            raise
        try:
            if transaction is not None:
                self._transactions.check(transaction)
                self._validate(transaction)
            return self._apply(names, writes)
        except Status:
            self._forget(names)
            raise
        finally:
            if transaction is not None and not owner.aborted:
                self._transactions.finish(transaction)
            self._locks.written(names)

    def expire(self, name: str, now_us: int) -> None:
        """Delete a document whose time is up, unless a later version says otherwise, or a transaction holds it."""
        document = self._store.latest(name)
        expires_us = None if document is None else self._ttl.expires_us(document.message)
        if expires_us is None or expires_us > now_us:
            self._forget([name])
            return
        change: dict[str, Change] = {name: (document, None)}
        if not self._locks.may_write([name], lambda: change):
            self._forget([name])
            self._ttl.later(name, expires_us)
            return
        try:
            self._store.commit(change, self._store.commit_time())
        except Status:  # the journal has no room now: whoever only reads must not suffer from it
            self._forget([name])
            self._ttl.later(name, expires_us)
            return
        self._counts.deletes += 1
        self._locks.written([name])

    def _apply(self, names: Sequence[str], writes: Sequence[Any]) -> Committed:
        now_us = self._store.commit_time()
        changed, results = self._changes(names, writes, now_us)
        expiries = self._expiries(changed) if self._ttl else ()
        self._store.commit(changed, now_us)
        for before, after in changed.values():
            if before is after and before is not None:
                before.forget()
        for name, expires_us in expiries:  # not before: a commit that fails expires nothing
            self._ttl.later(name, expires_us)
        deletes = sum(write.WhichOneof("operation") == "delete" for write in writes)
        self._counts.deletes += deletes
        self._counts.writes += len(writes) - deletes
        return Committed(timestamp(now_us), results)

    def _forget(self, names: Sequence[str]) -> None:
        """Let go of the decoded messages of documents that a commit has looked at and not changed."""
        for document in map(self._store.latest, names):
            if document is not None:
                document.forget()

    def _expiries(self, changed: Mapping[str, Change]) -> list[tuple[str, int]]:
        """When the documents expire that a commit leaves, of those that do."""
        after = (version for _, version in changed.values() if version is not None)
        expiries = ((version.name, self._ttl.expires_us(version.message)) for version in after)
        return [(name, expires_us) for name, expires_us in expiries if expires_us is not None]

    def _changes(
        self, names: Sequence[str], writes: Sequence[Any], now_us: int
    ) -> tuple[dict[str, Change], list[Any]]:
        """What the writes would do to each document, and their results; a Status where one of them fails."""
        changed: dict[str, Change] = {}
        results = []
        check_transforms(names, writes)
        for name, write in zip(names, writes, strict=True):
            if name in changed:
                first, before = changed[name]
            else:
                first = before = self._store.latest(name)
            written = apply_write(name, before, write, now_us)
            changed[name] = (first, written.document)
            result = protos.WriteResult(transform_results=written.transform_results)
            if written.document is not None:
                result.update_time.CopyFrom(written.document.update_time)
            results.append(result)
        return changed, results

    def _preview(self, names: Sequence[str], writes: Sequence[Any]) -> dict[str, Change]:
        try:
            return self._changes(names, writes, self._store.now_us())[0]
        except Status:
            return {}  # as things are it would fail, and so change nothing

    def _validate(self, transaction: Transaction) -> None:
        """ABORTED where an optimistic transaction has read what is no longer so."""
        snapshot_us = transaction.snapshot_us
        if transaction.pessimistic or transaction.read_only or snapshot_us is None:
            return
        if snapshot_us < self._store.oldest_us:  # what has changed since is not known any more
            raise aborted()
        if any(self._store.changed_at(name) > snapshot_us for name in transaction.read):
            raise aborted()
        if transaction.queries:
            for query in transaction.queries:
                for change in self._store.changes_since(query, snapshot_us):
                    name = (change[0] if change[1] is None else change[1]).name  # type: ignore[union-attr]
                    touched = touches(query, name, change)
                    for version in filter(None, change):
                        version.forget()
                    if touched:
                        raise aborted()
