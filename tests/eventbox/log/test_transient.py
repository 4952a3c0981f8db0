"""Transient entries: in order, to everybody in the process, and never stored."""

from __future__ import annotations

import asyncio
import gc

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator
from eventbox import EventBox, Transaction
from eventbox.log import EventLog, EventPersistence, NewLogEntry
from tests.eventbox.log.support import payloads

TRANSIENT = EventPersistence.TRANSIENT


async def say(log: EventLog, *payloads: str, transaction: Transaction | None = None) -> None:
    for payload in payloads:
        await log.append("said", payload.encode(), persistence=TRANSIENT, transaction=transaction)


async def test_they_reach_everybody_in_order_and_cost_nothing(
    local_log: EventLog, local_box: EventBox, local_client: AsyncClient, emulator: Emulator
) -> None:
    first = local_log.transient()
    second = EventLog(local_box, local_client.document("logs/main")).transient()
    emulator.counts.reset()
    await say(local_log, "a", "b", "c")
    for entries in (first, second):
        assert payloads([await anext(entries) for _ in range(3)]) == ["a", "b", "c"]
    assert sum(emulator.counts.rpcs.values()) == 0
    assert await local_log.order() == 0
    assert await local_log.read_trimable() == []


async def test_they_have_no_id(log: EventLog) -> None:
    entries = log.transient()
    await log.append("said", b"a", module=("m", 1), persistence=TRANSIENT)
    entry = await anext(entries)
    assert (entry.id, entry.kind, entry.module, entry.payload) == (None, "said", ("m", 1), b"a")
    assert entry.logged_at.utcoffset() is not None


async def test_who_waits_is_woken(log: EventLog) -> None:
    entries = log.transient()
    waiting = asyncio.ensure_future(anext(entries))
    await asyncio.sleep(0)
    await say(log, "a")
    assert (await waiting).payload == b"a"


async def test_in_a_transaction_they_come_with_its_commit_or_not_at_all(
    box: EventBox, log: EventLog, client: AsyncClient
) -> None:
    entries = log.transient()

    async def fail(transaction: Transaction) -> None:
        await say(log, "never", transaction=transaction)
        raise RuntimeError

    async def succeed(transaction: Transaction) -> None:
        await say(log, "a", transaction=transaction)
        transaction.set(client.document("a/1"), {})
        await say(log, "b", transaction=transaction)
        assert not entries._waiting

    with pytest.raises(RuntimeError):
        await box.run_in_transaction(fail)
    await box.run_in_transaction(succeed)
    assert payloads([await anext(entries) for _ in range(2)]) == ["a", "b"]


async def test_googles_own_transaction_does_not_tell_when_it_has_committed(
    log: EventLog, client: AsyncClient
) -> None:
    with pytest.raises(TypeError, match="run_in_transaction"):
        await log.append("said", b"", persistence=TRANSIENT, transaction=client.transaction())


async def test_nothing_but_transient_entries_comes(log: EventLog) -> None:
    entries = log.transient()
    await log.append_many(
        [NewLogEntry("a", b"stored"), NewLogEntry("a", b"transient", persistence=TRANSIENT)]
    )
    await log.order()
    assert (await anext(entries)).payload == b"transient"
    assert not entries._waiting


async def test_other_logs_are_not_heard(box: EventBox, client: AsyncClient, log: EventLog) -> None:
    entries = log.transient()
    await say(EventLog(box, client.document("logs/other")), "a")
    assert not entries._waiting


async def test_who_reads_too_slowly_loses_the_oldest_and_is_told_how_many(log: EventLog) -> None:
    entries = log.transient(capacity=3)
    await say(log, *"abcde")
    assert payloads([await anext(entries) for _ in range(3)]) == ["c", "d", "e"]
    assert entries.missed == 2


async def test_closing_ends_the_iteration_and_the_subscription(log: EventLog) -> None:
    entries = log.transient()
    await say(log, "a")
    await entries.aclose()
    await say(log, "b")
    assert payloads([entry async for entry in entries]) == ["a"]
    waiting = log.transient()
    task = asyncio.ensure_future(anext(waiting))
    await asyncio.sleep(0)
    await waiting.aclose()
    with pytest.raises(StopAsyncIteration):
        await task


async def test_one_that_nobody_refers_to_any_more_takes_nothing_in(log: EventLog) -> None:
    entries = log.transient()
    subscribers = log._in_process.subscribers
    assert len(subscribers._all) == 1
    del entries
    gc.collect()
    assert len(subscribers._all) == 0
