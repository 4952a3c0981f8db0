"""One batch, beside its floor and beside two plain ways: `python -m benchmarks.process_batch [--json] [--quick]`.

Each batch has a recipient of its own with a state and so many outstanding events of 200 bytes, and consumes them all.
Small batches are measured several in a row, for a single one would measure how processes wake up. Times are of one.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
from google.cloud.firestore import AsyncClient

from benchmarks import plain
from benchmarks.contest import Result, Setting, bounds, contest, report
from benchmarks.filling import Filling
from benchmarks.floor import Floor
from eventbox import DocumentProcessor, Event, EventBox, Mutation, Recipient, Transition

VALUE = b"v" * 200
LATENCIES = (0, 10, 30)
SIZES = (1, 10, 100, 1_000)
MANY = 1_000
"""So large a batch needs no warming up: the smaller ones before it have done that."""

Work = Callable[[], Awaitable[Any]]


@dataclass
class Account:
    total: int = 0
    note: str = ""


class Count(DocumentProcessor[Account]):
    """Adds up the sizes of its events."""

    def __init__(self, recipient: Recipient) -> None:
        super().__init__(recipient, Account)

    async def prepare_mutation(self, events: Sequence[Event], state: Account) -> Mutation[Account]:
        total = state.total + sum(len(event.value) for event in events)
        return Mutation([Transition(Account(total, state.note), events=events)] if events else [])


def decide(state: dict[str, Any], values: Sequence[bytes]) -> dict[str, Any]:
    """The same in plain words."""
    return {"total": state.get("total", 0) + sum(map(len, values)), "note": state.get("note", "")}


class Batches:
    """The contenders, each batch on fresh data."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.box = EventBox(client)
        self.floor = Floor(client)
        self.filling = Filling(client)
        self._fresh = itertools.count()

    async def ours(self, events: int) -> Work:
        recipient = await self.recipient(events)
        processor = Count(recipient)

        async def run() -> None:
            await self.box.process_batch(recipient, processor, max_events=max(events, 1))

        return run

    async def raw(self, events: int) -> Work:
        recipient = await self.recipient(events)
        prepared = await self.floor.prepare_batch(recipient.ref._document_path, "eventbox_inbox", events)
        assert prepared._events == events
        return prepared.run

    async def outside(self, events: int) -> Work:
        path = await self.plain_inbox(events)
        return lambda: plain.listed_outside(self.client, path, events, decide)

    async def in_one(self, events: int) -> Work:
        path = await self.plain_inbox(events)
        return lambda: plain.all_in_one(self.client, path, events, decide)

    async def recipient(self, events: int) -> Recipient:
        recipient = Recipient(self.client.document(f"accounts/ours-{next(self._fresh)}"), "account")
        state = {"total": 1, "note": "n" * 50, "eventbox_eversion": 1}
        await self.filling.recipient(recipient.ref, state, events, VALUE)
        return recipient

    async def plain_inbox(self, events: int) -> str:
        ref = self.client.document(f"accounts/plain-{next(self._fresh)}")
        await self.filling.plain(ref, {"total": 1, "note": "n" * 50, "version": 1}, events, VALUE)
        return str(ref.path)


async def _in_a_row(make: Callable[[int], Awaitable[Work]], events: int, batches: int, _turn: int) -> Work:
    works = [await make(events) for _ in range(batches)]

    async def run() -> None:
        for work in works:
            await work()

    return run


def batches_in_a_row(events: int, milliseconds: int) -> int:
    """How many batches make a turn: enough for some 30 ms without latency; with it they take long enough."""
    return max(1, min(10, 300 // max(events, 1)) if not milliseconds else min(2, 200 // max(events, 1)))


async def measure(
    latencies: Sequence[int],
    sizes: Sequence[int],
    turns: Callable[[int], int],
    *,
    passes: int = 1,
    seconds: float | None = None,
) -> list[Result]:
    """A row for each number of events a batch and each latency."""

    def settings(client: AsyncClient) -> list[Setting]:
        batches = Batches(client)
        contenders = {
            "floor": batches.raw,
            "ours": batches.ours,
            "outside": batches.outside,
            "in_one": batches.in_one,
        }
        rows = []
        for events in sizes:
            for milliseconds in latencies:
                in_a_row = batches_in_a_row(events, milliseconds)
                rows.append(
                    Setting(
                        "process_batch",
                        milliseconds,
                        events,
                        {
                            name: partial(_in_a_row, make, events, in_a_row)
                            for name, make in contenders.items()
                        },
                        turns(events),
                        times_of=in_a_row,
                        warm_up=events < MANY,
                    )
                )
        return rows

    return await contest(settings, passes=passes, seconds=seconds)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list and nothing else.")
@click.option("--quick", is_flag=True, help="Fewer settings and turns, in under a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure a batch beside its floor and the plain ways."""
    latencies = (0, 10) if quick else LATENCIES

    def turns(events: int) -> int:
        if quick:
            return 10 if events < MANY else 7
        return 12 if events < MANY else 20

    report(asyncio.run(measure(latencies, SIZES, turns, **bounds(quick=quick))), as_json=as_json)


if __name__ == "__main__":
    main()
