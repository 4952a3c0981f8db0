"""A `run` on a manual clock, as the tests have it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

from google.cloud.firestore import AsyncClient
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from eventbox.sources import Committer, DistributedLock, run
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.sources.feeds import Written

HEARTBEAT = timedelta(seconds=5)


class Running:
    """A run on a manual clock, which moves on whenever nothing else can go on."""

    def __init__(
        self,
        client: AsyncClient,
        clock: ManualClock,
        ingestor: Any,
        *,
        lease: timedelta | None = None,
        **kwargs: Any,
    ) -> None:
        self.clock = clock
        self.written = Written()
        self.committer = Committer(client, clock=clock)
        self.lock = DistributedLock(client, "numbers", heartbeat=HEARTBEAT, lease=lease, clock=clock)
        self.task = asyncio.create_task(
            run(self.lock, self.committer, self.written.writer, ingestor, clock=clock, **kwargs)
        )

    async def until(self, condition: Callable[[], bool], *, turns: int = 20_000) -> None:
        for turn in range(turns):
            if condition() or self.task.done():
                break
            await asyncio.sleep(0)
            wake = self.clock.next_wake
            if turn % 50 == 49 and wake is not None:
                self.clock.advance(wake - self.clock.now())
        if self.task.done():
            self.task.result()
        assert condition()

    async def committed(self, n: int) -> None:
        await self.until(lambda: self._latest() == n)

    def _latest(self) -> int | None:
        place = self.committer._places.get("numbers")
        return None if place is None or place.latest is None else int.from_bytes(place.latest, "big")


@asynccontextmanager
async def running(
    client: AsyncClient, clock: ManualClock, ingestor: Any, **kwargs: Any
) -> AsyncIterator[Running]:
    one = Running(client, clock, ingestor, **kwargs)
    try:
        yield one
    finally:
        one.task.cancel()
        await while_advancing(clock, asyncio.wait([one.task]))


def recorded(reader: InMemoryMetricReader) -> dict[str, Any]:
    """The last data point of each metric, by its name."""
    data: Any = reader.get_metrics_data()
    return {
        metric.name: metric.data.data_points[0]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
