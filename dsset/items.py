"""Items, as they are given to a set and as they are listed from it."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cached_property, lru_cache
from typing import Any

from google.cloud.firestore_v1.async_document import AsyncDocumentReference
from google.cloud.firestore_v1.async_transaction import AsyncTransaction

MAX_ID_BYTES = 256
MAX_VALUE_BYTES = 1_000_000
"""Leaves room for the other fields in a document of 1 MiB (1,048,576 bytes), Firestore's limit."""
MAX_METADATA_BYTES = 4_096
MAX_INT32 = 2**31 - 1
"""A query's limit is no larger."""

_RESERVED_NAME = re.compile(r"\.\.?|__.*__")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NO_TIME = timedelta(0)


@dataclass(frozen=True, slots=True)
class Item:
    """What a set holds.

    Args:
        id: 1 to 256 bytes of UTF-8; else free: slashes, dots, `__x__` and NUL included.
        value: at most 1,000,000 bytes; may be empty.
        process_after: not listed before this moment (aware; microseconds). A moment in the past is kept, and
            orders the listing.
        metadata: a few strings that travel beside the value (4,096 bytes in all), such as a trace context.

    Checked when the item is added, not when it is made.
    """

    id: str
    value: bytes
    process_after: datetime | None = None
    metadata: Mapping[str, str] = field(default_factory=dict, hash=False)


@dataclass(frozen=True, slots=True)
class ListedItem(Item):
    """An item as it was listed. `created_at` is the server's time of the `add` that took effect."""

    created_at: datetime = _EPOCH
    _version: bytes = field(default=b"", repr=False, compare=False)  # the document's update_time, encoded
    # of the add that took effect: the Value, encoded
    _token: bytes = field(default=b"", repr=False, compare=False)
    # of the document, encoded: not for whoever makes an item of another, whose ID may differ
    _name: bytes = field(default=b"", init=False, repr=False, compare=False)


class _ListedItemInTheMaking(Item):
    """What becomes a `ListedItem` by being made, in a quarter of the time.

    A frozen dataclass calls a function for each slot that it sets, and there are a thousand of them a batch. This has
    the same slots, sets them as any class does, and ends as the frozen one: Python lets an object go over to another
    class of the same layout.
    """

    __slots__ = ("_name", "_token", "_version", "created_at")
    __setattr__ = object.__setattr__
    __delattr__ = object.__delattr__

    def __init__(
        self: Any,
        id: str,
        value: bytes,
        process_after: datetime | None,
        metadata: Mapping[str, str],
        created_at: datetime,
        version: bytes,
        token: bytes,
        name: bytes,
    ) -> None:
        self.id = id
        self.value = value
        self.process_after = process_after
        self.metadata = metadata
        self.created_at = created_at
        self._version = version
        self._token = token
        self._name = name
        self.__class__ = ListedItem


make_listed_item: Callable[
    [str, bytes, datetime | None, Mapping[str, str], datetime, bytes, bytes, bytes], ListedItem
] = _ListedItemInTheMaking  # type: ignore[assignment] # what it ends as
"""A `ListedItem` of its fields, in order: with the name of the document that it was listed from."""


@dataclass(frozen=True)
class Listing:
    """What `DSSet.list` returns: outstanding items that were due, and when the server looked.

    `complete` is False where a bound (`max_items`, `max_bytes`) may have left some out; a listing `after` the `cursor`
    goes on from there.
    """

    items: Sequence[ListedItem]
    read_time: datetime
    complete: bool = True
    cursor: tuple[int, str] | None = None

    @cached_property
    def by_id(self) -> Mapping[str, ListedItem]:
        """The items by their IDs."""
        return {item.id: item for item in self.items}

    def only(self, ids: Collection[str]) -> Listing:
        """The same listing, as if it had found these items alone."""
        return replace(self, items=tuple(item for item in self.items if item.id in ids))


def check_id(id: object) -> str:
    """The ID; TypeError or ValueError that says what is wrong with it."""
    if not isinstance(id, str):
        raise TypeError(f"an ID must be a str, not {type(id).__name__}: {id!r:.100}")
    try:
        size = len(id.encode())
    except UnicodeEncodeError as error:
        raise ValueError(f"an ID must be text that UTF-8 can encode: {error}: {id!r:.100}") from error
    if not 1 <= size <= MAX_ID_BYTES:
        raise ValueError(f"an ID must have 1 to {MAX_ID_BYTES} bytes of UTF-8, not {size}: {id!r:.100}")
    return id


def check_ids(ids: object) -> Iterable[Any]:
    """Several IDs, which are not checked themselves; TypeError where they are a single one."""
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise TypeError(f"ids must be several IDs, such as a list of them, not {ids!r:.100}")
    return ids


def check_name(name: object) -> None:
    """ValueError unless it may be the name of a set."""
    if not isinstance(name, str) or not _may_be_a_name(name):
        raise ValueError(
            f"name must be the ID of a collection, and none that Firestore reserves, not {name!r}"
        )


@lru_cache(maxsize=64)
def _may_be_a_name(name: str) -> bool:
    return bool(name) and "/" not in name and not _RESERVED_NAME.fullmatch(name)


def check_item(item: object) -> Item:
    """The item; TypeError or ValueError that says which item breaks which rule."""
    if not isinstance(item, Item):
        raise TypeError(f"expected an Item, not {type(item).__name__}")
    check_id(item.id)
    if not isinstance(item.value, bytes):
        raise TypeError(f"the value of item {item.id!r} must be bytes, not {type(item.value).__name__}")
    if len(item.value) > MAX_VALUE_BYTES:
        raise ValueError(
            f"the value of item {item.id!r} has {len(item.value):,} bytes; at most {MAX_VALUE_BYTES:,} fit"
        )
    check_moment(item.process_after, f"process_after of item {item.id!r}")
    if item.metadata:
        _check_metadata(item)
    return item


def _check_metadata(item: Item) -> None:
    if not all(isinstance(text, str) for pair in item.metadata.items() for text in pair):
        raise TypeError(f"the metadata of item {item.id!r} must be strings")
    if sum(len(k.encode()) + len(v.encode()) for k, v in item.metadata.items()) > MAX_METADATA_BYTES:
        raise ValueError(f"the metadata of item {item.id!r} has more than {MAX_METADATA_BYTES:,} bytes")


def check_moment(moment: object, what: str) -> None:
    """TypeError or ValueError unless `moment` is None or an aware datetime."""
    if moment is None:
        return
    if not isinstance(moment, datetime):
        raise TypeError(f"{what} must be a datetime or None, not {type(moment).__name__}")
    if moment.utcoffset() is None:
        raise ValueError(f"{what} must be an aware datetime (give it a tzinfo), not {moment!r}")
    try:
        moment.astimezone(UTC)
    except OverflowError:
        raise ValueError(f"{what} must lie in the years 1 to 9999 of UTC, not at {moment!r}") from None


def check_timeout(timeout: object) -> None:
    """TypeError or ValueError unless `timeout` is a timedelta that is not negative."""
    if not isinstance(timeout, timedelta):
        raise TypeError(f"timeout must be a timedelta, not {type(timeout).__name__}")
    if timeout < _NO_TIME:
        raise ValueError(f"timeout must not be negative: {timeout}")


def check_positive(name: str, value: object) -> None:
    """TypeError or ValueError unless it is a positive int of 32 bits."""
    if not isinstance(value, int) or isinstance(value, bool):
        raise TypeError(f"{name} must be an int, not {type(value).__name__}")
    if value <= 0:
        raise ValueError(f"{name} must be positive, not {value}")
    if value > MAX_INT32:
        raise ValueError(f"{name} must be at most {MAX_INT32:,}, not {value:,}")


def check_parent(parent: object) -> None:
    """TypeError unless it is a document's reference, of the asynchronous client."""
    if not isinstance(parent, AsyncDocumentReference):
        raise TypeError(
            f"parent must be an AsyncDocumentReference (client.document(...)), not {type(parent).__name__}"
        )


def check_transaction(transaction: object) -> None:
    """TypeError unless it is a transaction of the asynchronous client."""
    if not isinstance(transaction, AsyncTransaction):
        raise TypeError(f"transaction must be an AsyncTransaction, not {type(transaction).__name__}")
