"""How transactions end that nobody ends, and what they leave behind."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient

from dsset import protos
from dsset.wire import Wire
from emulator.firestore import Emulator
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.emulator.firestore.sessions import PESSIMISTIC, Session, settle


async def test_an_idle_transaction_expires_and_blocks_nobody_any_longer(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    session = await Session(local_client, PESSIMISTIC).begin()
    await session.get("a/1")
    began = clock.monotonic()
    await while_advancing(clock, local_client.document("a/1").set({"n": 1}, retry=None, timeout=200.0))
    assert 59 <= clock.monotonic() - began <= 61
    with pytest.raises(exceptions.InvalidArgument, match="expired"):
        await session.commit(("a/2", 1))


@pytest.mark.parametrize("micros", [1, 51_959_842, 20_379_229, 123_456_789])
async def test_who_waits_for_an_expiry_waits_once_on_a_clock_that_stands_still(
    local_client: AsyncClient, clock: ManualClock, micros: int
) -> None:
    clock.advance(timedelta(microseconds=micros))  # of which 60 seconds later is no exact float
    session = await Session(local_client, PESSIMISTIC).begin()
    await session.get("a/1")
    writing = asyncio.create_task(local_client.document("a/1").set({"n": 1}, retry=None, timeout=200.0))
    await settle()
    clock.advance(timedelta(seconds=60))
    await settle()
    assert writing.done()
    await writing


async def test_a_transaction_that_is_used_lives_for_270_seconds(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    session = await Session(local_client, PESSIMISTIC).begin()
    for _ in range(5):
        clock.advance(timedelta(seconds=50))
        await session.get("a/1")
    clock.advance(timedelta(seconds=21))
    with pytest.raises(exceptions.InvalidArgument, match="expired"):
        await session.get("a/1")


async def test_one_who_waits_and_goes_away_leaves_no_trace(
    local_client: AsyncClient, emulator: Emulator
) -> None:
    session = await Session(local_client, PESSIMISTIC).begin()
    await session.get("a/1")
    waiting = asyncio.create_task(local_client.document("a/1").set({"n": 1}))
    await settle()
    waiting.cancel()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    assert emulator._service._locks.waiting == 0
    late = await Session(local_client, PESSIMISTIC).begin()
    assert await late.get("a/1") is None


async def test_a_wait_ends_with_the_rpcs_deadline(local_client: AsyncClient, clock: ManualClock) -> None:
    session = await Session(local_client, PESSIMISTIC).begin()
    await session.get("a/1")
    with pytest.raises(exceptions.DeadlineExceeded):
        await while_advancing(clock, local_client.document("a/1").set({"n": 1}, retry=None, timeout=5.0))
    assert clock.monotonic() == pytest.approx(5)


async def test_one_that_waits_for_a_lock_is_not_idle(local_client: AsyncClient, clock: ManualClock) -> None:
    holder = await Session(local_client, PESSIMISTIC).begin()
    await holder.get("a/1")
    waiting = await Session(local_client, PESSIMISTIC).begin()
    await waiting.get("a/2")
    write = protos.Write(delete=local_client.document("a/1")._document_path)
    wire = Wire.of(local_client)
    commit = asyncio.create_task(wire.commit([write], transaction=waiting.id, timeout=600))
    for _ in range(4):  # the holder goes on for three minutes
        await settle()
        clock.advance(timedelta(seconds=45))
        await holder.get("a/1")
    await holder.commit()
    await commit


async def test_a_read_that_was_to_begin_a_transaction_and_is_given_up_leaves_none(
    local_client: AsyncClient, emulator: Emulator
) -> None:
    writer = await Session(local_client, PESSIMISTIC).begin()
    await writer.get("a/1")
    write = asyncio.create_task(local_client.document("a/1").set({"n": 1}))  # a reader waits behind it
    await settle()
    request: Any = {
        "database": local_client._database_string,
        "documents": [local_client.document("a/1")._document_path],
        "new_transaction": PESSIMISTIC,
    }
    beginning = asyncio.create_task(
        local_client._firestore_api.batch_get_documents(request=request, retry=None)
    )
    await settle()
    assert len(emulator._service._transactions._active) == 2
    beginning.cancel()
    with pytest.raises(asyncio.CancelledError):
        await beginning
    await settle()
    assert len(emulator._service._transactions._active) == 1
    await writer.rollback()
    await write
    assert not emulator._service._transactions._active


async def test_one_that_is_idle_after_a_wait_expires_as_others_do(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    holder = await Session(local_client, PESSIMISTIC).begin()
    await holder.get("a/1")
    waiting = await Session(local_client, PESSIMISTIC).begin()
    writing = asyncio.create_task(local_client.document("a/1").set({"n": 1}, retry=None, timeout=600.0))
    await settle()
    reading = asyncio.create_task(waiting.get("a/1"))  # behind the write
    await settle()
    clock.advance(timedelta(seconds=61))  # ends the holder
    await writing
    assert await reading == 1
    began = clock.monotonic()
    await while_advancing(clock, local_client.document("a/1").set({"n": 2}, retry=None, timeout=600.0))
    assert 59 <= clock.monotonic() - began <= 61
