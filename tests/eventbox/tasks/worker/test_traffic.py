"""Many wake-ups at once, and wake-ups that come twice, late, early, or in no order."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings, strategies as st

from emulator.tasks import Fault
from eventbox import Event, Mutation
from eventbox.tasks import Task, TaskRequest
from tests.eventbox.support import Recording, Waiting, emit, outstanding
from tests.eventbox.tasks.worker.house import WAKE, House
from tests.eventbox.tasks.worker.requesting import call

RECIPIENTS = 10_000
SLOWING = (429, 503)


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_ten_thousand_recipients_woken_at_once_finish_in_the_order_of_their_wake_ups() -> None:
    house = House(concurrency=50)
    allow(house, timedelta(hours=1))  # the last one waits for all the others
    at_once = most = 0

    class Busy(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
            nonlocal at_once, most
            at_once += 1
            most = max(most, at_once)
            await asyncio.sleep(0)
            at_once -= 1
            return await super().prepare_mutation(events, state)

    house.processor = Busy
    orders = [house.order(str(number)) for number in range(RECIPIENTS)]
    await asyncio.gather(*(house.box.emit(b"", order, id="x") for order in orders))
    bodies = [house.wake_up(order) for order in orders]

    answers = await asyncio.gather(*(call(house.worker.app, WAKE, body) for body in bodies))

    assert {answer.outcome for answer in answers} == {"done"}
    assert most == 50
    begun = [int(run) for run in house.runs]
    assert sorted(begun) == list(range(RECIPIENTS)), "one run each"
    assert max(abs(place - number) for place, number in enumerate(begun)) < 50, "first come, first served"


async def test_a_thousand_wake_ups_in_a_second_for_one_recipient_are_one_run(house: House) -> None:
    order = house.order()

    await asyncio.gather(*(house.worker.send(b"", order, id=str(number)) for number in range(1_000)))
    await house.let(3)

    assert len(await house.applied(order)) == 1_000
    assert house.runs == ["1"]
    assert house.cloud_tasks.counts.dispatches == 1


async def test_wake_ups_that_come_during_a_run_are_one_further_run(house: House) -> None:
    order, gate = house.order(), Waiting()

    class Held(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
            await gate.wait()
            return await super().prepare_mutation(events, state)

    house.processor = Held
    await emit(house.box, order, "first")
    running = asyncio.ensure_future(house.wake(order))
    await gate.reached()
    await emit(house.box, order, "second")  # too late for the run's listing
    others = [asyncio.ensure_future(house.wake(order)) for _ in range(20)]
    for _ in range(20):
        await asyncio.sleep(0)
    gate.open()

    answers = await asyncio.gather(running, *others)

    assert {answer.outcome for answer in answers} == {"done"}
    assert await house.applied(order) == ["first", "second"]
    assert len(house.runs) == 2


async def test_a_run_that_fails_leaves_the_work_of_the_others_to_them(house: House) -> None:
    order, gate, failures = house.order(), Waiting(), [KeyError("once")]

    class Failing(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
            await gate.wait()
            if len(house.runs) == 2 and failures:
                raise failures.pop()
            return await super().prepare_mutation(events, state)

    house.processor = Failing
    await emit(house.box, order, "first")
    running = [asyncio.ensure_future(house.wake(order))]
    await gate.reached()
    await emit(house.box, order, "second")
    running += [asyncio.ensure_future(house.wake(order)) for _ in range(3)]
    for _ in range(20):
        await asyncio.sleep(0)
    gate.open()

    assert [(await one).outcome for one in running] == ["done", "failed", "done", "done"]
    assert await house.applied(order) == ["first", "second"]
    assert len(house.runs) == 3


async def test_what_a_run_wakes_is_never_the_task_that_it_runs_in(house: House) -> None:
    # Cloud Tasks' clock is ahead of Firestore's by 30 s
    order, others = house.order(), house.order("other")

    class Waking(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
            await house.worker.notify(order)
            await house.worker.notify(others)
            return Mutation()

    house.processor = Waking
    await emit(house.box, order, "a")
    second = int(house.clock.now().timestamp()) + 30

    answered = await house.wake(order, ago=-30)

    assert answered.outcome == "stuck"
    assert [wake_up.second > second for wake_up in await house.wake_ups()] == [True, True]


async def test_a_flood_of_contention_never_slows_the_queue_down() -> None:
    # other processes at the same recipients, all the time
    house = House()
    orders = [house.order(str(number)) for number in range(5)]
    statuses: list[int] = []

    class Yielding(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
            await asyncio.sleep(0)  # for the others to be at it too
            return await super().prepare_mutation(events, state)

    house.processor = Yielding
    for _ in range(10):
        for order in orders:
            await emit(house.box, order, *(f"{random.Random(1).random()}-{n}" for n in range(3)))
        racing = [house.new_box().process_batch(order, Yielding(order)) for order in orders for _ in range(5)]
        waking = [house.wake(order) for order in orders for _ in range(5)]
        results = await asyncio.gather(*racing, *waking, return_exceptions=True)
        statuses += [answer.status for answer in results[len(racing) :]]  # type: ignore[union-attr]
        await house.let(1)
    await house.let(5)

    assert not set(statuses) & set(SLOWING)
    assert set(statuses) == {200}
    for order in orders:
        assert not await outstanding(house.box, order)


async def test_contention_in_a_run_leads_to_another_run_until_all_is_done(house: House) -> None:
    order = house.order()
    losses = 5

    class Losing(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
            nonlocal losses
            mutation = await super().prepare_mutation(events, state)
            if losses:
                losses -= 1
                await house.new_box().process_batch(order, OneByOne(order))
            return mutation

    house.processor = Losing
    await emit(house.box, order, *"abcdefgh")
    await house.worker.notify(order)
    await house.let(60)

    assert sorted(await house.applied(order)) == list("abcdefgh")
    counted = house.counted()
    assert counted["wake", "contended", "order"] == 5
    assert counted["wake", "done", "order"] == 1
    assert not await house.tasks()


class OneByOne(Recording):
    async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
        return await super().prepare_mutation(events[:1], state)


async def test_who_waits_too_long_for_its_turn_comes_again(house: House) -> None:
    house = House(concurrency=1)
    order, gate = house.order(), Waiting()
    allow(house, timedelta(milliseconds=40))

    async def handler(task: TaskRequest) -> None:
        await gate.wait()

    house.worker.task("/slow", handler)
    slow = asyncio.ensure_future(call(house.worker.app, "/slow"))
    await gate.reached()
    answered = await house.wake(order)
    gate.open()

    assert (answered.status, answered.outcome) == (200, "contended")
    assert (await slow).outcome == "done"
    assert len(await house.wake_ups()) == 1


async def test_a_run_beyond_its_time_is_let_go_of_and_tried_again(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    allow(house, timedelta(milliseconds=400))
    order = house.order()

    class Hanging(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
            await asyncio.Event().wait()

    house.processor = Hanging
    await emit(house.box, order, "a")

    answered = await house.wake(order)

    assert (answered.status, answered.outcome) == (500, "unavailable")
    assert "took too long" in caplog.text
    allow(house, timedelta(minutes=5))  # to what it is by default
    house.processor = Recording
    assert (await house.wake(order)).outcome == "done", "the recipient is free again"


def allow(house: House, request: timedelta) -> None:
    """Let requests have less time than a worker can be given, or more: it is real time."""
    waking = house.worker._serving._waking
    waking._limits = replace(waking._limits, request=request)


# Deliveries that are not as one would have them ------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [
        Fault(rpc="Dispatch", when="twice", times=None),
        Fault(rpc="Dispatch", when="twice", times=None, latency=timedelta(seconds=3)),
        Fault(rpc="Dispatch", when="reordered", times=None, probability=0.5),
        Fault(rpc="Dispatch", error="UNAVAILABLE", when="after", times=20),
        Fault(rpc="Dispatch", error="UNAVAILABLE", when="before", times=20),
        Fault(rpc="Dispatch", when="late", times=10, latency=timedelta(minutes=3)),
        Fault(rpc="Dispatch", when="late", times=None, probability=0.3, latency=timedelta(seconds=70)),
    ],
    ids=lambda fault: f"{fault.when}-{fault.error}-{fault.latency}",
)
async def test_every_event_takes_effect_once_however_wake_ups_are_delivered(fault: Fault) -> None:
    house = House()
    house.cloud_tasks.faults.add(fault)
    orders = [house.order(str(number)) for number in range(5)]
    for second in range(5):
        for order in orders:
            await house.worker.send(b"", order, id=f"{second}a")
            await house.worker.send(b"", order, id=f"{second}b")
        await house.let(1)
    await house.let(800)

    expected = sorted(f"{second}{letter}" for second in range(5) for letter in "ab")
    for order in orders:
        assert sorted(await house.applied(order)) == expected
    assert not await house.tasks()


async def test_events_that_fall_due_later_are_done_then_and_not_before(house: House) -> None:
    order = house.order()
    due = house.clock.now() + timedelta(hours=1)
    await house.worker.send(b"", order, id="later", process_after=due)
    await house.worker.send(b"", order, id="now")
    await house.let(5)
    assert await house.applied(order) == ["now"]

    house.clock.advance(due - house.clock.now())
    await house.cloud_tasks.drain()
    assert await house.applied(order) == ["now"]
    await house.let(2)

    assert await house.applied(order) == ["now", "later"]


async def test_a_worker_whose_clock_lags_does_not_use_up_a_wake_up_in_vain(house: House) -> None:
    order = house.order()
    due = house.clock.now() + timedelta(minutes=10)
    await house.worker.send(b"", order, id="x", process_after=due)
    house.clock.advance(timedelta(minutes=10, seconds=1))
    house.box._clock = _Lagging(house.clock, timedelta(seconds=20))  # type: ignore[assignment]

    await house.cloud_tasks.drain()

    assert await house.applied(order) == ["x"]


class _Lagging:
    """A clock that is behind another one."""

    def __init__(self, clock: Any, by: timedelta) -> None:
        self._clock = clock
        self._by = by

    def now(self) -> Any:
        return self._clock.now() - self._by

    def __getattr__(self, name: str) -> Any:
        return getattr(self._clock, name)


async def test_what_a_run_sends_to_its_own_recipient_is_done_too(house: House) -> None:
    order = house.order()

    class Chain(Recording):
        async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
            for event in events:
                if int(event.id) < 3:
                    await house.worker.send(b"", order, id=str(int(event.id) + 1))
            return await super().prepare_mutation(events, state)

    house.processor = Chain
    await house.worker.send(b"", order, id="0")
    await house.let(10)

    assert await house.applied(order) == ["0", "1", "2", "3"]


async def test_a_task_that_is_delivered_twice_says_so_by_its_name(house: House) -> None:
    names = []

    async def handler(task: TaskRequest) -> None:
        names.append(task.name)

    house.worker.task("/emails", handler)
    house.cloud_tasks.faults.add(Fault(rpc="Dispatch", when="twice"))
    await house.queue.enqueue(Task("/emails"))
    await house.let(1)

    assert len(names) == 2
    assert names[0] == names[1] != ""


# Anything at all -------------------------------------------------------------------------------------------------


_NAMES = st.one_of(
    st.just("projects/p/databases/(default)/documents/orders/1"),
    st.text(max_size=200),
    st.lists(st.text(max_size=8), max_size=6).map("/".join),
)
_JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.integers() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=10), inner, max_size=3),
    max_leaves=10,
)


@given(
    body=st.one_of(
        st.binary(max_size=300),
        st.builds(
            lambda **given: json.dumps(given).encode(),
            recipient=_NAMES | _JSON,
            second=st.integers(-(2**70), 2**70) | _JSON,
            fresh=st.booleans() | _JSON,
            idle=st.integers(-(2**70), 2**70) | _JSON,
        ),
    ),
    headers=st.dictionaries(
        st.sampled_from(
            ["x-cloudtasks-taskretrycount", "x-cloudtasks-tasketa", "traceparent", "x-cloud-trace-context"]
        ),
        st.text(st.characters(max_codepoint=255), max_size=80),
    ),
)
@settings(max_examples=100)
def test_no_request_makes_it_stumble(body: bytes, headers: dict[str, str]) -> None:
    async def check() -> None:
        house = House()
        answered = await call(house.worker.app, WAKE, body, headers=headers)
        assert answered.status == 200
        assert answered.outcome in {"dropped", "done", "late"}

    asyncio.run(check())
