"""Carrying out writes: a whole commit or none of it, or each write by itself."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from emulator.firestore.counts import Counts
from emulator.firestore.lock_queue import Owner, touches
from emulator.firestore.locks import LockTable
from emulator.firestore.responses import write_result
from emulator.firestore.store import Change, Store
from emulator.firestore.transactions import Transaction, TransactionManager, aborted
from emulator.firestore.ttl import TimeToLive
from emulator.firestore.versions import Version, deletion
from emulator.firestore.writes import apply_write, check_target, check_transforms, target
from emulator.status import Status

_DELETED = write_result(None)
"""The result of a deletion, and of no other write."""


class Committed(NamedTuple):
    """When a commit happened, in microseconds since the epoch, and the encoded `WriteResult` of each write."""

    time_us: int
    results: list[bytes]


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
        writes = list(writes)  # the parts of a message take time to get at: once is enough
        names = [target(write) for write in writes]
        for name, write in zip(names, writes, strict=True):
            check_target(name, write, database)
        if transaction is None and self._locks.idle:
            return self._apply(names, writes)
        owner = Owner(None) if transaction is None else transaction.owner
        try:
            if names:
                await self._locks.write(owner, names, lambda: self._preview(names, writes))
        except BaseException:
            self._forget(names)
            raise
        try:
            if transaction is not None:
                self._check(transaction, names)
            return self._apply(names, writes)
        finally:
            if transaction is not None and not owner.aborted:
                self._transactions.finish(transaction)
            self._locks.written(names)

    async def commit_each(
        self, database: str, names: Sequence[str], writes: Sequence[Any]
    ) -> list[bytes | Status]:
        """Carry out each write by itself, each of a document of its own: its encoded result, or why it failed.

        `names` are those of their targets.
        """
        if self._locks.idle:
            outcomes = self._apply_each(database, names, writes)
            if outcomes is not None:
                return outcomes
        outcomes = []
        for write in writes:
            try:
                outcomes.extend((await self.commit(database, [write], None)).results)
            except Status as status:
                outcomes.append(status)
        return outcomes

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
        try:
            changed, results = self._changes(names, writes, now_us)
            self._carry_out(changed, now_us)
        except Status:
            self._forget(names)
            raise
        self._count(results)
        return Committed(now_us, results)

    def _apply_each(
        self, database: str, names: Sequence[str], writes: Sequence[Any]
    ) -> list[bytes | Status] | None:
        """As `commit_each`, all in one go where nobody holds or waits for anything; None where that cannot be.

        They are commits of their own to whoever looks at their times: the next one's is later.
        """
        first_us = self._store.commit_time(len(writes))
        changed: dict[str, Change] = {}
        outcomes: list[bytes | Status] = []
        for now_us, (name, write) in enumerate(zip(names, writes, strict=True), first_us):
            try:
                check_target(name, write, database)
                before = self._store.latest(name)
                after, transformed = apply_write(name, before, write, now_us)
            except Status as status:
                outcomes.append(status)
            else:
                if after is not None:
                    outcomes.append(write_result(after.time_us, transformed))
                    changed[name] = before, after
                else:
                    outcomes.append(_DELETED)
                    changed[name] = before, None if before is None else deletion(name, now_us)
        try:
            self._carry_out(changed, first_us + len(writes) - 1)
        except Status:  # the journal has no room for all of them: perhaps it has for some
            self._forget(names)
            return None
        results = [outcome for outcome in outcomes if isinstance(outcome, bytes)]
        self._count(results)
        if len(results) < len(outcomes):
            self._forget(names)
        return outcomes

    def _carry_out(self, changed: Mapping[str, Change], now_us: int) -> None:
        """Make the documents what the writes have made of them; a Status where the journal fails."""
        expiries = self._expiries(changed) if self._ttl else ()
        self._store.commit(changed, now_us)
        for before, after in changed.values():
            if before is after and before is not None:
                before.forget()
        for name, expires_us in expiries:  # not before: a commit that fails expires nothing
            self._ttl.later(name, expires_us)

    def _count(self, results: Sequence[bytes]) -> None:
        deletes = results.count(_DELETED)
        self._counts.deletes += deletes
        self._counts.writes += len(results) - deletes

    def _forget(self, names: Sequence[str]) -> None:
        """Let go of the decoded messages of documents that a commit has looked at and not changed."""
        for document in map(self._store.latest, names):
            if document is not None:
                document.forget()

    def _expiries(self, changed: Mapping[str, Change]) -> list[tuple[str, int]]:
        """When the documents expire that a commit leaves, of those that do."""
        after = (
            version for _, version in changed.values() if version is not None and version.data is not None
        )
        expiries = ((version.name, self._ttl.expires_us(version.message)) for version in after)
        return [(name, expires_us) for name, expires_us in expiries if expires_us is not None]

    def _changes(
        self, names: Sequence[str], writes: Sequence[Any], now_us: int
    ) -> tuple[dict[str, Change], list[bytes]]:
        """What the writes would do to each document, and their results; a Status where one of them fails."""
        changed: dict[str, Change] = {}
        results = []
        plain = write_result(now_us)  # that of nearly every write
        check_transforms(names, writes)
        for name, write in zip(names, writes, strict=True):
            if name in changed:
                first, before = changed[name]
            else:
                first = before = self._store.latest(name)
            after, transformed = apply_write(name, before, write, now_us)
            changed[name] = first, after
            results.append(_result(after, transformed, now_us, plain))
        return changed, results

    def _preview(self, names: Sequence[str], writes: Sequence[Any]) -> dict[str, Change]:
        try:
            return self._changes(names, writes, self._store.now_us())[0]
        except Status:
            return {}  # as things are it would fail, and so change nothing

    def _check(self, transaction: Transaction, names: Sequence[str]) -> None:
        """A Status where the transaction has lost, or is no more."""
        try:
            self._transactions.check(transaction)
            self._validate(transaction)
        except Status:
            self._forget(names)
            raise

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


def _result(after: Version | None, transformed: tuple[Any, ...], now_us: int, plain: bytes) -> bytes:
    """The encoded result of a write; `plain` is that of one that changes a document now, and transforms nothing."""
    if after is None:
        return _DELETED
    if transformed or after.time_us != now_us:
        return write_result(after.time_us, transformed)
    return plain
