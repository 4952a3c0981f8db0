"""The job that all contenders do: events to recipients, whose counters are kept, each event counted exactly once."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass
from typing import Protocol, TypeVar

VALUE = "v" * 200

EMITTERS = 30
"""So many events are handed in at a time, each by a call of its own."""

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Job:
    """So many events, dealt out to so many recipients in turn."""

    events: int
    recipients: int

    def recipient_of(self, event: int) -> str:
        """Whom this event is for."""
        return f"recipient-{event % self.recipients}"

    @property
    def expected(self) -> Mapping[str, int]:
        """How many events each recipient has to have counted in the end."""
        return Counter(self.recipient_of(event) for event in range(self.events))


class JobUnderWay(Protocol):
    """A job in a database of its own, empty at first."""

    async def emit(self) -> None:
        """Hand in all events."""

    async def process(self, concurrency: int, seconds: float) -> int:
        """Work as one worker process until all effects are committed, or time is up; how many are, at least."""

    async def counts(self) -> Mapping[str, int]:
        """How many events each recipient has counted."""


Peer = Callable[[Job], AbstractAsyncContextManager[JobUnderWay]]
"""Begins a job on a server: in a database that is empty."""


@dataclass(frozen=True, slots=True)
class Rates:
    """What a contender did, in events a second. `all_done` is False where time was up first."""

    emitted_per_s: float
    processed_per_s: float
    all_done: bool


async def timed(job: Job, work: JobUnderWay, concurrency: int, seconds: float) -> Rates:
    """Do the job, and see that the counters are right.

    Raises:
        RuntimeError: an event was lost, or counted twice.
    """
    began = time.perf_counter()
    await work.emit()
    emitted = time.perf_counter() - began
    began = time.perf_counter()
    done = await work.process(concurrency, seconds)
    processed = time.perf_counter() - began
    counts, expected = await work.counts(), job.expected
    total = sum(counts.values())
    too_many = any(count > expected.get(recipient, 0) for recipient, count in counts.items())
    if too_many or total < done or (done >= job.events and counts != expected):
        raise RuntimeError(f"{total} events were counted, after {done} of {job.events} were processed")
    return Rates(job.events / emitted, total / processed, done >= job.events)


async def by_callers(callers: int, work: Callable[[T], Awaitable[object]], items: Iterable[T]) -> None:
    """Have so many callers do the work for each item, the next one as soon as one is free."""
    left = iter(items)

    async def caller() -> None:
        for item in left:
            await work(item)

    await asyncio.gather(*(caller() for _ in range(callers)))
