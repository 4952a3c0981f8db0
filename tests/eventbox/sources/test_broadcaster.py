"""`Broadcaster`: every event is handed on until it has arrived."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox.sources import Broadcaster, EventStore, StoredEvent
from eventbox.testing import ManualClock


class Listener:
    """Gets the events; fails for those that it is told to."""

    def __init__(self) -> None:
        self.got: list[bytes] = []
        self.tries = 0
        self.failing: set[bytes] = set()

    async def __call__(self, event: StoredEvent) -> None:
        self.tries += 1
        if event.data in self.failing:
            raise OSError("not now")
        self.got.append(event.data)


class World:
    def __init__(self, client: AsyncClient, clock: ManualClock, **kwargs: Any) -> None:
        self.clock = clock
        self.store = EventStore(client.document("sources/1"), clock=clock)
        self.listener = Listener()
        self.broadcaster = Broadcaster(self.store, self.listener, clock=clock, **kwargs)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[asyncio.Task[None]]:
        before = asyncio.all_tasks()
        task = asyncio.create_task(self.broadcaster.run())
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait([task])
            assert asyncio.all_tasks() == before

    async def until(self, condition: Callable[[], bool], *, advancing: bool = True) -> None:
        for turn in range(10_000):
            if condition():
                return
            await asyncio.sleep(0)
            wake = self.clock.next_wake
            if advancing and turn % 50 == 49 and wake is not None:
                self.clock.advance(wake - self.clock.now())
        raise AssertionError("it did not happen")


async def test_what_waits_and_what_comes_is_broadcast_and_marked(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    world = World(local_client, clock)
    await world.store.store(b"before", "t")
    async with world.running():
        await world.until(lambda: world.listener.got == [b"before"], advancing=False)
        event = await world.store.store(b"after", "t")  # told by the listener, without any time passing
        await world.until(lambda: world.listener.got == [b"before", b"after"], advancing=False)
        for _ in range(200):
            await asyncio.sleep(0)
        assert [one.broadcasted for one in await world.store.get_events()] == [True, True]
        await world.broadcaster.received(event)
        assert (await world.store.get_event(event)).received  # type: ignore[union-attr]


async def test_one_that_fails_is_tried_again_and_does_not_hold_up_the_others(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    world = World(local_client, clock)
    world.listener.failing = {b"3"}
    for n in range(10):
        await world.store.store(str(n).encode(), "t")
    async with world.running():
        await world.until(lambda: len(world.listener.got) == 9)
        await world.until(lambda: world.listener.tries > 9 + 10)  # more than one round
        await world.store.store(b"new", "t")
        await world.until(lambda: b"new" in world.listener.got)
        world.listener.failing.clear()
        await world.until(lambda: b"3" in world.listener.got)
    assert sorted(world.listener.got) == sorted({*world.listener.got})


async def test_the_rounds_after_a_failure_come_soon_at_first(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    world = World(local_client, clock)
    world.listener.failing = {b"x"}
    await world.store.store(b"x", "t")
    begin = clock.now()
    async with world.running():
        await world.until(lambda: world.listener.tries > 10)  # the second round may be the watch's
        assert clock.now() - begin < timedelta(seconds=20)


async def test_what_is_not_received_is_broadcast_again_after_a_while(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    world = World(local_client, clock, rebroadcast_after=timedelta(minutes=10))
    lost, arrived = await world.store.store(b"lost", "t"), await world.store.store(b"arrived", "t")
    async with world.running():
        await world.until(lambda: len(world.listener.got) == 2)
        begin = clock.now()
        await world.broadcaster.received(arrived)
        await world.until(lambda: len(world.listener.got) == 3)
        assert world.listener.got[-1] == b"lost"
        assert timedelta(minutes=9) < clock.now() - begin < timedelta(minutes=12)
        await world.broadcaster.received(lost)
        clock.advance(timedelta(hours=1))
        for _ in range(500):
            await asyncio.sleep(0)
    assert len(world.listener.got) == 3


async def test_one_read_each_half_minute_while_there_is_nothing_to_do(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    world = World(local_client, clock)
    async with world.running():
        for _ in range(200):
            await asyncio.sleep(0)
        emulator.counts.reset()
        for seconds in range(1, 91):
            clock.advance(timedelta(seconds=1))
            for _ in range(20):
                await asyncio.sleep(0)
            assert dict(emulator.counts.rpcs) == ({"RunQuery": seconds // 30} if seconds >= 30 else {})
        assert emulator.counts.reads == 3


async def test_a_thousand_are_marked_in_a_few_requests(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    world = World(local_client, clock)
    for n in range(1_000):
        await world.store.store(n.to_bytes(4, "big"), "t")
    emulator.counts.reset()
    assert await world.broadcaster.broadcast_all() == (1_000, 0)
    assert dict(emulator.counts.rpcs) == {"RunQuery": 3, "BatchWrite": 2}


async def test_an_outage_is_waited_out(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    world = World(local_client, clock)
    await world.store.store(b"x", "t")
    emulator.faults.add(Fault(rpc="RunQuery", error="UNAVAILABLE", times=60))
    async with world.running():
        await world.until(lambda: world.listener.got == [b"x"])


async def test_bad_arguments_are_refused(local_client: AsyncClient, clock: ManualClock) -> None:
    store = EventStore(local_client.document("sources/1"))
    with pytest.raises(TypeError, match="store"):
        Broadcaster("store", Listener())  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="broadcast"):
        Broadcaster(store, None)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="rebroadcast_after"):
        Broadcaster(store, Listener(), rebroadcast_after=timedelta(0))
    with pytest.raises(ValueError, match="concurrency"):
        Broadcaster(store, Listener(), concurrency=0)
