"""Draining a backlog, beside its floor and the plain ways: `python -m benchmarks.drain [--json] [--quick]`.

A recipient with a state has ten batches of outstanding events of 200 bytes. Ours drains them; floor and plain run batch
after batch (a floor's batch is the RPCs of one of `process_batch`). Times are of one batch.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Awaitable, Callable, Sequence
from functools import partial
from typing import Any

import click
from google.cloud.firestore import AsyncClient

from benchmarks import plain
from benchmarks.contest import Result, medians, report
from benchmarks.pinning import connect, latency, pinned_emulator
from benchmarks.process_batch import Batches, Count, decide

BATCHES = 10

Work = Callable[[], Awaitable[Any]]


class Drains:
    """The contenders, each on a backlog of its own."""

    def __init__(self, client: AsyncClient) -> None:
        self._batches = Batches(client)
        self._client = client

    async def ours(self, events: int, _turn: int) -> Work:
        recipient = await self._batches.recipient(events * BATCHES)

        async def run() -> None:
            done = await self._batches.box.drain(
                recipient, Count(recipient), max_events=events, max_batches=BATCHES
            )
            assert done.events == events * BATCHES

        return run

    async def raw(self, events: int, _turn: int) -> Work:
        prepared = [await self._batches.raw(events) for _ in range(BATCHES)]

        async def run() -> None:
            for batch in prepared:
                await batch()

        return run

    async def plain(self, way: Any, events: int, _turn: int) -> Work:
        path = await self._batches.plain_inbox(events * BATCHES)

        async def run() -> None:
            for _ in range(BATCHES):
                assert await way(self._client, path, events, decide) == events

        return run


async def measure(latencies: Sequence[int], sizes: Sequence[int], turns: int) -> list[Result]:
    """A row for each number of events a batch and each latency."""
    results = []
    async with pinned_emulator() as process:
        drains = Drains(connect(process.address))
        for events in sizes:
            for milliseconds in latencies:
                found = await medians(
                    {
                        "floor": partial(drains.raw, events),
                        "ours": partial(drains.ours, events),
                        "outside": partial(drains.plain, plain.listed_outside, events),
                        "in_one": partial(drains.plain, plain.all_in_one, events),
                    },
                    turns,
                    partial(latency, process, milliseconds),
                )
                results.append(
                    Result(
                        "drain",
                        milliseconds,
                        events,
                        found["floor"] / BATCHES,
                        found["ours"] / BATCHES,
                        min(found["outside"], found["in_one"]) / BATCHES,
                    )
                )
    return results


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list and nothing else.")
@click.option("--quick", is_flag=True, help="Fewer settings and turns, in under a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure draining a backlog beside its floor and the plain ways."""
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    latencies, sizes = ((0, 10), (1, 10, 100)) if quick else ((0, 10, 30), (1, 10, 100, 1_000))
    report(asyncio.run(measure(latencies, sizes, 3 if quick else 7)), as_json=as_json)


if __name__ == "__main__":
    main()
