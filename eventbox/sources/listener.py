"""What a listener is, and what it is given: its `Service` and its `ListenerStore`."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TypeAlias

from google.cloud.firestore_v1.async_transaction import AsyncTransaction

from eventbox.sources.event_store import EventStore
from eventbox.sources.kv import KV, KVItem

_SPACE = b"listener"  # no `EventStore.kv` reaches it, whatever its prefix


@dataclass(frozen=True, slots=True)
class Service:
    """What listeners may know of the service that they run beside.

    Args:
        name: the service's name.
        logger: where listeners log; `eventbox.listeners` by default.
        config: settings, as text.
    """

    name: str
    logger: logging.Logger = field(default_factory=lambda: logging.getLogger("eventbox.listeners"))
    config: Mapping[str, str] = field(default_factory=lambda: MappingProxyType({}))

    def __post_init__(self) -> None:
        if not isinstance(self.name, str):
            raise TypeError(f"name must be a str, not {type(self.name).__name__}")
        if not self.name:
            raise ValueError("name must not be empty")
        if not isinstance(self.logger, logging.Logger):
            raise TypeError(f"logger must be a logging.Logger, not {type(self.logger).__name__}")
        if not isinstance(self.config, Mapping):
            raise TypeError(f"config must be a mapping of str to str, not {type(self.config).__name__}")


class ListenerStore:
    """An event store as one listener sees it: it adds events, and keeps keys and values that no other one reaches.

    Args:
        store: the event store.
        name: the listener's name; upper and lower case are the same.
    """

    def __init__(self, store: EventStore, name: str) -> None:
        if not isinstance(store, EventStore):
            raise TypeError(f"store must be an EventStore, not {type(store).__name__}")
        self.name = listener_name(name)
        self._store = store
        self._kv = KV(store.ref, self.name.encode(), space=_SPACE, clock=store._clock, rng=store._rng)

    async def broadcast(
        self, event_type: str, data: bytes, *, transaction: AsyncTransaction | None = None
    ) -> str:
        """Have an event handed on once, however often it is broadcast: `EventStore.store`; its ID."""
        return await self._store.store(data, event_type, transaction=transaction)

    async def get(self, key: bytes, *, transaction: AsyncTransaction | None = None) -> bytes | None:
        """The value of a key of this listener: `KV.get`."""
        return await self._kv.get(key, transaction=transaction)

    async def set(self, key: bytes, value: bytes, *, transaction: AsyncTransaction | None = None) -> None:
        """Set a value: `KV.set`."""
        await self._kv.set(key, value, transaction=transaction)

    async def delete(self, key: bytes, *, transaction: AsyncTransaction | None = None) -> None:
        """Delete a key: `KV.delete`."""
        await self._kv.delete(key, transaction=transaction)

    def items(self) -> AsyncIterator[KVItem]:
        """All that this listener keeps: `KV.items`."""
        return self._kv.items()


ListenFunc: TypeAlias = Callable[[Service, ListenerStore], Awaitable[None]]
"""Listens until it is cancelled, or until there is nothing more to come. It may be started again, on any process, and
goes on from what it keeps in its store."""


def listener_name(name: object) -> str:
    """The name as it is registered, in lower case.

    Raises:
        TypeError, ValueError: it is no name: empty, longer than 256 bytes, or with white space.
    """
    if not isinstance(name, str):
        raise TypeError(f"the name of a listener must be a str, not {type(name).__name__}")
    if not name or len(name.encode()) > 256 or any(map(str.isspace, name)):
        raise ValueError(
            f"the name of a listener has 1 to 256 bytes of UTF-8 and no white space: {name!r:.100}"
        )
    return name.casefold()
