"""Quarantine when RPCs fail and processes die, at every step of a drain; and what it costs where nothing fails."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import DrainReport, EventBox, Recipient
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.poisoned import Poisoned, PoisonError, applied, in_quarantine
from tests.eventbox.support import Recording, emit, outstanding


@pytest.fixture
def box(client: AsyncClient) -> EventBox:
    return EventBox(client, quarantine_after=1)


@pytest.fixture
def local_box(local_client: AsyncClient, clock: ManualClock) -> EventBox:
    return EventBox(local_client, clock=clock, quarantine_after=1)


@pytest.fixture
def local_to(local_client: AsyncClient) -> Recipient:
    return Recipient(local_client.document("orders/1"), "order")


_RPCS = 40  # more than such a drain sends


@pytest.mark.parametrize(
    ("error", "when"), [("PERMISSION_DENIED", "before"), ("UNAVAILABLE", "before"), ("UNAVAILABLE", "after")]
)
@pytest.mark.parametrize("n", range(_RPCS))
async def test_wherever_a_drain_fails_nothing_is_lost_and_nothing_done_twice(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, n: int, error: str, when: Any
) -> None:
    box, to = (
        EventBox(local_client, clock=clock, quarantine_after=2),
        Recipient(local_client.document("a/1"), "a"),
    )
    good, bad = [f"good {i}" for i in range(6)], ["bad 1", "bad 2"]
    await emit(box, to, *good, *bad)
    with pytest.raises(PoisonError):
        await box.drain(to, Poisoned(to))
    await emit(box, to, *(later := [f"later {i}" for i in range(6)]), "bad 3")
    if n:
        emulator.faults.add(Fault(latency=timedelta(milliseconds=1), times=n))
    failing = emulator.faults.add(Fault(error=error, when=when, times=None))

    async def crash() -> DrainReport | None:
        """Drain until the process dies, when it has failed for five seconds."""
        task = asyncio.ensure_future(box.drain(to, Poisoned(to)))
        done, _ = await asyncio.wait(
            {task, asyncio.ensure_future(clock.sleep(timedelta(seconds=5)))}, return_when="FIRST_COMPLETED"
        )
        if task not in done:
            task.cancel()
        (result,) = await asyncio.gather(task, return_exceptions=True)
        return result if isinstance(result, DrainReport) else None

    await while_advancing(clock, crash())
    failing.remove()
    emulator.faults.clear()
    for i in range(4):
        await emit(box, to, f"then {i}")
        await asyncio.gather(while_advancing(clock, box.drain(to, Poisoned(to))), return_exceptions=True)
    assert await in_quarantine(box, to) == [*bad, "bad 3"]
    assert await outstanding(box, to) == set()
    assert await applied(to) == sorted([*good, *later, *(f"then {i}" for i in range(4))])


async def test_a_drain_on_the_way_of_success_asks_nothing_of_the_quarantine(
    emulator: Emulator, local_box: EventBox, local_to: Recipient
) -> None:
    await emit(local_box, local_to, *(str(n) for n in range(30)))
    emulator.counts.reset()
    await local_box.drain(local_to, Recording(local_to), max_events=10)
    assert dict(emulator.counts.rpcs) == {"RunQuery": 5, "GetDocument": 1, "Commit": 3}
    assert (emulator.counts.reads, emulator.counts.writes) == (30 + 1 + 2, 33)
