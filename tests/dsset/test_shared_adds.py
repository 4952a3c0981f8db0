"""Adds that share RPCs: each is as it would be alone."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from google.api_core.exceptions import PermissionDenied
from google.cloud.firestore import AsyncClient
from google.rpc.status_pb2 import Status
from grpc import StatusCode

from dsset import AddError, DSSet, Item
from dsset.protos import BatchWriteResponse
from dsset.shared_adds import SharedAdds
from dsset.wire import Wire
from emulator.firestore import Emulator, Fault
from eventbox.testing import ManualClock
from tests.advancing import sent, while_advancing
from tests.dsset.test_dsset import ids, pop


@pytest.fixture
def shared(local_client: AsyncClient, clock: ManualClock) -> SharedAdds:
    return SharedAdds(local_client, tombstones_delay=timedelta(hours=24), clock=clock, rng=Random(1))


def a_set(client: AsyncClient, clock: ManualClock, shared: SharedAdds, path: str = "queues/1") -> DSSet:
    return DSSet(client.document(path), clock=clock, shared_adds=shared)


async def test_adds_at_once_to_any_sets_share_a_few_rpcs(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    sets = [a_set(local_client, clock, shared, f"queues/{n}") for n in range(10)]
    emulator.counts.reset()
    results = await asyncio.gather(*(sets[n % 10].add([Item(str(n), b"x")]) for n in range(300)))
    assert results == [[True]] * 300
    assert emulator.counts.rpcs == {"BatchWrite": 2}  # the server works on one while the other is made
    assert emulator.counts.writes == 300
    assert [len((await one.list(99)).items) for one in sets] == [30] * 10


async def test_those_who_add_again_once_they_are_answered_go_together_again(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    async def adder(number: int) -> None:
        for turn in range(5):
            await a_set(local_client, clock, shared).add([Item(f"{number} {turn}", b"x")])

    emulator.counts.reset()
    await asyncio.gather(*map(adder, range(64)))
    assert emulator.counts.rpcs == {"BatchWrite": 5 * 2}


@pytest.mark.parametrize(("count", "rpcs"), [(500, 1), (501, 2)])
async def test_many_items_of_one_call_take_as_few_rpcs_as_they_do_alone(
    local_client: AsyncClient,
    emulator: Emulator,
    clock: ManualClock,
    shared: SharedAdds,
    count: int,
    rpcs: int,
) -> None:
    items = [Item(str(n), b"x") for n in range(count)]
    assert await a_set(local_client, clock, shared).add(items) == [True] * count
    assert emulator.counts.rpcs == {"BatchWrite": rpcs}


async def test_one_alone_is_sent_at_once(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    assert await a_set(local_client, clock, shared).add([Item("a", b"x")]) == [True]
    assert clock.monotonic() == 0
    assert emulator.counts.rpcs["BatchWrite"] == 1


async def test_what_comes_while_two_rounds_are_under_way_goes_together_after_one_of_them(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    emulator.faults.add(Fault(rpc="BatchWrite", latency=timedelta(seconds=1), times=2))
    tasks = [asyncio.create_task(one.add([Item("first", b"x")]))]
    await sent(emulator, "BatchWrite")
    tasks.append(asyncio.create_task(one.add([Item("second", b"x")])))
    await sent(emulator, "BatchWrite", 2)
    tasks += [asyncio.create_task(one.add([Item(str(n), b"x")])) for n in range(20)]
    assert await while_advancing(clock, asyncio.gather(*tasks)) == [[True]] * 22
    assert emulator.counts.rpcs["BatchWrite"] == 3


async def test_the_same_id_by_several_callers_is_new_to_one(
    local_client: AsyncClient, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    results = await asyncio.gather(*(one.add([Item("a", b"x"), Item(str(n), b"y")]) for n in range(50)))
    assert sorted(results) == [[False, True]] * 49 + [[True, True]]
    assert await ids(one) == {"a", *map(str, range(50))}


async def test_an_item_that_cannot_be_added_fails_nobody_elses(
    local_client: AsyncClient, clock: ManualClock, shared: SharedAdds
) -> None:
    good = a_set(local_client, clock, shared)
    bad = a_set(local_client, clock, shared, "queues/" + "x" * 1_400)
    too_long = DSSet(  # a name of more than 6 KiB
        local_client.document("/".join(["a" * 1_400, "b" * 1_400] * 3)), clock=clock, shared_adds=shared
    )
    results = await asyncio.gather(
        good.add([Item("a", b"1")]),
        too_long.add([Item("b", b"2")]),
        bad.add([Item("c", b"3")]),
        return_exceptions=True,
    )
    assert results[0] == results[2] == [True]
    assert isinstance(results[1], AddError)


async def test_an_error_of_the_rpc_is_told_to_each(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    emulator.faults.add(Fault(rpc="BatchWrite", error="PERMISSION_DENIED"))
    results = await asyncio.gather(*(one.add([Item(str(n), b"x")]) for n in range(3)), return_exceptions=True)
    for result in results:
        assert isinstance(result, AddError)
        assert isinstance(result.__cause__, PermissionDenied)
    assert await one.add([Item("0", b"x")]) == [True]


async def test_an_own_resend_is_no_duplicate_even_if_the_item_was_consumed_in_between(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", when="after"))
    adding = asyncio.gather(*(one.add([Item(str(n), b"x")]) for n in range(3)))
    await sent(emulator, "BatchWrite")
    await pop(one, local_client, "1")
    assert await while_advancing(clock, adding) == [[True]] * 3
    assert await ids(one) == {"0", "2"}


async def test_whoever_is_cancelled_before_the_round_takes_its_item_back_and_no_others(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    emulator.faults.add(Fault(rpc="BatchWrite", latency=timedelta(seconds=1), times=2))
    tasks = [asyncio.create_task(one.add([Item(name, b"x")])) for name in "a"]
    await sent(emulator, "BatchWrite")
    tasks.append(asyncio.create_task(one.add([Item("b", b"x")])))
    await sent(emulator, "BatchWrite", 2)
    given_up = asyncio.create_task(one.add([Item("c", b"x")]))
    tasks.append(asyncio.create_task(one.add([Item("d", b"x")])))
    await asyncio.sleep(0)
    given_up.cancel()
    assert await while_advancing(clock, asyncio.gather(*tasks)) == [[True]] * 3
    assert await ids(one) == {"a", "b", "d"}
    assert given_up.cancelled()


async def test_time_outs_are_each_callers_own(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", times=12))
    short = one.add([Item("a", b"x")], timeout=timedelta(seconds=1))
    results = await while_advancing(
        clock, asyncio.gather(short, one.add([Item("b", b"x")]), return_exceptions=True)
    )
    assert isinstance(results[0], AddError)
    assert results[1] == [True]


async def test_those_who_wait_behind_others_in_an_outage_wait_no_longer_than_their_time(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    outage = emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", times=None))
    timeout = timedelta(seconds=10)
    # so large that a round takes nine of them
    adding = [one.add([Item(f"{n}", bytes(900_000))], timeout=timeout) for n in range(30)]
    results = await while_advancing(clock, asyncio.gather(*adding, return_exceptions=True))
    assert all(isinstance(result, AddError) for result in results)
    assert clock.monotonic() <= timeout.total_seconds() + 1e-3
    outage.remove()
    assert await one.add([Item("x", b"x")]) == [True]


async def test_whoever_comes_behind_others_in_an_outage_waits_for_its_own_time(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", times=None))

    async def add(number: int, timeout_s: float) -> float:
        await clock.sleep(timedelta(seconds=number))
        began = clock.monotonic()
        with pytest.raises(AddError):
            await one.add([Item(str(number), b"x")], timeout=timedelta(seconds=timeout_s))
        return clock.monotonic() - began

    times = [60, 60, 5, 1, 60, 0.1, 60, 60, 1]
    took = await while_advancing(
        clock, asyncio.gather(*(add(number, timeout_s) for number, timeout_s in enumerate(times)))
    )
    assert all(one <= timeout_s * 1.1 for one, timeout_s in zip(took, times, strict=True)), took


async def test_nobody_waits_for_long_behind_rounds_that_hang(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    stuck = a_set(local_client, clock, shared, "queues/stuck")
    emulator.faults.add(
        Fault(rpc="BatchWrite", path="queues/stuck/dsset/*", latency=timedelta(seconds=15), times=2)
    )
    hanging = []
    for number in range(2):
        hanging.append(asyncio.create_task(stuck.add([Item(str(number), b"x")])))
        await sent(emulator, "BatchWrite", number + 1)
    added = await while_advancing(clock, a_set(local_client, clock, shared).add([Item("a", b"x")]))
    assert added == [True]
    assert clock.monotonic() == pytest.approx(1)
    assert await while_advancing(clock, asyncio.gather(*hanging)) == [[True]] * 2


async def test_time_outs_that_differ_little_go_together(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    timeouts = [timedelta(seconds=60, milliseconds=-n) for n in range(100)]
    emulator.counts.reset()
    await asyncio.gather(
        *(one.add([Item(str(n), b"x")], timeout=timeout) for n, timeout in enumerate(timeouts))
    )
    assert emulator.counts.rpcs == {"BatchWrite": 2}


@pytest.mark.parametrize("timeout", [timedelta(0), timedelta.max])
async def test_any_time_out_allows_for_one_try(
    local_client: AsyncClient, clock: ManualClock, shared: SharedAdds, timeout: timedelta
) -> None:
    one = a_set(local_client, clock, shared)
    results = await asyncio.gather(*(one.add([Item(str(n), b"x")], timeout=timeout) for n in range(40)))
    assert results == [[True]] * 40


async def test_the_items_of_one_call_have_the_same_time(
    local_client: AsyncClient, emulator: Emulator
) -> None:
    class Ticking(ManualClock):
        ticks = 0

        def monotonic(self) -> float:
            self.ticks += 1
            return self.ticks / 100_000

    clock = Ticking(datetime(2026, 1, 1, tzinfo=UTC))
    shared = SharedAdds(local_client, tombstones_delay=timedelta(hours=24), clock=clock, rng=Random(1))
    one = DSSet(local_client.document("queues/1"), clock=clock, shared_adds=shared)
    added = await one.add([Item(str(n), b"x") for n in range(500)], timeout=timedelta(milliseconds=1))
    assert added == [True] * 500
    assert emulator.counts.rpcs == {"BatchWrite": 1}


async def test_whoever_goes_in_any_way_before_the_round_takes_its_item_back(
    local_client: AsyncClient, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    waiting = one.add([Item("closed", b"x")])
    waiting.send(None)
    waiting.close()
    assert await one.add([Item("a", b"x")]) == [True]
    assert await ids(one) == {"a"}


async def test_a_duplicate_is_told_before_others_of_its_rpc_are_tried_again(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    class Contended(Wire):
        """A wire at whose end one item's writes are aborted, as where its document is locked."""

        async def batch_write(self, writes: Iterable[Any], *, timeout: float = 0) -> Any:
            aborted = [b"contended" in write.SerializeToString() for write in writes]
            others = [write for write, is_aborted in zip(writes, aborted, strict=True) if not is_aborted]
            answered = iter((await super().batch_write(others, timeout=timeout)).status)
            abort = Status(code=StatusCode.ABORTED.value[0])
            return BatchWriteResponse(status=[abort if one else next(answered) for one in aborted])

    one = a_set(local_client, clock, shared)
    await one.add([Item("duplicate", b"x")])
    local_client._dsset_wire = Contended(local_client)
    contended = asyncio.create_task(one.add([Item("contended", b"x")], timeout=timedelta(seconds=5)))
    assert await one.add([Item("duplicate", b"y")], timeout=timedelta(seconds=5)) == [False]
    assert clock.monotonic() == 0
    with pytest.raises(AddError):
        await while_advancing(clock, contended)
    assert clock.monotonic() > 0


def test_an_event_loop_that_ended_in_the_middle_leaves_nothing_stuck(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    async def abandon() -> None:
        one = a_set(local_client, clock, shared)
        emulator.faults.add(Fault(rpc="BatchWrite", latency=timedelta(seconds=1), times=2))
        for name in "ab":
            asyncio.get_running_loop().create_task(one.add([Item(name, b"x")]))
            await sent(emulator, "BatchWrite")

    async def add() -> list[bool]:
        return await a_set(local_client, clock, shared).add([Item("c", b"x")])

    asyncio.run(abandon())
    emulator.faults.clear()
    assert asyncio.run(add()) == [True]


def test_an_event_loop_that_stands_still_holds_up_no_other(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    async def add(name: str) -> list[bool]:
        return await a_set(local_client, clock, shared).add([Item(name, b"x")])

    async def under_way(name: str) -> asyncio.Task[list[bool]]:
        task = asyncio.get_running_loop().create_task(add(name))
        await sent(emulator, "BatchWrite")
        return task

    emulator.faults.add(Fault(rpc="BatchWrite", latency=timedelta(seconds=1), times=2))
    still = asyncio.new_event_loop()
    kept = [still.run_until_complete(under_way(name)) for name in "ab"]
    emulator.faults.clear()
    try:
        assert asyncio.run(asyncio.wait_for(add("c"), timeout=9)) == [True]
        assert not any(task.done() for task in kept)
    finally:
        left = asyncio.all_tasks(still)
        for task in left:
            task.cancel()
        still.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        still.close()


async def test_more_than_an_rpc_takes_goes_in_several(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    large = [one.add([Item(f"large {n}", bytes(900_000))]) for n in range(20)]
    small = [one.add([Item(f"small {n}", b"x")]) for n in range(600)]
    assert await asyncio.gather(*large, *small) == [[True]] * 620
    assert emulator.counts.rpcs["BatchWrite"] == 4


async def test_nobody_waits_for_anothers_duplicate_to_be_looked_at(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    one = a_set(local_client, clock, shared)
    await one.add([Item("a", b"x"), Item("b", b"x")])
    emulator.faults.add(Fault(rpc="BatchGetDocuments", latency=timedelta(seconds=1), times=2))
    duplicates = []
    for number, name in enumerate("ab"):  # as many as there are rounds under way at a time
        duplicates.append(asyncio.create_task(one.add([Item(name, b"y")])))
        assert await one.add([Item(f"in the round of {name}", b"x")]) == [True]
        await sent(emulator, "BatchGetDocuments", number + 1)
    assert await one.add([Item("c", b"x")]) == [True]
    assert clock.monotonic() == 0
    assert await while_advancing(clock, asyncio.gather(*duplicates)) == [[False]] * 2


async def test_an_item_for_which_the_whole_request_is_refused_fails_nobody_elses(
    local_client: AsyncClient, emulator: Emulator, clock: ManualClock, shared: SharedAdds
) -> None:
    sets = [a_set(local_client, clock, shared, f"queues/{n}") for n in range(16)]
    emulator.faults.add(
        Fault(rpc="BatchWrite", error="INVALID_ARGUMENT", path="queues/11/dsset/*", times=None)
    )
    results = await asyncio.gather(*(one.add([Item("a", b"x")]) for one in sets), return_exceptions=True)
    assert isinstance(results.pop(11), AddError)
    assert results == [[True]] * 15
    assert emulator.counts.rpcs["BatchWrite"] == 1 + 2 * 4  # in halves
