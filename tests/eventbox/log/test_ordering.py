"""Ordering: IDs without holes, whatever fails and however many order; segments that are filled."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import PermissionDenied, ResourceExhausted
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import ContentionError, EventBox
from eventbox.log import EventLog, EventPersistence, NewLogEntry
from eventbox.log.segments import FILL_BYTES
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.log.support import append, append_and_order, order_all, payloads, read_all, until


async def segments(client: AsyncClient, collection: str = "eventbox_log_segments") -> list[dict[str, Any]]:
    found = await client.collection(f"logs/main/{collection}").order_by("end").get()
    return [document.to_dict() for document in found]


async def test_order_tells_how_many_entries_it_took_up(log: EventLog) -> None:
    assert await log.order() == 0
    await append(log, "a", "b")
    await append(log, "c", trimable=True)
    assert await log.order() == 3
    assert await log.order() == 0


async def test_small_steps_fill_a_segment_further(local_log: EventLog, local_client: AsyncClient) -> None:
    for n in range(50):
        await append_and_order(local_log, f"{n}" * 100)
    assert [segment["end"] for segment in await segments(local_client)] == [50]
    assert len(await segments(local_client, "eventbox_log_trimable_segments")) == 1


async def test_a_segment_that_is_full_is_left_alone(local_log: EventLog, local_client: AsyncClient) -> None:
    for _ in range(8):
        await append_and_order(local_log, "x" * 20_000)
    sizes = [len(segment["entries"]) for segment in await segments(local_client)]
    assert sizes == [4, 4]


async def test_every_segment_but_the_last_is_filled(local_log: EventLog, local_client: AsyncClient) -> None:
    for size in (900_000, 10, 10, 900_000, 10, 900_000, 60_000, 500_000, 3, 900_000):
        await append_and_order(local_log, "x" * size)
    assert len(await read_all(local_log)) == 10
    for segment in (await segments(local_client))[:-1]:
        assert sum(map(len, segment["entries"].values())) >= FILL_BYTES - 32 * len(segment["entries"])


async def test_twenty_of_the_largest_entries_do_not_jam_it(log: EventLog) -> None:
    expected = [str(n % 10) * 900_000 for n in range(20)]
    for payload in expected:
        await append(log, payload)
    taken = []
    while step := await log.order():
        taken.append(step)
    assert sum(taken) == 20
    assert min(taken) >= 4
    assert payloads(await read_all(log)) == expected
    assert payloads(await read_all(log, trimable=True)) == expected


async def test_a_worker_drains_the_largest_entries_with_bounds_of_its_own(
    local_box: EventBox, local_log: EventLog
) -> None:
    await append(local_log, *(["x" * 900_000] * 20))
    report = await local_box.drain(local_log.recipient, local_log.processor())
    assert report.drained
    assert report.events == 20
    assert len(await read_all(local_log)) == 20


async def test_a_worker_keeps_the_order_of_a_backlog_of_many_steps(
    local_box: EventBox, local_log: EventLog
) -> None:
    # a drain would list more at once than a step takes up, and begin the next listing behind that
    expected = [f"{n}:" + "x" * 50_000 for n in range(800)]
    await append(local_log, *expected)
    ordering = local_log.processor()
    prepare = ordering.prepare_mutation

    async def note(events: Any, state: Any) -> Any:
        listed.append(len(events))
        return await prepare(events, state)

    listed: list[int] = []
    ordering.prepare_mutation = note  # type: ignore[method-assign]
    report = await local_box.drain(local_log.recipient, ordering)
    assert report.drained
    assert sum(listed) == 800  # what a step does not take up is not listed
    assert payloads(await read_all(local_log)) == expected


async def test_a_worker_keeps_the_order_of_a_process_whose_clock_is_behind(
    emulator: Emulator, clock: ManualClock
) -> None:
    behind = ManualClock(clock.now() - timedelta(seconds=1))
    clients = [emulator.client() for _ in range(2)]
    ours, theirs = (
        EventLog(EventBox(client, clock=at), client.document("logs/main"))
        for client, at in zip(clients, (clock, behind), strict=True)
    )
    await append(ours, "1", "2")
    ordering = ours.processor()
    prepare = ordering.prepare_mutation

    async def append_meanwhile(events: Any, state: Any) -> Any:
        if not appended:
            appended.append(True)
            await append(theirs, "a")  # before what was listed, by its time
            behind.advance(timedelta(seconds=2))
            await append(theirs, "b")  # behind it
        return await prepare(events, state)

    appended: list[bool] = []
    ordering.prepare_mutation = append_meanwhile  # type: ignore[method-assign]
    await EventBox(clients[0], clock=clock).drain(ours.recipient, ordering, max_events=1)
    assert payloads(await ours.read()) == ["1", "a", "2", "b"]


async def test_two_orderers_at_once_double_nothing(
    local_log: EventLog, emulator: Emulator, clock: ManualClock
) -> None:
    for round_ in range(5):
        await append(local_log, *(f"{round_}.{n}" for n in range(20)))
        emulator.faults.add(Fault(rpc="Commit", latency=timedelta(seconds=1)))  # both have listed by then
        results = await while_advancing(
            clock, asyncio.gather(local_log.order(), local_log.order(), return_exceptions=True)
        )
        assert sorted(map(str, results))[0] == "20"
        assert sum(isinstance(result, ContentionError) for result in results) == 1
    entries = await local_log.read()
    assert payloads(entries) == [f"{round_}.{n}" for round_ in range(5) for n in range(20)]
    assert [entry.id for entry in entries] == list(range(100))


@pytest.mark.parametrize("when", ["before", "after", "late", "twice"])
async def test_a_commit_that_goes_wrong_leaves_neither_holes_nor_doubles(
    local_log: EventLog, emulator: Emulator, clock: ManualClock, when: Any
) -> None:
    await append_and_order(local_log, "a")
    await append(local_log, "b", "c")
    error = None if when == "twice" else "UNAVAILABLE"
    emulator.faults.add(
        Fault(
            rpc="Commit",
            error=error,
            when=when,
            latency=timedelta(seconds=1) if when != "before" else timedelta(),
        )
    )
    assert await while_advancing(clock, local_log.order()) == 2
    clock.advance(timedelta(seconds=2))
    await append_and_order(local_log, "d")
    entries = await local_log.read()
    assert payloads(entries) == ["a", "b", "c", "d"]
    assert [entry.id for entry in entries] == [0, 1, 2, 3]


async def test_a_step_that_was_never_carried_out_is_done_by_the_next(
    local_log: EventLog, emulator: Emulator
) -> None:
    await append(local_log, "a")
    emulator.faults.add(Fault(rpc="Commit", error="RESOURCE_EXHAUSTED"))
    with pytest.raises(ResourceExhausted):
        await local_log.order()
    assert await local_log.read() == []
    assert await local_log.order() == 1
    assert payloads(await local_log.read()) == ["a"]


async def test_the_log_keeps_the_users_own_fields_of_its_document(log: EventLog, client: AsyncClient) -> None:
    await client.document("logs/main").set({"title": "Main"})
    await append_and_order(log, "a")
    data = (await client.document("logs/main").get()).to_dict()
    assert (data["title"], data["next_id"], data["next_trimable_id"]) == ("Main", 1, 1)


async def test_logged_at_never_falls(emulator: Emulator, clock: ManualClock) -> None:
    clients = [emulator.client() for _ in range(2)]
    late = ManualClock(clock.now() - timedelta(hours=1))
    logs = [
        EventLog(EventBox(client, clock=at), client.document("logs/main"))
        for client, at in zip(clients, (clock, late), strict=True)
    ]
    await append_and_order(logs[0], "now")
    await append(logs[1], "an hour ago")
    await logs[0].order()
    first, second = await logs[0].read()
    assert payloads([first, second]) == ["now", "an hour ago"]
    assert first.logged_at == second.logged_at


async def test_run_ordering_orders_what_comes_at_most_once_an_interval(
    local_log: EventLog, emulator: Emulator, clock: ManualClock
) -> None:
    running = asyncio.create_task(local_log.run_ordering(interval=timedelta(seconds=10)))
    try:
        await append(local_log, "a")
        await until(lambda: emulator.counts.rpcs["Commit"] > 0)
        for payload in "bcd":
            await append(local_log, payload)
        for _ in range(100):
            await asyncio.sleep(0)
        assert emulator.counts.rpcs["Commit"] == 1
        clock.advance(timedelta(seconds=10))
        await until(lambda: emulator.counts.rpcs["Commit"] == 2)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert payloads(await local_log.read()) == list("abcd")


@pytest.mark.parametrize(
    ("waiting", "steps"), [([str(n) for n in range(2_500)], 3), (["x" * 900_000] * 10, 3)]
)
async def test_run_ordering_does_not_wait_between_full_steps(
    local_log: EventLog, emulator: Emulator, clock: ManualClock, waiting: list[str], steps: int
) -> None:
    await append(local_log, *waiting)
    emulator.counts.reset()
    began = clock.now()
    running = asyncio.create_task(local_log.run_ordering(interval=timedelta(hours=1)))
    try:
        await until(lambda: emulator.counts.rpcs["Commit"] == steps)
        assert clock.now() == began
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)
    assert len(await read_all(local_log)) == len(waiting)


async def test_run_ordering_costs_nothing_while_nothing_happens(
    local_log: EventLog, emulator: Emulator, clock: ManualClock
) -> None:
    await append(local_log, "a")
    running = asyncio.create_task(local_log.run_ordering())
    try:
        await until(lambda: emulator.counts.rpcs["Commit"] > 0)
        for _ in range(5):  # whatever was under way comes to rest
            clock.advance(timedelta(seconds=1))
            for _ in range(100):
                await asyncio.sleep(0)
        emulator.counts.reset()
        for _ in range(60):
            clock.advance(timedelta(seconds=1))
            for _ in range(50):
                await asyncio.sleep(0)
        assert (emulator.counts.reads, sum(emulator.counts.rpcs.values())) == (0, 0)
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_run_ordering_asks_but_once_where_its_listener_does_not_hear_that_nothing_waits_any_more(
    local_log: EventLog, emulator: Emulator, clock: ManualClock
) -> None:
    await append(local_log, "a")
    snapshot = 4  # responses
    emulator.faults.add(Fault(rpc="Listen", error="UNAVAILABLE", when="cut", after_messages=snapshot))
    emulator.faults.add(Fault(rpc="Listen", error="UNAVAILABLE", times=None))
    running = asyncio.create_task(local_log.run_ordering(interval=timedelta(0)))
    try:
        await until(lambda: emulator.counts.rpcs["Commit"] > 0)
        emulator.counts.reset()
        for _ in range(1_000):
            await asyncio.sleep(0)
        assert emulator.counts.rpcs["RunQuery"] <= 1
    finally:
        running.cancel()
        await asyncio.gather(running, return_exceptions=True)


async def test_run_ordering_goes_on_after_what_may_pass(
    local_log: EventLog, emulator: Emulator, clock: ManualClock
) -> None:
    emulator.faults.add(Fault(rpc="Commit", error="RESOURCE_EXHAUSTED", times=3))
    emulator.faults.add(Fault(rpc="Commit", error="ABORTED", times=2))
    emulator.faults.add(Fault(rpc="Listen", error="UNAVAILABLE", times=2))
    await append(local_log, "a")

    async def ordered() -> bool:
        return await local_log.next_id() == 1

    async def until_ordered() -> None:
        running = asyncio.create_task(local_log.run_ordering())
        try:
            await until(ordered)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    await while_advancing(clock, until_ordered())
    assert not emulator.faults.pending
    assert payloads(await local_log.read()) == ["a"]


async def test_run_ordering_sets_aside_what_is_no_entry(
    local_log: EventLog, local_box: EventBox, clock: ManualClock
) -> None:
    await append(local_log, "a")
    await local_box.emit(b"not an entry", local_log.recipient, id="stray")
    await append(local_log, "b")

    async def set_aside() -> bool:
        return bool(await local_box.quarantined(local_log.recipient))

    async def until_set_aside() -> None:
        running = asyncio.create_task(local_log.run_ordering())
        try:
            await until(set_aside)
        finally:
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    await while_advancing(clock, until_set_aside())
    assert payloads(await local_log.read()) == ["a", "b"]
    assert await local_box.list_events(local_log.recipient) == []


async def test_run_ordering_ends_where_firestore_refuses_for_good(
    local_log: EventLog, emulator: Emulator
) -> None:
    await append(local_log, "a")
    emulator.faults.add(Fault(rpc="Commit", error="PERMISSION_DENIED"))
    with pytest.raises(PermissionDenied):
        await local_log.run_ordering()
    emulator.faults.add(Fault(rpc="Listen", error="PERMISSION_DENIED"))
    with pytest.raises(PermissionDenied):
        await local_log.run_ordering()


async def test_several_run_ordering_at_once(local_log: EventLog, clock: ManualClock) -> None:
    async def ordered() -> bool:
        return await local_log.next_id() == 40

    async def until_ordered() -> None:
        running = [asyncio.create_task(local_log.run_ordering()) for _ in range(3)]
        try:
            for n in range(40):
                await append(local_log, str(n))
                await asyncio.sleep(0)
            await until(ordered)
        finally:
            for one in running:
                one.cancel()
            await asyncio.gather(*running, return_exceptions=True)

    await while_advancing(clock, until_ordered())
    entries = await local_log.read()
    assert [entry.id for entry in entries] == list(range(40))
    assert sorted(payloads(entries), key=int) == [str(n) for n in range(40)]


async def test_logs_of_different_documents_do_not_meet(box: EventBox, client: AsyncClient) -> None:
    first, second = (EventLog(box, client.document(f"logs/{name}")) for name in "ab")
    await append_and_order(first, "1")
    await append_and_order(second, "2", "3")
    assert (payloads(await first.read()), payloads(await second.read())) == (["1"], ["2", "3"])


async def test_a_log_of_trimable_entries_alone_has_an_empty_persistent_one(log: EventLog) -> None:
    await log.append_many([NewLogEntry("a", b"", persistence=EventPersistence.TRIMABLE) for _ in range(3)])
    await order_all(log)
    assert await log.read() == []
    assert len(await log.read_trimable()) == 3
