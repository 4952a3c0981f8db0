"""Short ways to append, to order and to look, and handlers that the tests of the log share."""

from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable, Callable, Iterable

from google.cloud.firestore import AsyncClient, Increment

from eventbox import Transaction
from eventbox.log import EventLog, EventPersistence, LogEntry, NewLogEntry


async def append(log: EventLog, *payloads: str, trimable: bool = False) -> None:
    persistence = EventPersistence.TRIMABLE if trimable else EventPersistence.PERSISTENT
    await log.append_many(
        [NewLogEntry("said", payload.encode(), persistence=persistence) for payload in payloads]
    )


async def append_and_order(log: EventLog, *payloads: str, trimable: bool = False) -> None:
    await append(log, *payloads, trimable=trimable)
    await order_all(log)


async def order_all(log: EventLog) -> None:
    while await log.order():
        pass


def payloads(entries: Iterable[LogEntry]) -> list[str]:
    return [entry.payload.decode() for entry in entries]


async def read_all(log: EventLog, *, trimable: bool = False, first: int = 0) -> list[LogEntry]:
    found: list[LogEntry] = []
    while True:
        position = first + len(found)
        page = await (log.read_trimable if trimable else log.read)(position)
        if not page:
            return found
        found.extend(page)


async def until(condition: Callable[[], bool | Awaitable[bool]]) -> None:
    """Return once it is so, letting everybody else go on meanwhile."""
    for _ in range(100_000):
        found = condition()
        if await found if inspect.isawaitable(found) else found:
            return
        await asyncio.sleep(0)
    raise AssertionError("it did not come to be")


class Recording:
    """A handler that remembers what was committed, in order."""

    def __init__(self) -> None:
        self.committed: list[LogEntry] = []
        self._grown = asyncio.Event()

    async def __call__(self, transaction: Transaction, entry: LogEntry) -> None:
        transaction.on_commit(lambda: self._take_in(entry))

    @property
    def payloads(self) -> list[str]:
        return payloads(self.committed)

    async def reached(self, count: int) -> None:
        """Return once so many entries were handled."""
        while len(self.committed) < count:
            self._grown.clear()
            await self._grown.wait()

    def _take_in(self, entry: LogEntry) -> None:
        self.committed.append(entry)
        self._grown.set()


class Tally:
    """A handler that counts, in Firestore, how often each entry was handled."""

    def __init__(self, client: AsyncClient, name: str = "tally") -> None:
        self._ref = client.document(f"tallies/{name}")

    async def __call__(self, transaction: Transaction, entry: LogEntry) -> None:
        transaction.set(self._ref, {f"e{entry.id}": Increment(1)}, merge=True)

    async def counts(self) -> dict[str, int]:
        return (await self._ref.get()).to_dict() or {}
