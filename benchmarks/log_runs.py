"""The runs of `benchmarks.log`: each returns a few figures."""

from __future__ import annotations

import asyncio
import itertools
import statistics
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from google.cloud.firestore import AsyncClient

from benchmarks.contest import medians
from benchmarks.pinning import latency
from benchmarks.plain_log import PlainLog
from emulator.firestore import Emulator
from emulator.manual_clock import ManualClock
from emulator.process import EmulatorProcess
from eventbox import EventBox
from eventbox.log import EventLog, NewLogEntry

PAYLOAD = b"x" * 200
BATCH = 100
_APPENDERS = 32

Figures = dict[str, float]
Work = Callable[[], Awaitable[Any]]


async def handler(transaction: Any, entry: Any) -> None:
    """What both followers do with an entry: nothing, for it is the following that is measured."""


async def appending(client: AsyncClient, process: EmulatorProcess, milliseconds: int, turns: int) -> Figures:
    """Entries appended per second, by 32 at once."""
    log = EventLog(EventBox(client), client.document(f"logs/append{milliseconds}"))
    plain = PlainLog(client, f"plain/append{milliseconds}")

    async def ours(_turn: int) -> Work:
        return lambda: asyncio.gather(*(log.append("said", PAYLOAD) for _ in range(10 * _APPENDERS)))

    async def theirs(_turn: int) -> Work:
        return lambda: asyncio.gather(*(plain.append("said", PAYLOAD) for _ in range(_APPENDERS)))

    around = partial(latency, process, milliseconds)
    found = await medians({"ours": ours, "plain": theirs}, turns, around)
    return {
        "appends_per_s": 10 * _APPENDERS / found["ours"] * 1_000,
        "plain_appends_per_s": _APPENDERS / found["plain"] * 1_000,
    }


async def ordering(client: AsyncClient, process: EmulatorProcess, milliseconds: int, turns: int) -> Figures:
    """Entries ordered per second in full steps, and what a thousand of them cost."""
    log = EventLog(EventBox(client), client.document(f"logs/order{milliseconds}"))

    async def ours(_turn: int) -> Work:
        await log.append_many([NewLogEntry("said", PAYLOAD) for _ in range(1_000)])
        await process.reset_counts()
        return log.order

    found = await medians({"ours": ours}, turns, partial(latency, process, milliseconds))
    counts = await process.counts()
    return {
        "ordered_per_s": 1_000 / found["ours"] * 1_000,
        "ordering_rpcs_per_1000": sum(counts.rpcs.values()),
        "ordering_reads_per_1000": counts.reads,
        "ordering_writes_per_1000": counts.writes,
    }


async def following(
    client: AsyncClient, process: EmulatorProcess, milliseconds: int, turns: int, backlog: int
) -> Figures:
    """Entries of a backlog followed per second, 100 to a transaction, and the reads of a thousand."""
    log = EventLog(EventBox(client), client.document(f"logs/follow{milliseconds}"))
    plain = PlainLog(client, f"plain/follow{milliseconds}")
    await log.append_many([NewLogEntry("said", PAYLOAD) for _ in range(backlog)])
    while await log.order():
        pass
    await plain.fill("said", PAYLOAD, backlog)
    names = itertools.count()

    async def ours(_turn: int) -> Work:
        await process.reset_counts()
        return partial(log.handle_events, f"f{next(names)}", handler, until_idle=True, batch=BATCH)

    async def theirs(_turn: int) -> Work:
        await process.reset_counts()
        return partial(plain.follow, f"f{next(names)}", handler, BATCH)

    around = partial(latency, process, milliseconds)
    figures: Figures = {}
    found = await medians({"ours": ours, "plain": theirs}, turns, around)
    for name, prefix, prepare in (("ours", "", ours), ("plain", "plain_", theirs)):
        await (await prepare(0))()
        counts = await process.counts()
        figures[f"{prefix}followed_per_s"] = backlog / found[name] * 1_000
        figures[f"{prefix}reads_per_1000"] = counts.reads * 1_000 / backlog
        figures[f"{prefix}rpcs_per_1000"] = sum(counts.rpcs.values()) * 1_000 / backlog
    return figures


async def live(client: AsyncClient, process: EmulatorProcess, steps: int) -> Figures:
    """Reads per step of one live follower, and how long after the ordering step an entry was handled."""
    log = EventLog(EventBox(client), client.document("logs/live"))
    handled: asyncio.Queue[float] = asyncio.Queue()

    async def note(transaction: Any, entry: Any) -> None:
        transaction.on_commit(lambda: handled.put_nowait(time.perf_counter()))

    async with asyncio.TaskGroup() as group:
        follower = group.create_task(log.handle_events("live", note))
        await log.append("said", PAYLOAD)
        await log.order()
        await handled.get()
        await process.reset_counts()
        delays = []
        for _ in range(steps):
            await log.append("said", PAYLOAD)
            await log.order()
            ordered = time.perf_counter()
            delays.append(await handled.get() - ordered)
        counts = await process.counts()
        follower.cancel()
    # each step itself reads its entry and the head
    return {
        "live_reads_per_step": counts.reads / steps - 2,
        "wake_up_ms": statistics.median(delays) * 1_000,
    }


async def growing(entries: int, *, factor: int = 10) -> list[Figures]:
    """What the last thousand entries cost, and any position, in a log of `factor` times more of them each time.

    In process, on a clock by hand: what was consumed a day ago is taken by the TTL policy, as in a log that grew over
    weeks.
    """
    clock = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
    indexes = Path(__file__).parents[1] / "firestore.indexes.json"
    emulator = Emulator(clock=clock, indexes=indexes, enforce_indexes=True)
    client = emulator.client()
    log = EventLog(EventBox(client, clock=clock), client.document("logs/main"))
    figures = []
    at = 1_000
    for end in range(1_000, entries + 1, 1_000):
        emulator.counts.reset()
        began = time.perf_counter()
        await log.append_many([NewLogEntry("said", PAYLOAD) for _ in range(1_000)])
        assert await log.order() == 1_000
        follower = log.handle_events(f"f{end}", handler, until_idle=True, batch=BATCH, start=end - 1_000)
        if end == at:
            await follower
            took = time.perf_counter() - began
            counts = emulator.counts
            row: Figures = {
                "entries": end,
                "reads_per_1000": counts.reads,
                "writes_per_1000": counts.writes,
                "rpcs_per_1000": sum(counts.rpcs.values()),
                "ms_per_1000": took * 1_000,
            }
            counts.reset()
            assert [entry.id for entry in await log.read(end // 3, 1)] == [end // 3]
            figures.append({**row, "reads_at_random": counts.reads})
            at *= factor
        else:
            follower.close()
        if end % 20_000 == 0:
            clock.advance(timedelta(hours=25))
    return figures
