"""What telemetry costs where nobody asked for any: `python -m benchmarks.telemetry [--json] [--quick]`.

Batches of `process_batch` over gRPC, by boxes that differ in their telemetry alone, in turns: one whose telemetry does
nothing at all (*silent*), one as it comes, where no SDK of OpenTelemetry is set up (*no SDK*), and two with the SDK but
nothing behind it: tracing without exporters (*no exporters*), metrics without readers (*no readers*). What telemetry
adds is taken from the CPU time of the client's process: it varies less than the time on the clock, and telemetry cannot
hide in a wait for the server.
"""

from __future__ import annotations

import asyncio
import gc
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import asdict, dataclass
from typing import Any

import click
from google.cloud.firestore import AsyncClient
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.trace import INVALID_SPAN, Span
from rich.console import Console
from rich.table import Table

from benchmarks.contest import QUICK_S, Budget
from benchmarks.pinning import connected, pinned_emulator
from benchmarks.process_batch import Batches
from dsset import Listing
from eventbox import EventBox, Recipient
from eventbox.telemetry import Telemetry

GOAL_PERCENT = 3.0
"""What telemetry may cost of a batch's time where nobody asked for any."""

SIZES = (1, 10, 100)
_BATCHES_A_TURN = 4
_MOST_S = 240.0
"""Seconds that a full run takes at most, in many turns: batches differ by more than telemetry adds."""

Boxes = Mapping[str, EventBox]


class Silent(Telemetry):
    """Telemetry that does nothing: what a batch would cost if there were none."""

    def processed(self, recipient: Recipient, seconds: float) -> None:
        pass

    def listed(self, recipient: Recipient, listing: Listing, seconds: float) -> None:
        pass

    def removed(self, recipient: Recipient, events: int) -> None:
        pass

    def processing(self, recipient: Recipient) -> AbstractContextManager[Span]:
        return nullcontext(INVALID_SPAN)


@dataclass(frozen=True)
class TelemetryCost:
    """What a batch takes without any telemetry, and the CPU time that telemetry adds: medians, in milliseconds.

    What is added is taken turn by turn, where both ran side by side, so that it varies less than the times.
    """

    benchmark: str
    telemetry: str
    events: int
    silent_ms: float  # on the clock, without latency
    silent_cpu_ms: float  # of the client's process
    added_cpu_ms: float

    @property
    def percent_of_time(self) -> float:
        return 100 * self.added_cpu_ms / self.silent_ms

    @property
    def within(self) -> bool:
        """Whether it costs next to nothing."""
        return self.percent_of_time < GOAL_PERCENT

    @property
    def percent_of_cpu(self) -> float:
        return 100 * self.added_cpu_ms / self.silent_cpu_ms


def boxes(client: AsyncClient) -> Boxes:
    """The contenders; the first is what the others are compared with."""
    silent = EventBox(client)
    silent._telemetry = Silent()
    return {
        "silent": silent,
        "no SDK": EventBox(client),
        "no exporters": EventBox(client, tracer_provider=TracerProvider(shutdown_on_exit=False)),
        "no readers": EventBox(client, meter_provider=MeterProvider(shutdown_on_exit=False)),
    }


async def measure(
    client: AsyncClient, sizes: Sequence[int], turns: Callable[[int], int], seconds: float | None = None
) -> list[TelemetryCost]:
    """A row for each number of events a batch and each box but the first."""
    budget = Budget(seconds, len(sizes))
    batches = Batches(client)
    results = []
    contenders = boxes(client)
    for events in sizes:
        taken: dict[str, list[float]] = {name: [] for name in contenders}
        silent_ms = []
        names = list(contenders)
        until = budget.next()
        for turn in range(turns(events) + 1):
            if turn > 1 and until is not None and time.monotonic() > until:
                break
            for offset in range(len(names)):
                name = names[(turn + offset) % len(names)]
                batches.box = contenders[name]
                works = [await batches.ours(events) for _ in range(_BATCHES_A_TURN)]
                took_ms, cpu_ms = await _measured(works)
                if turn:  # the first is for warming up
                    taken[name].append(cpu_ms / _BATCHES_A_TURN)
                    if name == "silent":
                        silent_ms.append(took_ms / _BATCHES_A_TURN)
        silent = taken.pop("silent")
        for name, values in taken.items():
            added = [mine - theirs for mine, theirs in zip(values, silent, strict=True)]
            results.append(
                TelemetryCost(
                    "telemetry",
                    name,
                    events,
                    silent_ms=statistics.median(silent_ms),
                    silent_cpu_ms=statistics.median(silent),
                    added_cpu_ms=statistics.median(added),
                )
            )
    return results


async def _measured(works: Iterable[Callable[[], Awaitable[Any]]]) -> tuple[float, float]:
    """The time on the clock, and the CPU time of this process in all its threads; in milliseconds."""
    gc.collect()
    gc.disable()  # else its runs fall on whoever is up
    try:
        began, began_cpu = time.perf_counter(), time.process_time()
        for work in works:
            await work()
        return (time.perf_counter() - began) * 1_000, (time.process_time() - began_cpu) * 1_000
    finally:
        gc.enable()


def report(results: Iterable[TelemetryCost], *, as_json: bool) -> None:
    """Print a table, or one JSON list."""
    if as_json:
        json.dump([asdict(one) for one in results], sys.stdout)
        click.echo()
        return
    table = Table()
    for column in ("telemetry", "events", "a batch", "its CPU", "added", "of its CPU", "of its time", "goal"):
        table.add_column(column, justify="left" if column == "telemetry" else "right")
    for one in results:
        table.add_row(
            one.telemetry,
            f"{one.events:,}",
            f"{one.silent_ms:.2f} ms",
            f"{one.silent_cpu_ms:.2f} ms",
            f"{one.added_cpu_ms * 1_000:.0f} us",
            f"{one.percent_of_cpu:.1f} %",
            f"{one.percent_of_time:.1f} %",
            f"{'' if one.within else 'not '}< {GOAL_PERCENT:g} %",
        )
    Console(width=100).print(table)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list and nothing else.")
@click.option("--quick", is_flag=True, help="Fewer turns, in under a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure what telemetry adds to a batch where nobody asked for any."""

    def turns(events: int) -> int:
        if quick:
            return 50 if events < 100 else 15
        return 200

    async def run() -> list[TelemetryCost]:
        async with pinned_emulator() as process, connected(process.address) as client:
            return await measure(client, SIZES, turns, QUICK_S if quick else _MOST_S)

    report(asyncio.run(run()), as_json=as_json)


if __name__ == "__main__":
    main()
