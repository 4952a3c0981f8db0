"""Metrics and spans of tasks, as an application's SDK gets them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from emulator.tasks import Fault
from eventbox import EventBox, Transaction
from eventbox.tasks import EnqueueError, Sweeper, Task, TaskQueue
from tests.eventbox.tasks.world import QUEUE, TARGET, Process, World
from tests.eventbox.test_telemetry import Recorder


@pytest.fixture
def recorder() -> Recorder:
    return Recorder()


@pytest.fixture
def process(world: World, recorder: Recorder) -> Process:
    """A process whose box has an SDK; its queue takes it over."""
    client = world.firestore.client()
    box = EventBox(
        client,
        clock=world.clock,
        meter_provider=recorder.meter_provider,
        tracer_provider=recorder.tracer_provider,
    )
    queue = TaskQueue(world.tasks.client(), QUEUE, target=TARGET, service_account=None, box=box)
    return Process(client, box, queue, Sweeper(queue))


def counted(recorder: Recorder, name: str) -> dict[tuple[Any, ...], int]:
    """A counter's values by its attributes but for the queue, which is always the same."""
    values = {}
    for point in recorder.metric(name):
        attributes = dict(point.attributes)
        assert attributes.pop("eventbox.queue") == "work"
        values[tuple(attributes[key] for key in sorted(attributes))] = point.value
    return values


async def test_tasks_are_counted_by_kind_and_result(process: Process, recorder: Recorder) -> None:
    await process.queue.enqueue(Task("/x", name="n"))
    await process.queue.enqueue(Task("/x", name="n"))
    await process.queue.send(b"", process.order())
    assert counted(recorder, "eventbox.tasks.created") == {
        ("task", "created"): 1,
        ("task", "existed"): 1,
        ("wake_up", "created"): 1,
    }
    assert [one.value for one in recorder.metric("eventbox.sent")] == [1]


@pytest.mark.parametrize(("error", "transient"), [("PERMISSION_DENIED", False), ("UNAVAILABLE", True)])
async def test_failures_are_counted(
    world: World, process: Process, recorder: Recorder, error: str, transient: bool
) -> None:
    world.tasks.faults.add(Fault(rpc="CreateTask", error=error))
    with pytest.raises(EnqueueError):
        await process.queue.enqueue(Task("/x"), timeout=timedelta(0))
    assert counted(recorder, "eventbox.tasks.failures") == {("task", transient): 1}


async def test_a_sweep_tells_what_it_found_and_how_stale_it_was(
    world: World, process: Process, recorder: Recorder
) -> None:
    async def body(transaction: Transaction) -> None:
        for _ in range(3):
            await process.queue.enqueue(Task("/x"), transaction=transaction)

    assert not await world.run_until_death(process.box.run_in_transaction(body), "tasks", 0, "before")
    await world.pass_time(timedelta(minutes=3))
    world.tasks.faults.add(Fault(rpc="CreateTask", error="PERMISSION_DENIED"))
    await process.sweeper.sweep()
    assert counted(recorder, "eventbox.tasks.reminders.swept") == {("created",): 2, ("failed",): 1}
    (age,) = recorder.metric("eventbox.tasks.reminders.age")
    assert (age.count, round(age.min), round(age.max)) == (3, 120, 120)
    (duration,) = recorder.metric("eventbox.tasks.sweep.duration")
    assert duration.count == 1


async def test_the_spans_of_a_send_are_those_of_an_emit_and_a_creation(
    process: Process, recorder: Recorder
) -> None:
    await process.queue.send(b"", process.order())
    assert [span.name for span in recorder.spans] == ["eventbox.emit", "eventbox.tasks.create"]
    assert recorder.spans[1].attributes == {"eventbox.queue": "work", "eventbox.kind": "wake_up"}
    (event,) = await process.box.list_events(process.order())
    assert event.traceparent is not None
    await process.sweeper.sweep()
    assert recorder.spans[-1].name == "eventbox.tasks.sweep"


async def test_a_queue_may_have_an_sdk_of_its_own(world: World, process: Process, recorder: Recorder) -> None:
    own = Recorder()
    queue = TaskQueue(
        world.tasks.client(),
        QUEUE,
        target=TARGET,
        service_account=None,
        box=process.box,
        meter_provider=own.meter_provider,
        tracer_provider=own.tracer_provider,
    )
    await process.queue.enqueue(Task("/x"))
    await queue.enqueue(Task("/x"))
    for one in (own, recorder):
        assert counted(one, "eventbox.tasks.created") == {("task", "created"): 1}
        assert [span.name for span in one.spans] == ["eventbox.tasks.create"]
