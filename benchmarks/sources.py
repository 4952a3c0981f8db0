"""What ingestion makes of its round trips: `python -m benchmarks.sources [--json] [--quick]`.

A feed of blocks, each with one event to emit, is taken in by `run`, with 16 blocks in flight, and by the plain way: one
block at a time, each with a look at the lock and a transaction that reads the place and writes it. Both run against the
Firestore emulator in process, whose every RPC takes so many milliseconds, as that to a real one would.
"""

from __future__ import annotations

import asyncio
import json
import math
import statistics
import sys
import time
from collections.abc import AsyncIterator, Awaitable
from dataclasses import asdict, astuple, dataclass
from datetime import timedelta

import click
from google.cloud.firestore import AsyncClient, async_transactional

from emulator.firestore import Emulator, Fault
from eventbox import EventBox, NewEvent, Recipient
from eventbox.sources import BoxWriter, Committer, DistributedLock, Result, Writer, run

LATENCIES_MS = (0, 10, 30)
IN_FLIGHT = 16
FACTOR_AT_10_MS = 10


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one run, per block: `round_trips` are those that nothing else went on beside, as the time tells."""

    blocks_per_s: float
    round_trips: float
    commits: float
    reads: float


class Feed:
    """Blocks 1 to `count`, each with one event."""

    name = "benchmark"

    def __init__(self, count: int) -> None:
        self._count = count

    async def ingest(self, writer: Writer, parent: bytes | None) -> AsyncIterator[Awaitable[Result]]:
        for n in range(0 if parent is None else int.from_bytes(parent, "big"), self._count):
            yield self._block(writer, n + 1)
        await asyncio.Event().wait()

    def pointer_metric(self, pointer: bytes) -> int:
        return int.from_bytes(pointer, "big")

    async def _block(self, writer: Writer, n: int) -> Result:
        await writer.write(self.name, _pointer(n), [NewEvent(b"x" * 100)])
        return Result(_pointer(n - 1) if n > 1 else None, _pointer(n))


class Reached:
    """Tells when it begins, and when the last block is committed."""

    def __init__(self, count: int) -> None:
        self.begun, self.done = asyncio.Event(), asyncio.Event()
        self._count = count

    def began(self, ingestor: str, position: int | None) -> None:
        self.begun.set()

    def committed(self, ingestor: str, blocks: int, position: int) -> None:
        if position == self._count:
            self.done.set()


def _pointer(n: int) -> bytes:
    return n.to_bytes(8, "big")


def _emulator(latency_ms: int) -> Emulator:
    emulator = Emulator()
    if latency_ms:
        emulator.faults.add(Fault(rpc="*", latency=timedelta(milliseconds=latency_ms), times=10**9))
    return emulator


async def ingestion(latency_ms: int, count: int) -> Figures:
    """By `run`."""
    emulator = _emulator(latency_ms)
    client = emulator.client()
    lock = DistributedLock(client, "benchmark", heartbeat=timedelta(seconds=30))
    writer = BoxWriter(EventBox(client), Recipient(client.document("feeds/1"), "feed"))
    reached = Reached(count)
    task = asyncio.create_task(
        run(lock, Committer(client), writer, Feed(count), concurrency=IN_FLIGHT, progress=reached)
    )
    await reached.begun.wait()
    emulator.counts.reset()
    begin = time.perf_counter()
    await reached.done.wait()
    seconds = time.perf_counter() - begin
    commits, reads = emulator.counts.rpcs["Commit"], emulator.counts.reads
    task.cancel()
    await asyncio.wait([task])
    round_trips = seconds * 1_000 / latency_ms if latency_ms else math.nan
    return Figures(count / seconds, round_trips / count, commits / count, reads / count)


async def plainly(latency_ms: int, count: int) -> Figures:
    """One at a time: the lock is looked at, the event emitted, and the place read and written in a transaction."""
    emulator = _emulator(latency_ms)
    client: AsyncClient = emulator.client()
    lock, place = client.document("locks/benchmark"), client.document("places/benchmark")
    await lock.set({"holder": "me"})
    await place.set({"latest": _pointer(0)})
    writer = BoxWriter(EventBox(client), Recipient(client.document("feeds/1"), "feed"))
    emulator.counts.reset()
    begin = time.perf_counter()
    for n in range(1, count + 1):
        await writer.write("benchmark", _pointer(n), [NewEvent(b"x" * 100)])
        if (await lock.get()).get("holder") != "me":
            raise RuntimeError("the lock was lost")

        @async_transactional
        async def commit(transaction, n=n):  # type: ignore[no-untyped-def]
            if (await place.get(transaction=transaction)).get("latest") != _pointer(n - 1):
                raise RuntimeError("not the next block")
            transaction.set(place, {"latest": _pointer(n)})

        await commit(client.transaction())
    seconds = time.perf_counter() - begin
    counts = emulator.counts
    rpcs = sum(counts.rpcs.values())
    return Figures(count / seconds, rpcs / count, counts.rpcs["Commit"] / count, counts.reads / count)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object and nothing else.")
@click.option("--quick", is_flag=True, help="One shorter run of each.")
def main(as_json: bool, quick: bool) -> None:
    """Measure ordered ingestion."""
    repeat = 1 if quick else 5
    results: dict[str, float] = {}
    if not as_json:
        click.echo("blocks/s      plain         run   factor   per block: round trips, commits, reads")
    for latency in LATENCIES_MS:
        few = max(20, (300 if quick else 1_000) // max(1, latency))
        many = (2_000 if quick else 5_000) // (2 if latency >= 30 else 1)
        plain = _median([asyncio.run(plainly(latency, few)) for _ in range(repeat)])
        ours = _median([asyncio.run(ingestion(latency, many)) for _ in range(repeat)])
        factor = ours.blocks_per_s / plain.blocks_per_s
        for way, figures in (("plain", plain), ("run", ours)):
            for name, figure in asdict(figures).items():
                if not math.isnan(figure):
                    results[f"{way}_{name}_{latency}_ms"] = round(figure, 3)
        results[f"factor_{latency}_ms"] = round(factor, 1)
        if not as_json:
            per_block = ", ".join(
                f"{getattr(plain, name):.1f} -> {getattr(ours, name):.3f}".replace("nan", "?")
                for name in ("round_trips", "commits", "reads")
            )
            target = f"    (target: >= {FACTOR_AT_10_MS} x)" if latency == 10 else ""
            click.echo(
                f"{latency:>5} ms{plain.blocks_per_s:>11,.0f}{ours.blocks_per_s:>12,.0f}{factor:>8.1f}x   "
                f"{per_block}{target}"
            )
    if as_json:
        json.dump(results, sys.stdout)
        click.echo()


def _median(runs: list[Figures]) -> Figures:
    return Figures(*(statistics.median(one) for one in zip(*map(astuple, runs), strict=True)))


if __name__ == "__main__":
    main()
