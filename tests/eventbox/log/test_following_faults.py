"""Following while requests fail, answers are lost, followers crash, and the log is trimmed."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import PermissionDenied
from google.cloud.firestore import AsyncClient
from hypothesis import HealthCheck, given, settings, strategies as st

from emulator.firestore import Emulator, Fault
from eventbox import EventBox, Transaction
from eventbox.log import EventLog, LogEntry
from eventbox.testing import ManualClock
from tests.advancing import sent, while_advancing
from tests.eventbox.log.support import Recording, Tally, append, append_and_order, payloads, read_all, until


@pytest.mark.parametrize("when", ["before", "after", "late", "twice"])
@pytest.mark.parametrize("times", [1, 4])
async def test_a_commit_that_goes_wrong_handles_nothing_twice(
    local_log: EventLog,
    local_client: AsyncClient,
    emulator: Emulator,
    clock: ManualClock,
    when: Any,
    times: int,
) -> None:
    await append_and_order(local_log, *map(str, range(12)))
    tally = Tally(local_client)
    latency = timedelta(seconds=3) if when in ("late", "twice") else timedelta(0)
    error = None if when == "twice" else "UNAVAILABLE"
    emulator.faults.add(Fault(rpc="Commit", error=error, when=when, times=times, latency=latency))
    await while_advancing(clock, local_log.handle_events("f", tally, until_idle=True, batch=5))
    clock.advance(timedelta(minutes=1))
    assert await tally.counts() == {f"e{n}": 1 for n in range(12)}
    assert await local_log.cursor("f") == 12


@pytest.mark.parametrize("rpc", ["RunQuery", "BatchGetDocuments", "Commit"])
@pytest.mark.parametrize("error", ["UNAVAILABLE", "ABORTED", "RESOURCE_EXHAUSTED", "INTERNAL"])
async def test_an_outage_of_many_minutes_is_outlived(
    local_log: EventLog,
    local_client: AsyncClient,
    emulator: Emulator,
    clock: ManualClock,
    rpc: str,
    error: str,
) -> None:
    await append_and_order(local_log, "a", "b", "c")
    tally = Tally(local_client)
    emulator.faults.add(Fault(rpc=rpc, error=error, times=40))
    await while_advancing(clock, local_log.handle_events("f", tally, until_idle=True))
    assert await tally.counts() == {"e0": 1, "e1": 1, "e2": 1}


async def test_what_would_not_pass_ends_it(local_log: EventLog, emulator: Emulator) -> None:
    await append_and_order(local_log, "a")
    for rpc in ("RunQuery", "BatchGetDocuments", "Listen"):
        emulator.faults.add(Fault(rpc=rpc, error="PERMISSION_DENIED"))
        with pytest.raises(PermissionDenied):
            await local_log.handle_events("f", Recording())


async def test_a_read_of_the_handlers_that_meets_contention_is_tried_again(
    local_log: EventLog, local_client: AsyncClient, clock: ManualClock, emulator: Emulator
) -> None:
    await append_and_order(local_log, "a", "b")
    tally = Tally(local_client)

    async def handler(transaction: Transaction, entry: LogEntry) -> None:
        if entry.id == 1 and not aborted:
            aborted.append(True)
            emulator.faults.add(Fault(rpc="BatchGetDocuments", error="ABORTED", path="totals/1"))
        await local_client.document("totals/1").get(transaction=transaction)
        await tally(transaction, entry)

    aborted: list[bool] = []
    await while_advancing(clock, local_log.handle_events("f", handler, until_idle=True, batch=2))
    assert await tally.counts() == {"e0": 1, "e1": 1}
    assert aborted


async def test_a_second_of_the_same_name_goes_on_where_what_the_first_has_handled_was_trimmed(
    local_log: EventLog, emulator: Emulator, clock: ManualClock
) -> None:
    client = emulator.client()
    theirs = EventLog(EventBox(client, clock=clock), client.document("logs/main"))
    recording = Recording()
    await append_and_order(local_log, "a", "b")
    emulator.faults.add(Fault(rpc="RunQuery", latency=timedelta(seconds=5)))

    async def handle_and_trim() -> None:
        await sent(emulator, "RunQuery", queries + 1)  # the other knows its cursor, and is about to read
        await local_log.handle_trimable_events("f", recording, until_idle=True)
        assert await local_log.trim(min_id_age=1, min_age=timedelta(0), respect_cursors=True) == 2
        await append_and_order(local_log, "c")

    queries = emulator.counts.rpcs["RunQuery"]
    following = theirs.handle_trimable_events("f", recording, until_idle=True)
    await while_advancing(clock, asyncio.gather(following, handle_and_trim()))
    assert recording.payloads == ["a", "b", "c"]


FAULTS = st.lists(
    st.builds(
        Fault,
        rpc=st.sampled_from(["*", "Commit", "RunQuery", "BatchGetDocuments", "BatchWrite", "Listen"]),
        error=st.sampled_from(["UNAVAILABLE", "DEADLINE_EXCEEDED", "ABORTED", "INTERNAL"]),
        when=st.sampled_from(["before", "after"]),
        times=st.integers(1, 3),
    ).filter(lambda fault: not (fault.when == "after" and fault.rpc == "Listen")),
    max_size=6,
)


@settings(max_examples=40, suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow])
@given(
    counts=st.lists(st.integers(1, 30), min_size=1, max_size=6),
    faults=FAULTS,
    batches=st.lists(st.integers(1, 20), min_size=2, max_size=3),
    crashes=st.lists(st.integers(1, 40), max_size=4),
    seed=st.integers(0, 2**16),
)
def test_all_followers_see_the_same_log_once_whatever_happens(
    counts: list[int], faults: list[Fault], batches: list[int], crashes: list[int], seed: int
) -> None:
    """Two orderers, followers of which two share a name, faults, and handlers that die."""

    async def scenario() -> None:
        emulator = Emulator(clock=clock, seed=seed)
        clients = [emulator.client() for _ in range(2)]
        logs = [EventLog(EventBox(client, clock=clock), client.document("logs/main")) for client in clients]
        total = sum(counts)
        tallies = {name: Tally(clients[0], name) for name in ("shared", "single")}
        orders: dict[str, list[str]] = {"shared": [], "single": []}
        crashing = list(crashes)

        async def follow(log: EventLog, name: str, batch: int) -> None:
            async def handler(transaction: Transaction, entry: LogEntry) -> None:
                await tallies[name](transaction, entry)
                transaction.on_commit(lambda: orders[name].append(entry.payload.decode()))
                if crashing and entry.id == crashing[-1]:
                    crashing.pop()
                    raise asyncio.CancelledError

            while True:
                try:
                    await log.handle_events(name, handler, batch=batch)
                except asyncio.CancelledError:
                    if stopping:
                        raise

        stopping: list[bool] = []
        running = [
            asyncio.create_task(logs[0].run_ordering(interval=timedelta(milliseconds=300))),
            asyncio.create_task(logs[1].run_ordering(interval=timedelta(milliseconds=500))),
            asyncio.create_task(follow(logs[0], "shared", batches[0])),
            asyncio.create_task(follow(logs[1], "shared", batches[1])),
            asyncio.create_task(follow(logs[1], "single", batches[-1])),
        ]
        try:
            for fault in faults:
                emulator.faults.add(fault)
            appended = 0
            for count in counts:
                await append(logs[appended % 2], *(str(n) for n in range(appended, appended + count)))
                appended += count
                await clock.sleep(timedelta(milliseconds=250))
            while [await logs[0].cursor(name) for name in tallies] != [total, total]:
                await clock.sleep(timedelta(seconds=1))
        finally:
            stopping.append(True)
            for task in running:
                task.cancel()
            results = await asyncio.gather(*running, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results), results
        emulator.faults.clear()
        entries = await read_all(logs[0])
        assert [entry.id for entry in entries] == list(range(total))
        assert sorted(payloads(entries), key=int) == [str(n) for n in range(total)]
        for tally in tallies.values():
            assert await tally.counts() == {f"e{n}": 1 for n in range(total)}
        for seen in orders.values():
            # a callback may be lost with an answer; what was told came in order
            assert [payload for payload in payloads(entries) if payload in set(seen)] == seen

    async def main() -> None:
        await while_advancing(clock, scenario())

    clock = ManualClock()
    asyncio.run(main())


async def test_a_lost_answer_is_no_licence_to_go_on_where_another_process_has_been_meanwhile(
    local_log: EventLog, local_client: AsyncClient, clock: ManualClock, emulator: Emulator
) -> None:
    await append_and_order(local_log, *"abcdef")
    tally = Tally(local_client)
    # what became of the commit, and where the cursor is now
    slow = Fault(
        rpc="BatchGetDocuments", path="**/eventbox_log_cursors/f", latency=timedelta(seconds=1), times=2
    )

    async def first(transaction: Transaction, entry: LogEntry) -> None:
        if entry.id == 0:
            emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when="after"))
            emulator.faults.add(slow)
            emulator.counts.reset()
        await tally(transaction, entry)

    one = asyncio.create_task(local_log.handle_events("f", first, until_idle=True))
    await while_advancing(clock, until(lambda: emulator.counts.rpcs["Commit"] == 2))  # and it is sent again
    await while_advancing(clock, until(lambda: emulator.counts.rpcs["BatchGetDocuments"] == 2))
    await local_log.handle_events("f", tally, until_idle=True, batch=3)
    await while_advancing(clock, one)
    assert await tally.counts() == {f"e{n}": 1 for n in range(6)}
    assert await local_log.cursor("f") == 6
