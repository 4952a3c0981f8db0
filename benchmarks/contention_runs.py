"""The runs of `benchmarks.contention`: emitters at their times, and a worker beside them or none."""

from __future__ import annotations

import asyncio
import statistics
import uuid
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Protocol

from google.api_core.exceptions import Aborted, FailedPrecondition, GoogleAPICallError, NotFound
from google.cloud.firestore import AsyncClient

from benchmarks import plain
from benchmarks.process_batch import VALUE, Count, decide
from eventbox import Clock, ContentionError, EmitError, EventBox, Recipient, SystemClock

EMITTERS = 20

MAX_EVENTS = 100

_LOST = (ContentionError, Aborted, FailedPrecondition, NotFound, plain.LostError, ValueError)
"""How a batch that lost to another writer ends. ValueError: google's, after five attempts."""


@dataclass(frozen=True, slots=True)
class Load:
    """Each emitter emits once in `interval_s`, for `seconds`."""

    interval_s: float
    seconds: float


@dataclass(slots=True)
class Run:
    """What happened in one run."""

    seconds: float
    emit_s: list[float] = field(default_factory=list)
    emits_failed: int = 0
    batches: int = 0
    batches_lost: int = 0
    left: int = 0


@dataclass(frozen=True, slots=True)
class Summary:
    """One contender at one latency. `alone` is of the same emitters without a worker; `left` of when they ended."""

    benchmark: str
    latency_ms: int
    contender: str
    emits_per_s: float
    emits_failed: int
    emit_p50_ms: float
    emit_p99_ms: float
    alone_p50_ms: float
    alone_p99_ms: float
    batches_per_s: float
    batches_lost: int
    events_left: int


class Contender(Protocol):
    """One way to have an inbox, on a recipient of its own."""

    async def emit(self, event_id: str) -> None: ...

    async def batch(self) -> int:
        """Process a batch, or several; how many. Raises one of `_LOST` where another writer won."""

    async def total(self) -> int:
        """How many bytes of events have been counted."""


class Ours:
    """By `process_batch`."""

    def __init__(self, client: AsyncClient, clock: Clock) -> None:
        self._box = EventBox(client, clock=clock)
        self._recipient = Recipient(client.document(f"ours/{uuid.uuid4().hex}"), "recipient")
        self._processor = Count(self._recipient)

    async def emit(self, event_id: str) -> None:
        await self._box.emit(VALUE, self._recipient, id=event_id)

    async def batch(self) -> int:
        await self._box.process_batch(self._recipient, self._processor, max_events=MAX_EVENTS)
        return 1

    async def total(self) -> int:
        snapshot = await self._recipient.ref.get()
        return snapshot.get("total") if snapshot.exists else 0


class OursDraining(Ours):
    """By `drain`, as a worker does: it ends when the inbox is empty, and the next one begins."""

    async def batch(self) -> int:
        report = await self._box.drain(
            self._recipient, self._processor, max_events=MAX_EVENTS, max_batches=20
        )
        if report.contended:
            raise ContentionError("a drain was ended by another writer")
        return report.batches


class Plain:
    """By one of the plain ways."""

    def __init__(self, client: AsyncClient, way: Any) -> None:
        self._client = client
        self._path = f"plain/{uuid.uuid4().hex}"
        self._way = way

    async def emit(self, event_id: str) -> None:
        await plain.emit(self._client, self._path, event_id, VALUE)

    async def batch(self) -> int:
        await self._way(self._client, self._path, MAX_EVENTS, decide)
        return 1

    async def total(self) -> int:
        snapshot = await self._client.document(self._path).get()
        return snapshot.get("total") if snapshot.exists else 0


SYSTEM_CLOCK = SystemClock()

Make = Callable[[AsyncClient, Clock], Contender]
"""A contender on a new recipient."""

CONTENDERS: Mapping[str, Make] = {
    "ours": Ours,
    "ours, drain": OursDraining,
    "plain, listed outside": lambda client, _: Plain(client, plain.listed_outside),
    "plain, all in one": lambda client, _: Plain(client, plain.all_in_one),
}


async def measure_run(contender: Contender, load: Load, *, worker: bool, clock: Clock = SYSTEM_CLOCK) -> Run:
    """Let the emitters emit, with a worker beside them or none; then process what is left, and see that all is there.

    Times are the clock's. Before each emit an emitter sleeps on it, so that it always yields.

    Raises:
        RuntimeError: an event was lost or counted twice.
    """
    run = Run(load.seconds)
    each = round(load.seconds / load.interval_s)
    begin = clock.monotonic()

    async def emitter(number: int) -> None:
        for turn in range(each):
            at = begin + (turn + number / EMITTERS) * load.interval_s
            await clock.sleep(timedelta(seconds=at - clock.monotonic()))
            try:
                await contender.emit(f"{number}-{turn}")
            except (EmitError, GoogleAPICallError):
                run.emits_failed += 1
            run.emit_s.append(clock.monotonic() - at)

    emitting = asyncio.gather(*(emitter(number) for number in range(EMITTERS)))
    while worker and not emitting.done():
        await _batch(contender, run)
    await emitting
    run.seconds = clock.monotonic() - begin
    emitted = EMITTERS * each - run.emits_failed
    run.left = emitted - await contender.total() // len(VALUE)
    for _ in range(2 + run.left // MAX_EVENTS):
        await contender.batch()
    total = await contender.total() // len(VALUE)
    if total != emitted:
        raise RuntimeError(f"{emitted} events were emitted, and {total} counted")
    return run


async def _batch(contender: Contender, run: Run) -> None:
    try:
        run.batches += await contender.batch()
    except _LOST:
        run.batches_lost += 1


def summed_up(name: str, milliseconds: int, alone: Sequence[Run], beside: Sequence[Run]) -> Summary:
    """All runs of one contender at one latency."""
    seconds = sum(run.seconds for run in beside)
    p50, p99 = _percentiles(beside)
    alone_p50, alone_p99 = _percentiles(alone)
    return Summary(
        "contention",
        milliseconds,
        name,
        sum(len(run.emit_s) - run.emits_failed for run in beside) / seconds,
        sum(run.emits_failed for run in beside),
        p50,
        p99,
        alone_p50,
        alone_p99,
        sum(run.batches for run in beside) / seconds,
        sum(run.batches_lost for run in beside),
        sum(run.left for run in beside),
    )


def _percentiles(runs: Sequence[Run]) -> tuple[float, float]:
    """The median and the 99th percentile of an emit, in milliseconds."""
    cuts = statistics.quantiles([one * 1_000 for run in runs for one in run.emit_s], n=100)
    return cuts[49], cuts[98]
