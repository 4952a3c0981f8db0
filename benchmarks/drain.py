"""Draining a backlog, beside its floor and the plain ways: `python -m benchmarks.drain [--json] [--quick]`.

A recipient with a state has twenty batches (ten of 1,000) of outstanding events of 200 bytes. Ours drains them, the
floor is the same RPCs (a listing beside each commit), and plain runs batch after batch. Times are of one batch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import click
from google.cloud.firestore import AsyncClient

from benchmarks import plain
from benchmarks.contest import Result, Setting, bounds, contest, report
from benchmarks.filling import INBOX
from benchmarks.process_batch import LATENCIES, MANY, SIZES, Batches, Count, Work, decide


def batches(events: int) -> int:
    """How many batches a backlog has."""
    return 20 if events < MANY else 10


class Drains:
    """The contenders, each on a backlog of its own."""

    def __init__(self, client: AsyncClient) -> None:
        self._batches = Batches(client)
        self._client = client

    async def ours(self, events: int, _turn: int) -> Work:
        recipient = await self._batches.recipient(events * batches(events))

        async def run() -> None:
            done = await self._batches.box.drain(
                recipient, Count(recipient), max_events=events, max_batches=batches(events)
            )
            assert done.events == events * batches(events)

        return run

    async def raw(self, events: int, _turn: int) -> Work:
        recipient = await self._batches.recipient(events * batches(events))
        prepared = await self._batches.floor.prepare_drain(
            recipient.ref._document_path, INBOX, events, batches(events)
        )
        assert prepared._events == events * batches(events)
        return prepared.run

    async def plain(self, way: Any, events: int, _turn: int) -> Work:
        path = await self._batches.plain_inbox(events * batches(events))

        async def run() -> None:
            for _ in range(batches(events)):
                assert await way(self._client, path, events, decide) == events

        return run


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
        drains = Drains(client)
        return [
            Setting(
                "drain",
                milliseconds,
                events,
                {
                    "floor": partial(drains.raw, events),
                    "ours": partial(drains.ours, events),
                    "outside": partial(drains.plain, plain.listed_outside, events),
                    "in_one": partial(drains.plain, plain.all_in_one, events),
                },
                turns(events),
                times_of=batches(events),
                warm_up=events < MANY,
            )
            for events in sizes
            for milliseconds in latencies
        ]

    return await contest(settings, passes=passes, seconds=seconds)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list and nothing else.")
@click.option("--quick", is_flag=True, help="Fewer settings and turns, in under a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure draining a backlog beside its floor and the plain ways."""
    latencies = (0, 10) if quick else LATENCIES

    def turns(events: int) -> int:
        if quick:
            return 5 if events < MANY else 3
        return 6 if events < MANY else 4

    report(asyncio.run(measure(latencies, SIZES, turns, **bounds(quick=quick))), as_json=as_json)


if __name__ == "__main__":
    main()
