"""Reading by position: bounded documents, random access, and what is said of positions that have no entry."""

from __future__ import annotations

import pytest

from emulator.firestore import Emulator, Fault
from eventbox.log import EventLog
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.log.support import append, append_and_order, order_all, payloads, read_all


async def test_a_part_can_be_read_from_any_position(log: EventLog) -> None:
    for begin in range(0, 60, 20):
        await append_and_order(log, *map(str, range(begin, begin + 20)))
    for position, limit in [(0, 1), (0, 60), (0, 1_000), (19, 2), (20, 20), (59, 5), (37, 3)]:
        entries = await log.read(position, limit)
        assert [entry.id for entry in entries] == list(range(position, min(60, position + limit)))
        assert payloads(entries) == [str(n) for n in range(position, min(60, position + limit))]


async def test_beyond_the_end_there_is_nothing(log: EventLog) -> None:
    assert await log.read() == []
    assert await log.read(5) == []
    await append_and_order(log, "a")
    assert await log.read(1) == []
    assert await log.read(2**62) == []
    assert await log.read_trimable(1) == []


async def test_a_thousand_entries_of_two_hundred_bytes_are_ten_reads_at_most(
    local_log: EventLog, emulator: Emulator
) -> None:
    for _ in range(100):  # in the small steps of a log that is followed live
        await append_and_order(local_log, *(["x" * 200] * 10))
    emulator.counts.reset()
    assert len(await local_log.read(0, 1_000)) == 1_000
    assert emulator.counts.reads <= 10
    assert emulator.counts.rpcs["RunQuery"] <= 3


async def test_any_position_is_found_by_one_read(local_log: EventLog, emulator: Emulator) -> None:
    for n in range(40):
        await append_and_order(local_log, f"{n:02}" + "x" * 10_000)
    for position in range(40):
        emulator.counts.reset()
        entries = await local_log.read(position, 1)
        assert payloads(entries)[0][:2] == f"{position:02}"
        assert (emulator.counts.reads, emulator.counts.rpcs["RunQuery"]) == (1, 1)


async def test_what_is_read_is_bounded_in_bytes_but_one_entry_always_comes(local_log: EventLog) -> None:
    await append_and_order(local_log, *(["x" * 1_000] * 10))
    assert len(await local_log.read(max_bytes=5_500)) == 5
    assert len(await local_log.read(max_bytes=1)) == 1
    assert len(await local_log.read(max_bytes=20_000)) == 10


async def test_the_persistent_log_and_the_trimable_one_are_read_side_by_side(log: EventLog) -> None:
    for n in range(30):
        await append(log, str(n), trimable=n % 3 > 0)
    await order_all(log)
    assert payloads(await read_all(log)) == [str(n) for n in range(0, 30, 3)]
    assert payloads(await read_all(log, trimable=True)) == [str(n) for n in range(30)]


@pytest.mark.parametrize("rpc", ["RunQuery", "BatchGetDocuments"])
async def test_reading_survives_errors_that_pass(
    local_log: EventLog, emulator: Emulator, clock: ManualClock, rpc: str
) -> None:
    await append_and_order(local_log, "a")
    emulator.faults.add(Fault(rpc=rpc, error="UNAVAILABLE", times=3))
    assert await while_advancing(clock, local_log.next_id()) == 1
    assert payloads(await while_advancing(clock, local_log.read())) == ["a"]


async def test_a_stream_that_breaks_in_the_middle_is_read_again(
    local_log: EventLog, emulator: Emulator, clock: ManualClock
) -> None:
    for n in range(20):
        await append_and_order(local_log, f"{n:02}" + "x" * 30_000)
    emulator.faults.add(Fault(rpc="RunQuery", error="UNAVAILABLE", when="cut", after_messages=1, times=2))
    entries = await while_advancing(clock, local_log.read())
    assert [entry.id for entry in entries] == list(range(20))


async def test_the_cost_does_not_grow_with_the_log(local_log: EventLog, emulator: Emulator) -> None:
    costs = []
    for _ in range(10):
        emulator.counts.reset()
        await append_and_order(local_log, *(["x" * 500] * 100))
        await local_log.read(await local_log.next_id() - 100, 100)
        costs.append((emulator.counts.reads, emulator.counts.writes))
    assert max(reads for reads, _ in costs) <= costs[0][0] + 1
    assert max(writes for _, writes in costs) <= costs[0][1] + 2
