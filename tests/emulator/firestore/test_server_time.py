"""The server's time in a field: milliseconds, as documented, and between the moments before and after the write."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from google.cloud.firestore import SERVER_TIMESTAMP, AsyncClient, Client

from emulator.firestore import Emulator
from eventbox.testing import ManualClock

MANY = 50
"""Writes, of which all but a few would show a time that lies before their beginning."""


def now() -> datetime:
    return datetime.now(UTC)


def check(before: datetime, document: Any, after: datetime) -> None:
    at = document.get("at")
    assert before <= at <= document.update_time <= after
    assert at.microsecond % 1_000 == 0


async def test_it_lies_between_what_a_clock_shows_before_and_after_the_write(client: AsyncClient) -> None:
    for number in range(MANY):
        ref = client.document(f"a/{number}")
        before = now()
        await ref.set({"at": SERVER_TIMESTAMP})
        check(before, await ref.get(), now())


async def test_so_it_does_in_a_batch_that_asks_for_it_late(client: AsyncClient) -> None:
    for number in range(MANY):
        batch = client.batch()
        batch.set(client.document("a/other"), {"n": number})
        ref = client.document(f"a/{number}")
        batch.set(ref, {"deep": {"at": SERVER_TIMESTAMP}, "at": SERVER_TIMESTAMP})
        before = now()
        await batch.commit()
        check(before, await ref.get(), now())


async def test_so_it_does_from_a_thread() -> None:
    client: Client = Emulator().sync_client()

    def write() -> None:
        for number in range(MANY):
            ref = client.document(f"a/{number}")
            before = now()
            ref.set({"at": SERVER_TIMESTAMP})
            check(before, ref.get(), now())

    await asyncio.to_thread(write)


async def test_a_write_that_does_not_ask_for_it_does_not_wait() -> None:
    client = Emulator().client()
    commit = client.document("a/1").set({"at": now()})
    with pytest.raises(StopIteration):  # done in its first step: it gave nothing to the loop
        commit.send(None)


async def test_a_clock_that_stands_is_not_waited_for(clock: ManualClock, local_client: AsyncClient) -> None:
    clock.advance(timedelta(microseconds=100))
    ref = local_client.document("a/1")
    async with asyncio.timeout(5):
        await ref.set({"at": SERVER_TIMESTAMP})
    assert (await ref.get()).get("at") == clock.now() - timedelta(microseconds=100)
