"""Reminders whose tasks have been created are removed in the background, and hold up nobody."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from google.cloud.firestore import AsyncClient

from dsset import protos
from emulator.firestore import Emulator, Fault
from eventbox.tasks.removal import Removal
from eventbox.testing import ManualClock
from tests.advancing import sent

SECOND = timedelta(seconds=1)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def firestore(clock: ManualClock) -> Emulator:
    return Emulator(clock=clock)


@pytest.fixture
def client(firestore: Emulator) -> AsyncClient:
    return firestore.client()


async def a_second(clock: ManualClock) -> None:
    """Let an RPC that takes one come to its end."""
    for _ in range(50):
        await asyncio.sleep(0)
    clock.advance(SECOND)


def deletion(client: AsyncClient, id: str) -> protos.Write:
    return protos.Write(delete=client.document(f"reminders/{id}")._document_path)


async def test_a_flush_does_not_wait_for_what_is_added_after_it(
    firestore: Emulator, client: AsyncClient, clock: ManualClock
) -> None:
    removal = Removal(client)
    firestore.faults.add(Fault(rpc="BatchWrite", latency=SECOND, times=None))
    removal.add(deletion(client, "0"))
    flushing = asyncio.create_task(removal.flush())
    await sent(firestore, "BatchWrite")
    for number in range(1, 4):  # there is always something more to delete
        removal.add(deletion(client, str(number)))
        await a_second(clock)
        await sent(firestore, "BatchWrite", number + 1)
    assert flushing.done()


async def test_a_flush_waits_for_all_that_was_added_before_it(
    firestore: Emulator, client: AsyncClient, clock: ManualClock
) -> None:
    removal = Removal(client)
    firestore.faults.add(Fault(rpc="BatchWrite", latency=SECOND, times=None))
    removal.add(deletion(client, "0"))
    await sent(firestore, "BatchWrite")
    removal.add(deletion(client, "1"))
    flushing = asyncio.create_task(removal.flush())
    await a_second(clock)
    await sent(firestore, "BatchWrite", 2)
    assert not flushing.done()
    await a_second(clock)
    await asyncio.wait_for(flushing, 60)
    assert firestore.counts.deletes == 2


def test_an_event_loop_that_ended_in_the_middle_leaves_nothing_stuck(
    firestore: Emulator, client: AsyncClient
) -> None:
    removal = Removal(client)

    async def begin() -> None:
        removal.add(deletion(client, "0"))
        await sent(firestore, "BatchWrite")

    async def go_on() -> None:
        removal.add(deletion(client, "1"))
        await removal.flush()

    firestore.faults.add(Fault(rpc="BatchWrite", latency=SECOND))
    ended = asyncio.new_event_loop()
    ended.run_until_complete(begin())  # and never goes on: its tasks are not even cancelled
    asyncio.run(go_on())
    assert firestore.counts.deletes == 1
    for task in asyncio.all_tasks(ended):
        task.cancel()
    ended.run_until_complete(asyncio.sleep(0))
    ended.close()


async def test_whatever_fails_what_comes_after_it_is_deleted(
    firestore: Emulator, client: AsyncClient, caplog: pytest.LogCaptureFixture
) -> None:
    removal = Removal(client)
    broken = deletion(client, "0")

    class Broken:
        delete = broken.delete

    removal.add(Broken())  # no message: it fails before anything is sent
    await removal.flush()
    removal.add(broken)
    await removal.flush()
    assert firestore.counts.deletes == 1
    assert "left to the sweeper" in caplog.text
