"""`DSSet`: a set of uniquely-ID'd items under a parent document."""

from __future__ import annotations

import builtins
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime, timedelta
from functools import partial
from random import Random, SystemRandom

from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore_v1.async_document import AsyncDocumentReference
from google.cloud.firestore_v1.async_transaction import AsyncTransaction

from dsset import documents, protos
from dsset.adding import MAX_BYTES, Adding, Outcome, add_each, add_single, told
from dsset.adding_together import Added, add_together
from dsset.clock import Clock, SystemClock
from dsset.encoded_writes import EncodedWrites
from dsset.errors import AddError
from dsset.item_state import ItemState, item_state
from dsset.items import (
    MAX_INT32,
    Item,
    ListedItem,
    Listing,
    check_id,
    check_ids,
    check_item,
    check_moment,
    check_name,
    check_parent,
    check_positive,
    check_timeout,
    check_transaction,
)
from dsset.listing import listed
from dsset.removing import remove_each
from dsset.retry import Backoff, retry_transient
from dsset.shared_adds import SharedAdds, give_up
from dsset.wire import Wire

TIMEOUT = timedelta(minutes=1)
"""How long transient errors are retried by default."""

DEFAULT_MAX_BYTES = 32 * 1024 * 1024
_PAGE = 1_000


class DSSet:
    """A set of items, each with an ID of its own, that many add to and take from at once.

    An item is added once, however often its `add` is repeated; it is popped once, in somebody's transaction; and it
    never comes back. A popped item leaves a tombstone in its own document, which a TTL policy on the field
    `expire_at` removes some time after `tombstones_delay`; the set works the same with and without that policy.

    Args:
        parent: the document that the set lies under. It need not exist.
        name: the ID of the set's collection. Indexes and TTL policies are declared per collection ID, so keep to a few
            names, `dsset` if you can: `firestore.indexes.json` has it.
        tombstones_delay: for how long an ID counts as used after it was popped or deleted.
        clock: where the time comes from.
        rng: where tokens and jitter come from; the operating system by default.
        shared_adds: what gathers adds of several sets into common RPCs; None: each add has RPCs of its own.

    Every method speaks to Firestore by the parent's client and raises what google.api_core raises, after having
    retried transient errors for up to a minute (`timeout=`).
    """

    def __init__(
        self,
        parent: AsyncDocumentReference,
        *,
        name: str = "dsset",
        tombstones_delay: timedelta = timedelta(hours=24),
        clock: Clock | None = None,
        rng: Random | None = None,
        shared_adds: SharedAdds | None = None,
    ) -> None:
        check_parent(parent)
        check_name(name)
        if not isinstance(tombstones_delay, timedelta) or tombstones_delay <= timedelta(0):
            raise ValueError(f"tombstones_delay must be a positive timedelta, not {tombstones_delay!r}")
        self._client = parent._client
        self._parent: str = parent._document_path
        self._name = name
        self._prefix = f"{self._parent}/{name}/"
        self._tombstones_delay = tombstones_delay
        self._clock = clock or SystemClock()
        self._rng = rng or SystemRandom()
        self._shared_adds = shared_adds

    def under(self, parent: AsyncDocumentReference) -> DSSet:
        """The set of the same name and settings under another document: made at less work, without any RPC.

        Raises:
            TypeError: the parent is no reference of an asynchronous client.
        """
        check_parent(parent)
        other = object.__new__(DSSet)
        other.__dict__.update(self.__dict__)
        other._client = parent._client
        other._parent = path = parent._document_path
        other._prefix = f"{path}/{self._name}/"
        return other

    async def add(
        self,
        items: Iterable[Item],
        *,
        transaction: AsyncTransaction | None = None,
        timeout: timedelta = TIMEOUT,
    ) -> builtins.list[bool]:
        """Add items; for each, in order, whether this call added it.

        Outside a transaction an ID that is in the set, or was popped or deleted less than `tombstones_delay` ago,
        changes nothing and is no error. Each item stands alone: when this raises, some may have been added. Of equal
        IDs in one call the first counts. A resend of this call's own, after an answer was lost, is no duplicate, even
        if the item has been consumed in between.

        In a transaction it reads nothing and returns []: the items are added when the transaction commits, and never
        make that fail. An ID whose tombstone still lies there stays consumed, even after `tombstones_delay` (and its
        delay counts anew), and an ID that is in the set is written again: pass the same value and `process_after`
        for the same ID. At most 8 MiB.

        Raises:
            TypeError, ValueError: an item breaks a rule (see `Item`); nothing was sent.
            AddError: some could not be added; it has the results of the others.

        Cost: 1 write an item, in 1 RPC for each 500 items or 8 MiB. A duplicate costs 1 read and no write, and 1 more
        RPC for all duplicates of an RPC. In a transaction: 1 write an item, as part of the commit.
        """
        checked = [check_item(item) for item in items]
        check_timeout(timeout)
        if transaction is not None:
            self._add_in(transaction, checked)
            return []
        if len(checked) <= 1:
            return [await self.add_one(item, timeout=timeout) for item in checked]
        first: dict[str, int] = {}  # the position of each ID's first item, in order
        for position, item in enumerate(checked):
            first.setdefault(item.id, position)
        positions = builtins.list(first.values())
        named = [(self._document_name(checked[position].id), checked[position]) for position in positions]
        return told(checked, positions, await self._add_each(named, timeout))

    async def add_one(
        self, item: Item, *, parent: AsyncDocumentReference | None = None, timeout: timedelta = TIMEOUT
    ) -> bool:
        """Add an item outside a transaction; whether it was new: `add`, at less work for a single one.

        With another `parent` it goes into the set `under` that. Raises what `add` does.

        Cost: 1 RPC, 1 write. A duplicate: 2 RPCs, 1 read and no write.
        """
        check_item(item)
        check_timeout(timeout)
        client, prefix = self._client, self._prefix
        if parent is not None:
            check_parent(parent)
            client, prefix = parent._client, f"{parent._document_path}/{self._name}/"
        name = prefix + documents.document_id(item.id)
        # in few coroutines: each that lies between a caller and an answer takes part when that arrives
        if self._shared_adds is not None:
            waiting = self._shared_adds.add(name, item, timeout)
            try:
                outcome = await waiting
            except BaseException:
                give_up(waiting)
                raise
        else:
            token, backoff = self._rng.randbytes(16), Backoff(self._clock, self._rng, timeout)
            outcome = await add_single(Wire.of(client), name, item, token, self._tombstones_delay, backoff)
        if isinstance(outcome, GoogleAPICallError):
            raise AddError([None], {0: outcome}) from outcome
        return outcome

    async def add_with(
        self, item: Item, others: Sequence[protos.Write], *, timeout: timedelta = TIMEOUT
    ) -> Added:
        """Add an item and carry out other writes in one commit; whether the item was new, and when that was.

        Where it is a duplicate, as for `add` outside a transaction, nothing is done. The other writes bear no
        preconditions, and are to other documents.

        Raises:
            TypeError, ValueError: the item breaks a rule (see `Item`); nothing was sent.
            GoogleAPICallError: it could not be added, or nobody knows; nothing, or all of it, was done.

        Cost: 1 RPC, 1 write for the item and those of the others. A duplicate costs 2 RPCs, 1 read and no write.
        """
        check_item(item)
        check_timeout(timeout)
        return await add_together(
            Wire.of(self._client),
            self._document_name(item.id),
            item,
            self._rng.randbytes(16),
            others,
            tombstones_delay=self._tombstones_delay,
            clock=self._clock,
            rng=self._rng,
            timeout=timeout,
        )

    async def list(
        self,
        max_items: int,
        *,
        max_bytes: int = DEFAULT_MAX_BYTES,
        due_by: datetime | None = None,
        without: Collection[str] = (),
        after: tuple[int, str] | None = None,
        timeout: timedelta = TIMEOUT,
    ) -> Listing:
        """Up to `max_items` items that are due, the longest due first where they have a `process_after`.

        What it returns is an arbitrary subset, in arbitrary order, of the items that have none. `max_bytes` bounds
        the values taken together (the first item comes whatever its size). Not for use in a transaction: it would
        lock the range and stall those who add.

        What is due is told by the clock, or by `due_by` where that is later (a server's time that has passed, known
        from elsewhere: a clock that lags hides nothing then), and never before the server's own time. Items whose IDs
        are in `without` are left out, and bound nothing. `after` is the cursor of an earlier listing: what lies before
        it, or has been added there since, is left out too, and not read.

        Raises:
            ValueError: `max_items` or `max_bytes` is not positive.

        Cost: 1 RPC; 1 read an item, at least 1, and 1 for each item left out.
        """
        check_positive("max_items", max_items)
        check_positive("max_bytes", max_bytes)
        check_moment(due_by, "due_by")
        check_timeout(timeout)
        backoff = Backoff(self._clock, self._rng, timeout)
        return await retry_transient(
            lambda seconds: self._list(max_items, max_bytes, due_by, without, after, seconds), backoff
        )

    async def list_all(self) -> Listing:
        """All items in the set, also those that are not due yet. For tests and tools: it has no bound.

        Cost: 1 RPC for each 1,000 items; 1 read an item, at least 1.
        """
        found: builtins.list[ListedItem] = []
        after: tuple[int, str] | None = None
        while True:
            page = await retry_transient(
                partial(self._list_page, after), Backoff(self._clock, self._rng, TIMEOUT)
            )
            found.extend(page.items)
            if page.complete:
                return Listing(tuple(found), page.read_time)
            after = page.cursor

    async def delete(
        self, ids: Iterable[str], *, not_before: datetime | None = None, timeout: timedelta = TIMEOUT
    ) -> None:
        """Delete items, outside any transaction; deleting again changes nothing that anyone sees.

        Each ID counts as used from now on, as if popped, whether or not it was in the set: an `add` that is still
        under way does not bring it back. Where this raises, some may have been deleted. `not_before` is a server's time
        that has passed, such as a listing's read time: it keeps a clock that lags from letting TTL take the tombstones
        early.

        Cost: 1 write an ID, in 1 RPC for each 500.
        """
        names = {check_id(item_id): self._document_name(item_id) for item_id in check_ids(ids)}
        check_moment(not_before, "not_before")
        check_timeout(timeout)
        now = self._clock.now()
        expire_at = max(now, not_before or now) + self._tombstones_delay + documents.TTL_MARGIN
        writes = [documents.remove(name, item_id, expire_at) for item_id, name in names.items()]
        await remove_each(Wire.of(self._client), writes, clock=self._clock, rng=self._rng, timeout=timeout)

    def pop(
        self, transaction: AsyncTransaction, listing: Listing, ids: Iterable[str], *, token: bytes = b""
    ) -> None:
        """Queue the removal of listed items in a transaction.

        Of two transactions that pop the same item at most one commits: the commit fails (FAILED_PRECONDITION, or
        NOT_FOUND) when an item is no longer as it was listed. The `token` says, in the tombstone, who popped it.

        Raises:
            TypeError, ValueError: a bad argument; an ID is not in the listing, or is there twice.

        Cost: 1 write an item, as part of the commit.
        """
        check_transaction(transaction)
        writes = self.removals(listing, ids, token=token).messages()
        transaction._add_write_pbs([protos.wrap_write(write) for write in writes])

    def removals(self, listing: Listing, ids: Iterable[str], *, token: bytes = b"") -> EncodedWrites:
        """The writes that `pop` queues, for a commit that is put together by hand; what it says holds for them."""
        chosen: dict[str, ListedItem] = {}
        for item_id in check_ids(ids):
            item = listing.by_id.get(item_id)
            if item is None:
                raise ValueError(f"cannot pop {item_id!r}: it is not in the listing")
            if item_id in chosen:
                raise ValueError(f"cannot pop {item_id!r} twice")
            if not item._version:
                raise ValueError(
                    f"cannot pop {item_id!r}: its listing was made by hand, and tells no version"
                )
            chosen[item_id] = item
        # a clock that lags must not let TTL take the tombstone early: the server's time is a lower bound
        now = max(self._clock.now(), listing.read_time)
        expire_at = now + self._tombstones_delay + documents.TTL_MARGIN
        common = documents.tombstone_entries(token, expire_at)
        return documents.pops(self._prefix.encode(), chosen.values(), common)

    def restoring(self, item: ListedItem, state: ItemState | None) -> protos.Write:
        """The write that puts an item back that was popped, in spite of its tombstone.

        The commit fails (FAILED_PRECONDITION, ALREADY_EXISTS or NOT_FOUND) where what lies in the item's document is no
        longer as `states` told. This is the one way back for an item, and whoever pops it keeps it: see `Listing`.

        Cost: 1 write, as part of the commit.
        """
        if state is not None and not state.gone:
            raise ValueError(f"cannot put {item.id!r} back: it is in the set")
        return documents.restore(self._document_name(item.id), item, None if state is None else state.version)

    async def states(
        self, ids: Sequence[str], *, timeout: timedelta = TIMEOUT
    ) -> Mapping[str, ItemState | None]:
        """What lies in the documents of these IDs; None where there is none.

        Cost: 1 RPC, 1 read an ID.
        """
        names = {self._document_name(item_id): item_id for item_id in ids}
        wire = Wire.of(self._client)
        responses = await retry_transient(
            lambda seconds: wire.batch_get(builtins.list(names), mask=("due", "popped_by"), timeout=seconds),
            Backoff(self._clock, self._rng, timeout),
        )
        return {item_id: item_state(responses[name]) for name, item_id in names.items()}

    def _add_in(self, transaction: AsyncTransaction, items: Sequence[Item]) -> None:
        check_transaction(transaction)
        unique = {item.id: item for item in reversed(items)}
        writes = [documents.merge(self._document_name(item.id), item) for item in reversed(unique.values())]
        size = sum(write.ByteSize() for write in writes)
        if size > MAX_BYTES:
            raise ValueError(
                f"{len(writes)} items of {size:,} bytes in all do not fit a transaction: at most {MAX_BYTES:,} bytes "
                "may be added in one, since a commit cannot be split"
            )
        transaction._add_write_pbs([protos.wrap_write(write) for write in writes])

    async def _list(
        self,
        max_items: int,
        max_bytes: int,
        due_by: datetime | None,
        without: Collection[str],
        after: tuple[int, str] | None,
        timeout: float,
    ) -> Listing:
        now = self._clock.now()
        limit = min(max_items + len(without), MAX_INT32)
        query = documents.query_due(self._name, documents.microseconds(max(now, due_by or now)), limit, after)
        blocks = Wire.of(self._client).run_query_in_blocks(self._parent, query, timeout=timeout)
        return await listed(
            blocks, limit=limit, max_items=max_items, max_bytes=max_bytes, without=without, after=after
        )

    async def _list_page(self, after: tuple[int, str] | None, timeout: float) -> Listing:
        query = documents.query_due(self._name, documents.GONE - 1, _PAGE, after)
        blocks = Wire.of(self._client).run_query_in_blocks(self._parent, query, timeout=timeout)
        return await listed(blocks, limit=_PAGE, after=after, due_only=False)

    async def _add_each(
        self, named: Sequence[tuple[str, Item]], timeout: timedelta
    ) -> builtins.list[Outcome]:
        """For each (document name, item), whose names differ: whether it was new, or why it could not be added."""
        if self._shared_adds is not None:
            return await self._shared_adds.add_each(named, timeout)
        adding = [Adding(name, item) for name, item in named]
        await add_each(
            Wire.of(self._client),
            adding,
            self._rng.randbytes(16),
            tombstones_delay=self._tombstones_delay,
            clock=self._clock,
            rng=self._rng,
            timeout=timeout,
        )
        return [one.outcome for one in adding if one.outcome is not None]

    def _document_name(self, item_id: str) -> str:
        return self._prefix + documents.document_id(item_id)
