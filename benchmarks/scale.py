"""Whether an event's time grows with what there is: `python -m benchmarks.scale [--json] [--quick]`.

The emulator is pinned to one core, the client to the other. A batch of 10,000 events is one commit: with events of any
size, for a tombstone holds no value; what bounds a batch is Firestore's 10 MiB a request, at some 33,000 events.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import click
from rich.console import Console
from rich.table import Table

from benchmarks import growth
from benchmarks.contest import NO_TIMES, QUICK_S, Budget
from benchmarks.filling import Filling
from benchmarks.growth import LIMIT, Growth
from benchmarks.pinning import connected, pinned_emulator

MEMORY_LIMIT_MB = 60
_EVENTS, _EVENT_BYTES = 10_000, 1_000


@dataclass(frozen=True, slots=True)
class Sizes:
    """At which sizes each growth is measured."""

    events_per_batch: Sequence[int] = (10, 100, 1_000, 10_000)
    recipients: Sequence[int] = (1, 100, 10_000)
    tombstones: Sequence[int] = (0, 10_000, 1_000_000)
    outstanding: Sequence[int] = (10, 1_000, 100_000)


_FULL_S = 150.0
"""Seconds that a full run takes at most, but for its last turns and its memory."""

QUICK = Sizes(tombstones=(0, 10_000, 100_000), recipients=(1, 1_000), outstanding=(10, 10_000))


@dataclass(frozen=True, slots=True)
class Memory:
    """What a batch took above the idle process, in MB (millions of bytes)."""

    events: int
    event_bytes: int
    mb: float

    @property
    def within(self) -> bool:
        """Whether it is less than it may be."""
        return self.mb < MEMORY_LIMIT_MB


async def measure(sizes: Sizes, turns: int, seconds: float | None = None) -> list[Growth]:
    """Each growth."""
    budget = Budget(seconds, 4)
    return [
        await growth.events_per_batch(sizes.events_per_batch, max(2, turns // 5), budget),
        await growth.recipients(sizes.recipients, turns, budget),
        await growth.tombstones(sizes.tombstones, turns, budget),
        await growth.outstanding(sizes.outstanding, turns, budget),
    ]


async def measure_memory(events: int = _EVENTS, event_bytes: int = _EVENT_BYTES) -> Memory:
    """What one batch of so many events takes."""
    async with pinned_emulator() as process:
        async with connected(process.address) as client:
            await Filling(client).events([client.document("accounts/large")], events, b"v" * event_bytes)
        command = [sys.executable, "-m", "benchmarks.batch_memory", process.address, str(events)]
        done = await asyncio.to_thread(subprocess.run, command, stdout=subprocess.PIPE, text=True, check=True)
    return Memory(events, event_bytes, round(int(done.stdout) / 1e6, 1))


def show(found: Sequence[Growth], memory: Memory) -> None:
    """Print tables."""
    console = Console(width=110)
    table = Table()
    table.add_column("what grows")
    for column in ("size", "an event", "ratio", f"at most {LIMIT}"):
        table.add_column(column, justify="right")
    for one in found:
        for size, took, ratio in zip(one.sizes, one.us_per_event, one.ratios, strict=True):
            verdict = "" if size == one.sizes[0] else "yes" if ratio <= LIMIT else "NO"
            table.add_row(one.figure, f"{size:,}", f"{took:,.1f} us", f"{ratio:.2f}", verdict)
    console.print(table)
    verdict = "yes" if memory.within else "NO"
    console.print(
        f"A batch of {memory.events:,} events of {memory.event_bytes:,} bytes takes {memory.mb:.1f} MB above the idle "
        f"process; less than {MEMORY_LIMIT_MB}: {verdict}"
    )


def as_rows(found: Sequence[Growth], memory: Memory) -> list[dict[str, Any]]:
    """The figures as the other benchmarks print theirs: `ours_ms` is of a batch of so many `events`."""
    rows: list[dict[str, Any]] = [
        {
            "benchmark": "scale",
            "figure": one.figure,
            "size": size,
            "latency_ms": 0,
            "events": events,
            "floor_ms": None,
            "ours_ms": round(took * events / 1_000, 3),
            "plain_ms": None,
            "us_per_event": took,
            "ratio": ratio,
            "limit": LIMIT,
            "within": ratio <= LIMIT,
        }
        for one in found
        for size, events, took, ratio in zip(one.sizes, one.events, one.us_per_event, one.ratios, strict=True)
    ]
    more = {"limit": MEMORY_LIMIT_MB, "within": memory.within}
    rows.append({"benchmark": "scale", "figure": "memory", **NO_TIMES, **asdict(memory), **more})
    return rows


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON list and nothing else.")
@click.option("--quick", is_flag=True, help="Smaller sizes and fewer turns, in under a minute.")
def main(as_json: bool, quick: bool) -> None:
    """Measure an event's time as batches, recipients, tombstones and backlogs grow, and a large batch's memory."""

    async def run() -> tuple[list[Growth], Memory]:
        if quick:
            return await measure(QUICK, 15, QUICK_S), await measure_memory()
        return await measure(Sizes(), 60, _FULL_S), await measure_memory()

    found, memory = asyncio.run(run())
    if as_json:
        json.dump(as_rows(found, memory), sys.stdout)
        click.echo()
    else:
        show(found, memory)


if __name__ == "__main__":
    main()
