"""Tasks put on a queue, plainly and in transactions."""

from __future__ import annotations

import logging
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.tasks_v2 import GetTaskRequest, ListTasksRequest, Task as TaskProto

from emulator.firestore import Fault as FirestoreFault
from emulator.tasks import Fault
from eventbox import EventBox, Mutation, SkipTransition, Transaction, Transition
from eventbox.tasks import EnqueueError, Task, TaskQueue
from tests.advancing import while_advancing
from tests.eventbox.support import Deciding
from tests.eventbox.tasks.world import ACCOUNT, QUEUE, SECOND, TARGET, Process, World

DAY = timedelta(days=1)


async def queued(world: World) -> list[Any]:
    request = ListTasksRequest(parent=QUEUE, response_view=TaskProto.View.FULL)
    return [task async for task in await world.tasks.client().list_tasks(request)]


async def enqueue_in(process: Process, *tasks: Task) -> None:
    async def body(transaction: Transaction) -> None:
        for task in tasks:
            await process.queue.enqueue(task, transaction=transaction)

    await process.box.run_in_transaction(body)


async def test_a_task_is_asked_for_as_it_says(world: World) -> None:
    process = world.process(service_account=ACCOUNT)
    eta = world.clock.now() + 10 * SECOND
    await process.queue.enqueue(
        Task(
            "/mails?to=1", b"hello", name="mail-1", eta=eta, headers={"X-Kind": "mail"}, deadline=90 * SECOND
        )
    )
    (task,) = await queued(world)
    assert task.name == f"{QUEUE}/tasks/mail-1"
    assert task.http_request.url == f"{TARGET}/mails?to=1"
    assert task.http_request.body == b"hello"
    assert task.http_request.headers["X-Kind"] == "mail"
    assert task.http_request.oidc_token.service_account_email == ACCOUNT
    assert task.http_request.oidc_token.audience == TARGET
    assert task.dispatch_deadline == 90 * SECOND
    assert task.schedule_time == eta
    assert await world.deliver() == 0
    await world.pass_time(10 * SECOND)
    assert await world.tasks.drain() == 1
    (request,) = world.service.tasks
    assert (request.path, request.body, request.headers["x-kind"]) == ("/mails", b"hello", "mail")
    assert request.headers["authorization"].startswith("Bearer ")


async def test_without_a_service_account_there_is_no_token(world: World, process: Process) -> None:
    await process.queue.enqueue(Task("/x", headers={"Authorization": "mine"}))
    await world.tasks.drain()
    assert world.service.tasks[0].headers["authorization"] == "mine"


async def test_a_target_with_a_path_and_a_slash_at_its_end(world: World, process: Process) -> None:
    queue = TaskQueue(
        world.tasks.client(), QUEUE, target="https://worker.test/base/", service_account=None, box=process.box
    )
    assert (queue.target, queue.queue, queue.service_account) == ("https://worker.test/base", QUEUE, None)
    await queue.enqueue(Task("/x"))
    assert [task.http_request.url for task in await queued(world)] == ["https://worker.test/base/x"]


async def test_the_audience_is_the_target_as_it_is_given(world: World, process: Process) -> None:
    # who verifies the tokens is given the same
    for target in ("https://worker.test", "https://worker.test/"):
        queue = TaskQueue(
            world.tasks.client(), QUEUE, target=target, service_account=ACCOUNT, box=process.box
        )
        await queue.enqueue(Task("/x", name=f"t{len(target)}"))
        await queue.notify(process.order(str(len(target))))
        tasks = await queued(world)
        assert {task.http_request.oidc_token.audience for task in tasks} == {target}
        for task in tasks:
            await world.tasks.client().delete_task(name=task.name)


async def test_a_past_eta_is_at_once(world: World, process: Process) -> None:
    await process.queue.enqueue(Task("/x", eta=world.clock.now().replace(year=1)))
    await process.queue.enqueue(Task("/x", eta=world.clock.now() - DAY))
    assert await world.tasks.drain() == 2


@pytest.mark.parametrize("transactional", [False, True])
async def test_a_name_is_used_once(world: World, process: Process, transactional: bool) -> None:
    for body in (b"1", b"2"):
        if transactional:
            await enqueue_in(process, Task("/x", body, name="once"))
        else:
            await process.queue.enqueue(Task("/x", body, name="once"))
    await world.tasks.drain()
    assert [request.body for request in world.service.tasks] == [b"1"]
    await process.queue.aclose()
    assert await world.reminders() == []


async def test_a_lost_answer_makes_no_second_task(world: World, process: Process) -> None:
    world.tasks.faults.add(Fault(rpc="CreateTask", error="UNAVAILABLE", when="after"))
    await while_advancing(world.clock, process.queue.enqueue(Task("/x")))
    assert world.tasks.counts.rpcs["CreateTask"] == 2
    assert len(await queued(world)) == 1


async def test_an_outage_is_an_error_in_the_end_and_enqueuing_again_is_safe(
    world: World, process: Process
) -> None:
    outage = world.tasks.faults.add(Fault(rpc="CreateTask", error="UNAVAILABLE", times=None))
    began = world.clock.now()
    with pytest.raises(EnqueueError) as raised:
        await while_advancing(world.clock, process.queue.enqueue(Task("/x", name="n"), timeout=20 * SECOND))
    assert raised.value.transient
    assert raised.value.name == "n"
    assert timedelta(0) < world.clock.now() - began <= 20 * SECOND
    outage.remove()
    await process.queue.enqueue(Task("/x", name="n"))


async def test_an_unknown_queue_is_a_clear_error(world: World, process: Process) -> None:
    queue = TaskQueue(
        world.tasks.client(), QUEUE + "-no", target=TARGET, service_account=None, box=process.box
    )
    with pytest.raises(EnqueueError, match="check that the queue exists") as raised:
        await queue.enqueue(Task("/x"))
    assert not raised.value.transient
    assert isinstance(raised.value.__cause__, GoogleAPICallError)
    assert world.tasks.counts.rpcs["CreateTask"] == 1


async def test_a_task_of_900_000_bytes_and_long_headers_fits_a_reminder(
    world: World, process: Process
) -> None:
    world.tasks.faults.add(Fault(rpc="CreateTask", error="UNAVAILABLE", times=None))
    task = Task("/x", b"x" * 900_000, headers={"X-Long": "y" * 79_000})
    await while_advancing(world.clock, enqueue_in(process, task))
    world.tasks.faults.clear()
    await world.recover()
    (request,) = world.service.tasks
    assert (len(request.body), len(request.headers["x-long"])) == (900_000, 79_000)


# In transactions -----------------------------------------------------------------------------------------


async def test_a_transactional_task_is_there_when_the_commit_returns(world: World, process: Process) -> None:
    await enqueue_in(process, Task("/x", b"1"))
    assert len(await queued(world)) == 1
    await process.queue.aclose()
    assert await world.reminders() == []


async def test_its_name_is_that_of_its_reminder(world: World, process: Process) -> None:
    deletions = world.firestore.faults.add(FirestoreFault(rpc="BatchWrite", error="UNAVAILABLE", times=None))
    await enqueue_in(process, Task("/x"))
    await process.queue.flush()
    deletions.remove()
    (reminder,) = await world.reminders()
    await world.tasks.client().get_task(GetTaskRequest(name=f"{QUEUE}/tasks/{reminder['name']}"))


async def test_a_transaction_that_fails_leaves_no_task_and_no_reminder(
    world: World, process: Process
) -> None:
    async def body(transaction: Transaction) -> None:
        await process.queue.enqueue(Task("/x"), transaction=transaction)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await process.box.run_in_transaction(body)
    await world.recover()
    assert world.service.requests == []
    assert await world.reminders() == []


async def test_the_task_of_a_skipped_transition_is_taken_back(world: World, process: Process) -> None:
    def enqueues(body: bytes, *, skips: bool) -> Any:
        async def side_effect(transaction: Transaction) -> None:
            await process.queue.enqueue(Task("/x", body), transaction=transaction)
            await process.queue.send(body, process.order("2"), transaction=transaction)
            if skips:
                raise SkipTransition

        return side_effect

    transitions = [
        Transition({"n": 1}, side_effect=enqueues(b"1", skips=False)),
        Transition({"n": 2}, side_effect=enqueues(b"2", skips=True)),
    ]
    to = process.order()
    await process.box.process_batch(to, Deciding(to, lambda *_: Mutation(transitions)))
    await world.recover()
    assert [request.body for request in world.service.tasks] == [b"1"]
    assert len(world.service.consumed) == 1


async def test_a_transaction_that_is_run_again_has_its_task_once(world: World, process: Process) -> None:
    runs = []

    async def body(transaction: Transaction) -> None:
        runs.append(transaction)
        await process.queue.enqueue(Task("/x"), transaction=transaction)

    world.firestore.faults.add(FirestoreFault(rpc="Commit", error="ABORTED"))
    await while_advancing(world.clock, process.box.run_in_transaction(body))
    await world.recover()
    assert len(runs) == 2
    assert len(world.service.tasks) == 1


async def test_a_commit_whose_answer_was_lost_has_its_task_at_once(world: World, process: Process) -> None:
    world.firestore.faults.add(FirestoreFault(rpc="Commit", error="UNAVAILABLE", when="after"))
    await while_advancing(world.clock, enqueue_in(process, Task("/x")))
    assert len(await queued(world)) == 1


async def test_what_cloud_tasks_refuses_after_a_commit_is_logged_not_raised(
    world: World, process: Process, caplog: pytest.LogCaptureFixture
) -> None:
    world.tasks.faults.add(Fault(rpc="CreateTask", error="PERMISSION_DENIED"))
    await enqueue_in(process, Task("/x", b"1"), Task("/x", b"2"))
    assert len(await queued(world)) == 1
    (record,) = [one for one in caplog.records if one.name == "eventbox.tasks"]
    assert record.levelno == logging.ERROR
    assert "left to the sweeper" in record.getMessage()
    await world.recover()
    assert sorted(request.body for request in world.service.tasks) == [b"1", b"2"]


@pytest.mark.parametrize("tasks", [1, 100])
async def test_an_outage_of_cloud_tasks_holds_up_a_commit_for_10_seconds_at_most(
    world: World, process: Process, tasks: int
) -> None:
    world.tasks.faults.add(Fault(rpc="CreateTask", error="UNAVAILABLE", times=None))
    began = world.clock.now()
    await while_advancing(world.clock, enqueue_in(process, *(Task("/x") for _ in range(tasks))))
    assert world.clock.now() - began <= 10 * SECOND


async def test_in_a_transaction_of_googles_own_it_is_the_sweeper_that_creates_it(
    world: World, process: Process
) -> None:
    transaction = process.client.transaction()
    await transaction._begin()
    await process.queue.enqueue(Task("/x", b"1"), transaction=transaction)
    await process.queue.send(b"", process.order(), id="x", transaction=transaction)
    await transaction._commit()
    assert await queued(world) == []
    # nobody is about to do it, so there is nothing to wait for
    report = await world.process().sweeper.sweep()
    assert (report.stale, report.created) == (2, 2)
    await world.deliver()
    assert len(world.service.tasks) == 1
    assert world.service.consumed == {"x": 1}


# Far ahead -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("transactional", [False, True])
async def test_an_eta_beyond_30_days_stays_a_reminder_until_it_can_be_placed(
    world: World, process: Process, transactional: bool
) -> None:
    task = Task("/x", name="far", eta=world.clock.now() + 40 * DAY)
    await (enqueue_in(process, task) if transactional else process.queue.enqueue(task))
    assert len(await world.reminders()) == 1
    await world.pass_time(9 * DAY)
    assert (await world.process().sweeper.sweep()).stale == 0
    assert world.tasks.counts.rpcs["CreateTask"] == 0
    await world.pass_time(2 * DAY)
    assert (await world.process().sweeper.sweep()).created == 1
    assert await world.reminders() == []
    assert await world.deliver() == 0
    await world.pass_time(29 * DAY)
    assert await world.tasks.drain() == 1


async def test_30_days_less_a_little_are_placed_at_once(world: World, process: Process) -> None:
    await process.queue.enqueue(Task("/x", eta=world.clock.now() + 30 * DAY - timedelta(minutes=2)))
    assert len(await queued(world)) == 1


async def test_an_event_for_a_day_far_ahead_is_consumed_on_that_day(world: World, process: Process) -> None:
    day = world.clock.now() + 40 * DAY
    await process.queue.send(b"", process.order(), id="x", process_after=day)
    await process.queue.notify(process.order("2"), day)
    assert world.tasks.counts.rpcs["CreateTask"] == 0
    await world.pass_time(11 * DAY)
    assert (await world.process().sweeper.sweep()).created == 2
    assert await world.deliver() == 0
    await world.pass_time(29 * DAY)
    assert await world.deliver() == 2
    assert world.service.consumed == {"x": 1}


async def test_a_reminder_that_cannot_be_left_is_an_error(world: World, process: Process) -> None:
    world.firestore.faults.add(FirestoreFault(rpc="Commit", error="PERMISSION_DENIED"))
    with pytest.raises(EnqueueError) as raised:
        await process.queue.enqueue(Task("/x", name="far", eta=world.clock.now() + 40 * DAY))
    assert not raised.value.transient


async def test_the_queue_can_be_used_in_a_with_statement(world: World) -> None:
    process = world.process()
    async with process.queue as queue:
        await queue.send(b"", process.order())
    assert await world.reminders() == []
    assert isinstance(queue.box, EventBox)
    assert queue.dispatch_deadline == timedelta(minutes=10)
