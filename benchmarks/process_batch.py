"""One batch, beside its floor and beside two plain ways: `python -m benchmarks.process_batch [--json] [--quick]`.

Each batch has a recipient of its own with a state and so many outstanding events of 200 bytes, and consumes them all.
"""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import click
from google.cloud.firestore import AsyncClient

from benchmarks import plain
from benchmarks.contest import Result, medians, report
from benchmarks.floor import Floor
from benchmarks.pinning import connect, latency, pinned_emulator
from eventbox import DocumentProcessor, Event, EventBox, Mutation, NewEvent, Recipient, Transition

VALUE = b"v" * 200
LATENCIES = (0, 10, 30)
SIZES = (1, 10, 100, 1_000)


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
        self._fresh = itertools.count()

    async def ours(self, events: int) -> Callable[[], Awaitable[Any]]:
        recipient = await self.recipient(events)
        processor = Count(recipient)

        async def run() -> None:
            await self.box.process_batch(recipient, processor, max_events=max(events, 1))

        return run

    async def raw(self, events: int) -> Callable[[], Awaitable[Any]]:
        recipient = await self.recipient(events)
        prepared = await self.floor.prepare_batch(recipient.ref._document_path, "eventbox_inbox", events)
        assert prepared._events == events
        return prepared.run

    async def outside(self, events: int) -> Callable[[], Awaitable[Any]]:
        path = await self.plain_inbox(events)
        return lambda: plain.listed_outside(self.client, path, events, decide)

    async def in_one(self, events: int) -> Callable[[], Awaitable[Any]]:
        path = await self.plain_inbox(events)
        return lambda: plain.all_in_one(self.client, path, events, decide)

    async def recipient(self, events: int) -> Recipient:
        ref = self.client.document(f"accounts/ours-{next(self._fresh)}")
        await ref.set({"total": 1, "note": "n" * 50, "eventbox_eversion": 1})
        recipient = Recipient(ref, "account")
        await self.box.emit_many([NewEvent(VALUE) for _ in range(events)], recipient)
        return recipient

    async def plain_inbox(self, events: int) -> str:
        ref = self.client.document(f"accounts/plain-{next(self._fresh)}")
        await ref.set({"total": 1, "note": "n" * 50, "version": 1})
        for begin in range(0, events, 500):
            batch = self.client.batch()
            for n in range(begin, min(begin + 500, events)):
                batch.create(ref.collection(plain.EVENTS).document(f"{n:x}"), {"value": VALUE})
            await batch.commit()
        return str(ref.path)


async def _fresh(
    make: Callable[[int], Awaitable[Callable[[], Awaitable[Any]]]], events: int, _turn: int
) -> Callable[[], Awaitable[Any]]:
    return await make(events)


async def measure(
    latencies: Sequence[int], sizes: Sequence[int], turns: Callable[[int], int]
) -> list[Result]:
    results = []
    async with pinned_emulator() as process:
        batches = Batches(connect(process.address))
        for events in sizes:
            for milliseconds in latencies:
                found = await medians(
                    {
                        name: partial(_fresh, make, events)
                        for name, make in {
                            "floor": batches.raw,
                            "ours": batches.ours,
                            "outside": batches.outside,
                            "in_one": batches.in_one,
                        }.items()
                    },
                    turns(events),
                    partial(latency, process, milliseconds),
                )
                results.append(
                    Result(
                        "process_batch",
                        milliseconds,
                        events,
                        found["floor"],
                        found["ours"],
                        min(found["outside"], found["in_one"]),
                    )
                )
    return results


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list and nothing else.")
@click.option("--quick", is_flag=True, help="Fewer settings and turns, in under a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure a batch beside its floor and the plain ways."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    latencies = (0, 10) if quick else LATENCIES

    def turns(events: int) -> int:
        most = 40 if events < 1_000 else 12
        return max(5, most // 4) if quick else most

    report(asyncio.run(measure(latencies, SIZES, turns)), as_json=as_json)


if __name__ == "__main__":
    main()
