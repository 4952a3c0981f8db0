"""Trimming: exactly what is both old and far behind, in bounded steps, whatever happens meanwhile."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient
from hypothesis import HealthCheck, given, settings, strategies as st

from emulator.firestore import Emulator, Fault
from eventbox import EventBox
from eventbox.log import EventLog, TrimmedError
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.log.support import (
    Recording,
    append,
    append_and_order,
    order_all,
    payloads,
    read_all,
    until,
)

AT_ONCE = timedelta(0)


async def test_an_entry_goes_only_if_it_is_both_far_behind_and_old(
    local_log: EventLog, clock: ManualClock
) -> None:
    await append_and_order(local_log, *map(str, range(10)))
    clock.advance(timedelta(days=10))
    await append_and_order(local_log, *map(str, range(10, 20)))
    clock.advance(timedelta(days=5))
    assert await local_log.trim(min_id_age=5, min_age=timedelta(days=15, seconds=1)) == 0
    assert await local_log.trim(min_id_age=21, min_age=AT_ONCE) == 0
    assert await local_log.trim(min_id_age=16, min_age=timedelta(days=15)) == 5  # 20 - 4 = 16
    assert [entry.id for entry in await local_log.read_trimable(5)] == list(range(5, 20))
    assert await local_log.trim(min_id_age=1, min_age=timedelta(days=15)) == 5
    assert [entry.id for entry in await local_log.read_trimable(10)] == list(range(10, 20))
    assert await local_log.trim() == 0


async def test_a_clock_that_is_ahead_makes_no_entry_old(
    emulator: Emulator, local_log: EventLog, clock: ManualClock
) -> None:
    await append_and_order(local_log, "a")
    client = emulator.client()
    ahead = EventBox(client, clock=ManualClock(clock.now() + timedelta(days=30)))
    theirs = EventLog(ahead, client.document("logs/main"))
    assert await theirs.trim(min_id_age=0, min_age=timedelta(days=14)) == 0
    clock.advance(timedelta(days=14))
    assert await theirs.trim(min_id_age=0, min_age=timedelta(days=14)) == 1


async def test_the_persistent_log_is_never_trimmed(log: EventLog) -> None:
    await append_and_order(log, *map(str, range(10)))
    assert await log.trim(min_id_age=0, min_age=AT_ONCE) == 10
    assert len(await log.read()) == 10


async def test_reading_from_a_trimmed_position_tells_the_first_that_is_there(log: EventLog) -> None:
    await append_and_order(log, *map(str, range(10)))
    await log.trim(min_id_age=4, min_age=AT_ONCE)
    for position in range(7):
        with pytest.raises(TrimmedError) as caught:
            await log.read_trimable(position)
        assert caught.value.first == 7
        assert caught.value.position == position
    assert payloads(await log.read_trimable(7)) == ["7", "8", "9"]


async def test_a_log_that_was_trimmed_to_the_end_tells_the_position_of_the_entry_to_come(
    log: EventLog,
) -> None:
    await append_and_order(log, *map(str, range(5)))
    assert await log.trim(min_id_age=1, min_age=AT_ONCE) == 5
    with pytest.raises(TrimmedError) as caught:
        await log.read_trimable(2)
    assert caught.value.first == 5
    assert await log.read_trimable(5) == []
    # the last segment has gone, and is filled further all the same
    await append_and_order(log, "5", "6")
    assert [(entry.id, entry.payload) for entry in await log.read_trimable(5)] == [(5, b"5"), (6, b"6")]
    with pytest.raises(TrimmedError) as caught:
        await log.read_trimable(0)
    assert caught.value.first == 5
    assert await log.trim(min_id_age=1, min_age=AT_ONCE) == 2


async def test_following_from_a_trimmed_position_tells_so_and_can_go_on_from_the_first(log: EventLog) -> None:
    await append_and_order(log, *map(str, range(6)))
    recording = Recording()
    await log.trim(min_id_age=3, min_age=AT_ONCE)
    with pytest.raises(TrimmedError) as caught:
        await log.handle_trimable_events("f", recording)
    assert caught.value.first == 4
    await log.move_cursor("f", caught.value.first, trimable=True)
    await log.handle_trimable_events("f", recording, until_idle=True)
    assert recording.payloads == ["4", "5"]
    await append_and_order(log, "6")
    await log.trim(min_id_age=1, min_age=AT_ONCE)
    await log.handle_trimable_events("new", recording, until_idle=True, start=7)


async def test_one_call_removes_as_many_as_it_is_told_at_most(log: EventLog) -> None:
    for begin in range(0, 100, 10):
        await append_and_order(log, *(f"{n}" + "x" * 20_000 for n in range(begin, begin + 10)))
    removed = []
    while count := await log.trim(min_id_age=1, min_age=AT_ONCE, max_entries=33):
        removed.append(count)
        if sum(removed) < 100:
            assert (await log.read_trimable(sum(removed), 1))[0].id == sum(removed)
    assert removed == [33, 33, 33, 1]


async def test_a_bound_that_takes_several_commits_is_kept_to_the_entry(
    local_log: EventLog, emulator: Emulator
) -> None:
    for _ in range(12):
        await append_and_order(local_log, *(["x" * 30_000] * 3))
    emulator.counts.reset()
    assert await local_log.trim(min_id_age=1, min_age=AT_ONCE, max_entries=32) == 32
    assert emulator.counts.rpcs["Commit"] == 2
    assert (await local_log.read_trimable(32))[0].id == 32


async def test_cursors_are_respected_when_asked_for(log: EventLog) -> None:
    await append_and_order(log, *map(str, range(10)))
    await log.move_cursor("slow", 3, trimable=True)
    await log.move_cursor("quick", 8, trimable=True)
    await log.move_cursor("other log", 1)
    await log.move_cursor("ahead", 12, trimable=True)
    assert await log.trim(min_id_age=0, min_age=AT_ONCE, respect_cursors=True) == 3
    assert payloads(await log.read_trimable(3)) == [str(n) for n in range(3, 10)]
    behind = {one.follower: one.behind for one in (await log.overview()).followers}
    assert behind == {"ahead": 0, "other log": 9, "quick": 2, "slow": 7}
    assert await log.trim(min_id_age=0, min_age=AT_ONCE) == 7


@pytest.mark.parametrize("when", ["before", "after", "late", "twice"])
async def test_a_lost_answer_neither_removes_too_much_nor_counts_wrongly(
    local_log: EventLog, emulator: Emulator, clock: ManualClock, when: Any
) -> None:
    await append_and_order(local_log, *(["x" * 9_000] * 50))
    error = None if when == "twice" else "UNAVAILABLE"
    latency = timedelta(seconds=1) if when in ("late", "twice") else timedelta(0)
    emulator.faults.add(Fault(rpc="Commit", error=error, when=when, latency=latency, times=2))
    trimming = local_log.trim(min_id_age=11, min_age=AT_ONCE)
    assert await while_advancing(clock, trimming) == 40
    clock.advance(timedelta(seconds=2))
    assert [entry.id for entry in await local_log.read_trimable(40)] == list(range(40, 50))


async def test_the_head_is_not_written(log: EventLog, client: AsyncClient) -> None:
    await append_and_order(log, "a", "b")
    before = await client.document("logs/main").get()
    await log.trim(min_id_age=0, min_age=AT_ONCE)
    assert (await client.document("logs/main").get()).update_time == before.update_time


@pytest.mark.parametrize(("min_id_age", "gone"), [(2, 1), (1, 2)])  # a part of the segment, and all of it
async def test_a_segment_that_is_filled_while_it_is_trimmed_loses_nothing(
    local_log: EventLog, emulator: Emulator, clock: ManualClock, min_id_age: int, gone: int
) -> None:
    await append_and_order(local_log, "a", "b")
    await append(local_log, "c")
    # the trimming has read the segment, and its commit is slow
    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(seconds=1)))

    queries = emulator.counts.rpcs["RunQuery"]

    async def order_meanwhile() -> None:
        await until(lambda: emulator.counts.rpcs["RunQuery"] > queries)
        await local_log.order()

    trimming = local_log.trim(min_id_age=min_id_age, min_age=AT_ONCE)
    removed, _ = await while_advancing(clock, asyncio.gather(trimming, order_meanwhile()))
    assert removed == gone
    assert payloads(await local_log.read_trimable(gone)) == ["a", "b", "c"][gone:]


@settings(max_examples=40, suppress_health_check=[HealthCheck.too_slow])
@given(
    steps=st.lists(
        st.one_of(
            st.tuples(st.just("append"), st.integers(1, 12), st.sampled_from([10, 3_000, 40_000])),
            st.tuples(st.just("wait"), st.integers(1, 10), st.just(0)),
            st.tuples(st.just("trim"), st.integers(0, 30), st.integers(0, 10)),
        ),
        max_size=25,
    )
)
def test_trimming_removes_what_a_list_would_lose(steps: list[tuple[str, int, int]]) -> None:
    async def scenario() -> None:
        clock = ManualClock()
        client = Emulator(clock=clock).client()
        log = EventLog(EventBox(client, clock=clock), client.document("logs/main"))
        times: list[Any] = []
        first = 0
        for what, number, other in steps:
            if what == "append":
                await append(log, *(["x" * other] * number), trimable=number % 2 == 0)
                times += [clock.now()] * number
                await order_all(log)
            elif what == "wait":
                clock.advance(timedelta(days=number))
            else:
                before = first
                while (
                    first < len(times)
                    and len(times) - first >= number
                    and clock.now() - times[first] >= timedelta(days=other)
                ):
                    first += 1
                removed = await log.trim(min_id_age=number, min_age=timedelta(days=other))
                assert removed == first - before
            entries = await read_all(log, trimable=True, first=first)
            assert [entry.id for entry in entries] == list(range(first, len(times)))
            if first:
                with pytest.raises(TrimmedError) as caught:
                    await log.read_trimable(first - 1)
                assert caught.value.first == first

    asyncio.run(scenario())
