"""Emitting, beside its floor and beside the plain way: `python -m benchmarks.emit [--json] [--quick]`.

`emit`: one event at a time, each to a recipient of its own. `emit_concurrent`: 64 emitters at once. `emit_shared`: the
same by a box with `share_emits`; its floor is what the box does, two RPCs of half the emitters' events at a time. A
row's `events` is how many emitters there are; its times are of one event: what all of them took, by their number.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import click
from google.cloud.firestore import AsyncClient

from benchmarks import plain
from benchmarks.contest import Result, Setting, bounds, contest, report
from benchmarks.floor import Floor
from eventbox import EventBox, Recipient

VALUE = b"v" * 200
EMITTERS = 64

Work = Callable[[], Awaitable[Any]]


class Emits:
    """The contenders; each event goes to a recipient of its own."""

    def __init__(self, client: AsyncClient) -> None:
        self.client = client
        self.box = EventBox(client)
        self.sharing = EventBox(client, share_emits=True)
        self.floor = Floor(client)
        self._fresh = itertools.count()

    async def raw(self, emitters: int, each: int, _turn: int) -> Work:
        requests = [
            [
                self.floor.prepare_emit(
                    f"{self.floor.root}/raw/{next(self._fresh)}/eventbox_inbox/{n}", str(n), VALUE
                )
                for n in range(each)
            ]
            for _ in range(emitters)
        ]

        async def emitter(mine: list[bytes]) -> None:
            for request in mine:
                await self.floor.emit(request)

        return lambda: asyncio.gather(*map(emitter, requests))

    async def raw_shared(self, emitters: int, each: int, _turn: int) -> Work:
        half = emitters // 2
        requests = [
            self.floor.prepare_emits(
                [
                    (f"{self.floor.root}/shared/{next(self._fresh)}/eventbox_inbox/{n}", str(n))
                    for n in range(half)
                ],
                VALUE,
            )
            for _ in range(2 * each)
        ]

        async def sender(mine: list[bytes]) -> None:
            for request in mine:
                await self.floor.emit(request)

        return lambda: asyncio.gather(sender(requests[:each]), sender(requests[each:]))

    async def ours(self, box: EventBox, emitters: int, each: int, _turn: int) -> Work:
        numbers = [[next(self._fresh) for _ in range(each)] for _ in range(emitters)]

        async def emitter(mine: list[int]) -> None:
            for n in mine:
                recipient = Recipient(self.client.document(f"ours/{n}"), "recipient")
                await box.emit(VALUE, recipient, id=str(n))

        return lambda: asyncio.gather(*map(emitter, numbers))

    async def plain(self, emitters: int, each: int, _turn: int) -> Work:
        numbers = [[next(self._fresh) for _ in range(each)] for _ in range(emitters)]

        async def emitter(mine: list[int]) -> None:
            for n in mine:
                await plain.emit(self.client, f"plain/{n}", str(n), VALUE)

        return lambda: asyncio.gather(*map(emitter, numbers))


async def measure(
    latencies: tuple[int, ...], turns: int, *, passes: int = 1, seconds: float | None = None, each: int = 20
) -> list[Result]:
    """All rows; of many emitters each emits so many events a turn, fewer with latency: then they take long enough."""

    def settings(client: AsyncClient) -> list[Setting]:
        emits = Emits(client)
        rows = []
        for milliseconds in latencies:
            few = max(1, each // 4) if milliseconds else each
            for benchmark, floor, box, emitters, events in (
                # one alone emits more in a row, so that a turn is not over in a few milliseconds
                ("emit", emits.raw, emits.box, 1, few * (4 if milliseconds <= 10 else 2)),
                ("emit_concurrent", emits.raw, emits.box, EMITTERS, few),
                ("emit_shared", emits.raw_shared, emits.sharing, EMITTERS, few),
            ):
                contenders = {
                    "floor": partial(floor, emitters, events),
                    "ours": partial(emits.ours, box, emitters, events),
                    "plain": partial(emits.plain, emitters, events),
                }
                rows.append(
                    Setting(benchmark, milliseconds, emitters, contenders, turns, times_of=emitters * events)
                )
        return rows

    return await contest(settings, passes=passes, seconds=seconds)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list and nothing else.")
@click.option("--quick", is_flag=True, help="Fewer settings and turns, in under a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure emitting beside its floor and the plain way."""
    latencies = (0, 10) if quick else (0, 10, 30)
    report(asyncio.run(measure(latencies, 7 if quick else 20, **bounds(quick=quick))), as_json=as_json)


if __name__ == "__main__":
    main()
