"""Following: each entry once, in order, in a transaction with the cursor; live and until idle."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta

import pytest
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import EventBox, Transaction
from eventbox.log import EventLog, LogEntry
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.log.support import Recording, Tally, append, append_and_order, order_all, payloads, until

TICK = timedelta(milliseconds=10)


async def test_a_follower_gets_every_entry_in_order_and_remembers_where_it_was(log: EventLog) -> None:
    assert await log.cursor("f") is None
    await append_and_order(log, *map(str, range(25)))
    recording = Recording()
    await log.handle_events("f", recording, until_idle=True)
    assert recording.payloads == [str(n) for n in range(25)]
    assert await log.cursor("f") == 25
    await append_and_order(log, "25", "26")
    again = Recording()
    await log.handle_events("f", again, until_idle=True, batch=10)
    assert again.payloads == ["25", "26"]
    assert await log.cursor("f") == 27


async def test_followers_have_cursors_of_their_own_on_each_of_the_two_logs(log: EventLog) -> None:
    await append(log, "p")
    await append(log, "t", trimable=True)
    await order_all(log)
    seen = {name: Recording() for name in ("f", "g", "trimable")}
    await log.handle_events("f", seen["f"], until_idle=True)
    await log.handle_events("g", seen["g"], until_idle=True)
    await log.handle_trimable_events("f", seen["trimable"], until_idle=True)
    assert [seen[name].payloads for name in ("f", "g", "trimable")] == [["p"], ["p"], ["p", "t"]]
    assert (await log.cursor("f"), await log.cursor("f", trimable=True)) == (1, 2)
    assert await log.cursor("g", trimable=True) is None


async def test_an_empty_log_is_idle_at_once(log: EventLog) -> None:
    recording = Recording()
    await log.handle_events("f", recording, until_idle=True)
    assert recording.committed == []
    assert await log.cursor("f") is None


@pytest.mark.parametrize("batch", [1, 7, 1_000])
async def test_what_the_handler_writes_and_the_cursor_are_one(
    log: EventLog, client: AsyncClient, batch: int
) -> None:
    await append_and_order(log, *map(str, range(30)))
    tally = Tally(client)
    await log.handle_events("f", tally, until_idle=True, batch=batch)
    assert await tally.counts() == {f"e{n}": 1 for n in range(30)}


async def test_a_handler_may_read_emit_and_append_to_the_same_log(
    box: EventBox, log: EventLog, client: AsyncClient
) -> None:
    await append_and_order(log, "a", "b")

    async def handler(transaction: Transaction, entry: LogEntry) -> None:
        ref = client.document("totals/1")
        snapshot = await ref.get(transaction=transaction)
        transaction.set(ref, {"n": (snapshot.get("n") if snapshot.exists else 0) + 1})
        if len(entry.payload) < 3:
            await log.append("said", entry.payload * 2, transaction=transaction)

    await log.handle_events("f", handler, until_idle=True)
    while await log.order():
        await log.handle_events("f", handler, until_idle=True)
    assert payloads(await log.read()) == ["a", "b", "aa", "bb", "aaaa", "bbbb"]
    assert (await client.document("totals/1").get()).get("n") == 6


async def test_a_handler_that_fails_is_tried_again_and_does_not_move_the_cursor(
    local_log: EventLog, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    await append_and_order(local_log, "a", "b", "c")
    failures = 3
    recording = Recording()
    cursors = []

    async def handler(transaction: Transaction, entry: LogEntry) -> None:
        nonlocal failures
        await recording(transaction, entry)
        if entry.payload == b"b" and failures:
            failures -= 1
            cursors.append(await local_log.cursor("f"))
            raise RuntimeError("not yet")

    began = clock.monotonic()
    with caplog.at_level(logging.ERROR, "eventbox.log"):
        await while_advancing(clock, local_log.handle_events("f", handler, until_idle=True))
    assert recording.payloads == ["a", "b", "c"]
    assert cursors == [1, 1, 1]
    assert 0.35 <= clock.monotonic() - began <= 0.7
    assert [record.message.count("entry 1") for record in caplog.records] == [1, 1, 1]


async def test_the_delay_after_a_failure_begins_anew_once_an_entry_was_handled(
    local_log: EventLog, clock: ManualClock
) -> None:
    await append_and_order(local_log, "a", "b")
    failures = {"a": 6, "b": 1}
    delays: dict[str, float] = {}

    async def handler(transaction: Transaction, entry: LogEntry) -> None:
        payload = entry.payload.decode()
        delays.setdefault(payload, clock.monotonic())
        if failures[payload]:
            failures[payload] -= 1
            raise RuntimeError("not yet")
        delays[payload] = clock.monotonic() - delays[payload]

    await while_advancing(clock, local_log.handle_events("f", handler, until_idle=True))
    assert 3 < delays["a"] < 6.4
    assert 0.05 <= delays["b"] <= 0.1


async def test_of_a_batch_in_which_the_handler_fails_those_before_stand(
    local_log: EventLog, local_client: AsyncClient, clock: ManualClock
) -> None:
    await append_and_order(local_log, *map(str, range(10)))
    tally = Tally(local_client)
    cursors = []

    async def handler(transaction: Transaction, entry: LogEntry) -> None:
        await tally(transaction, entry)
        if entry.id == 6:
            cursors.append(await local_log.cursor("f"))
            if len(cursors) <= 2:
                raise RuntimeError("not yet")

    await while_advancing(clock, local_log.handle_events("f", handler, until_idle=True, batch=100))
    assert cursors == [None, 6, 6]
    assert await tally.counts() == {f"e{n}": 1 for n in range(10)}


async def test_an_entry_that_firestore_refuses_does_not_hold_up_those_before_it(
    local_log: EventLog, local_client: AsyncClient, clock: ManualClock
) -> None:
    await append_and_order(local_log, *map(str, range(40)))
    taken = local_client.document("taken/1")
    await taken.set({})
    tally = Tally(local_client)

    async def handler(transaction: Transaction, entry: LogEntry) -> None:
        await tally(transaction, entry)
        if entry.id == 23:
            transaction.create(taken, {})  # ALREADY_EXISTS at the commit, for all of the batch

    async def at_the_entry() -> bool:
        return await local_log.cursor("f") == 23

    following = asyncio.ensure_future(
        while_advancing(clock, local_log.handle_events("f", handler, until_idle=True, batch=100))
    )
    await until(at_the_entry)
    await taken.delete()
    await following
    assert await tally.counts() == {f"e{n}": 1 for n in range(40)}


async def test_two_of_the_same_name_handle_every_entry_once(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    logs = [
        EventLog(EventBox(client, clock=clock), client.document("logs/main"))
        for client in (local_client, emulator.client(), emulator.client())
    ]
    await append_and_order(logs[0], *map(str, range(60)))
    emulator.faults.add(Fault(rpc="Commit", latency=TICK, times=None))
    tally = Tally(local_client)
    everyone = asyncio.gather(*(log.handle_events("f", tally, until_idle=True, batch=7) for log in logs))
    await while_advancing(clock, everyone)
    assert await tally.counts() == {f"e{n}": 1 for n in range(60)}
    assert await logs[0].cursor("f") == 60


async def test_a_live_follower_is_told_of_each_step_and_waits_on_no_clock(client: AsyncClient) -> None:
    standing = ManualClock(datetime.now(UTC))
    log = EventLog(EventBox(client, clock=standing), client.document("logs/main"))
    recording = Recording()
    following = asyncio.create_task(log.handle_events("f", recording))
    try:
        await append_and_order(log, "a")
        await recording.reached(1)
        for n in range(10):
            await append_and_order(log, str(n))
            await recording.reached(n + 2)
    finally:
        following.cancel()
        with pytest.raises(asyncio.CancelledError):
            await following
    assert recording.payloads == ["a", *map(str, range(10))]


async def test_a_live_follower_survives_broken_listeners(
    local_log: EventLog, emulator: Emulator, clock: ManualClock
) -> None:
    recording = Recording()

    async def scenario() -> None:
        following = asyncio.create_task(local_log.handle_events("f", recording))
        try:
            for n in range(5):
                emulator.faults.add(Fault(rpc="Listen", error="UNAVAILABLE", when="cut", times=2))
                await append_and_order(local_log, str(n))
                await recording.reached(n + 1)
        finally:
            following.cancel()
            await asyncio.gather(following, return_exceptions=True)

    await while_advancing(clock, scenario())
    assert recording.payloads == [str(n) for n in range(5)]


async def test_a_live_follower_costs_nothing_while_idle_and_two_reads_a_step(
    local_log: EventLog, emulator: Emulator, clock: ManualClock
) -> None:
    recording = Recording()
    following = asyncio.create_task(local_log.handle_events("f", recording))
    try:
        await append_and_order(local_log, "a")
        await recording.reached(1)
        for _ in range(100):
            await asyncio.sleep(0)
        emulator.counts.reset()
        for _ in range(60):
            clock.advance(TICK * 100)
            for _ in range(20):
                await asyncio.sleep(0)
        assert (emulator.counts.reads, sum(emulator.counts.rpcs.values())) == (0, 0)
        await append(local_log, *map(str, range(9)))
        emulator.counts.reset()
        await local_log.order()
        ordering = emulator.counts.reads
        await recording.reached(10)
        for _ in range(100):
            await asyncio.sleep(0)
        assert emulator.counts.reads - ordering <= 2
    finally:
        following.cancel()
        await asyncio.gather(following, return_exceptions=True)


async def test_cancelling_leaves_no_locks_and_no_listener_behind(
    emulator: Emulator, local_log: EventLog, local_client: AsyncClient
) -> None:
    await append_and_order(local_log, "a")
    reached = asyncio.Event()

    async def handler(transaction: Transaction, entry: LogEntry) -> None:
        await local_client.document("totals/1").get(transaction=transaction)
        reached.set()
        await asyncio.Event().wait()

    following = asyncio.create_task(local_log.handle_events("f", handler))
    await reached.wait()
    following.cancel()
    with pytest.raises(asyncio.CancelledError):
        await following
    assert not emulator._service._watchers._by_path
    assert emulator.counts.rpcs["Rollback"] == 1
    assert await local_log.cursor("f") is None


async def test_a_new_follower_begins_where_it_is_told(log: EventLog) -> None:
    await append_and_order(log, *"abcd")
    recording = Recording()
    await log.handle_events("f", recording, until_idle=True, start=2)
    await log.handle_events("f", recording, until_idle=True, start=0)  # it has a cursor by now
    assert recording.payloads == ["c", "d"]


async def test_a_cursor_can_be_moved_while_its_follower_is_stopped(log: EventLog) -> None:
    await append_and_order(log, *"abcd")
    recording = Recording()
    await log.handle_events("f", recording, until_idle=True)
    await log.move_cursor("f", 3)
    await log.handle_events("f", recording, until_idle=True)
    assert recording.payloads == ["a", "b", "c", "d", "d"]


async def test_a_cursor_that_is_moved_while_its_follower_works_wins(
    local_log: EventLog, clock: ManualClock
) -> None:
    await append_and_order(local_log, *"abcdef")
    recording = Recording()

    async def handler(transaction: Transaction, entry: LogEntry) -> None:
        if entry.payload == b"b" and not moved:
            moved.append(True)
            await local_log.move_cursor("f", 4)
        await recording(transaction, entry)

    moved: list[bool] = []
    await while_advancing(clock, local_log.handle_events("f", handler, until_idle=True))
    assert recording.payloads == ["a", "e", "f"]


async def test_followers_that_share_a_listener_end_apart(local_log: EventLog, emulator: Emulator) -> None:
    first, second, third = Recording(), Recording(), Recording()
    one = asyncio.create_task(local_log.handle_events("one", first))
    other = asyncio.create_task(local_log.handle_trimable_events("other", second))
    try:
        await append_and_order(local_log, "a")
        await asyncio.gather(first.reached(1), second.reached(1))
        one.cancel()
        await asyncio.gather(one, return_exceptions=True)
        await append_and_order(local_log, "b")
        await second.reached(2)
    finally:
        other.cancel()
        await asyncio.gather(other, return_exceptions=True)
    assert not emulator._service._watchers._by_path
    again = asyncio.create_task(local_log.handle_events("one", third))
    try:
        await third.reached(1)
    finally:
        again.cancel()
        await asyncio.gather(again, return_exceptions=True)
    assert (first.payloads, second.payloads, third.payloads) == (["a"], ["a", "b"], ["b"])


async def test_a_hundred_followers_do_not_slow_the_ordering(local_log: EventLog, emulator: Emulator) -> None:
    recordings = [Recording() for _ in range(100)]
    following = [
        asyncio.create_task(local_log.handle_events(f"f{n}", recording))
        for n, recording in enumerate(recordings)
    ]
    try:
        await append_and_order(local_log, "a")
        for recording in recordings:
            await recording.reached(1)
        await append(local_log, "b")
        # a connection bears a hundred streams or so: one is for all of them
        assert emulator.counts.rpcs["Listen"] == 1
        emulator.counts.reset()
        assert await local_log.order() == 1
        # what the step itself costs is the same with followers and without
        assert (emulator.counts.rpcs["RunQuery"], emulator.counts.rpcs["GetDocument"]) == (1, 1)
        for recording in recordings:
            await recording.reached(2)
    finally:
        for one in following:
            one.cancel()
        await asyncio.gather(*following, return_exceptions=True)
    assert all(recording.payloads == ["a", "b"] for recording in recordings)
