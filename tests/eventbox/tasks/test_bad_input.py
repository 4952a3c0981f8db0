"""What is wrong is refused before anything is sent."""

from __future__ import annotations

import pickle
from datetime import datetime, timedelta
from typing import Any

import pytest

from eventbox import EventBox, Recipient
from eventbox.tasks import EnqueueError, Sweeper, Task, TaskQueue
from tests.eventbox.tasks.world import ACCOUNT, QUEUE, TARGET, Process, World

BAD_TASKS: list[tuple[Any, type[Exception], str]] = [
    (None, TypeError, "expected a Task, not NoneType"),
    ("/x", TypeError, "expected a Task, not str"),
    (Task(None), TypeError, "path must be a str"),  # type: ignore[arg-type]
    (Task(""), ValueError, 'must begin with "/"'),
    (Task("mails"), ValueError, 'must begin with "/"'),
    (Task("https://x/y"), ValueError, 'must begin with "/"'),
    (Task("/a b"), ValueError, "percent-encode spaces"),
    (Task("/ä"), ValueError, "as in a URL"),
    (Task("/x\r\n"), ValueError, "as in a URL"),
    (Task("/x#y"), ValueError, "as in a URL"),
    (Task("/" + "x" * 2_083), ValueError, "2,083 bytes"),
    (Task("/x", "text"), TypeError, "must be bytes, not str"),  # type: ignore[arg-type]
    (Task("/x", name=""), ValueError, "1 to 500"),
    (Task("/x", name="a/b"), ValueError, "1 to 500"),
    (Task("/x", name="a" * 501), ValueError, "1 to 500"),
    (Task("/x", name="ä"), ValueError, "1 to 500"),
    (Task("/x", name=1), TypeError, "must be a str or None"),  # type: ignore[arg-type]
    (Task("/x", eta=1), TypeError, "eta must be a datetime"),  # type: ignore[arg-type]
    (Task("/x", eta=datetime(2030, 1, 1)), ValueError, "aware"),
    (Task("/x", headers=[("a", "b")]), TypeError, "must be a mapping"),  # type: ignore[arg-type]
    (Task("/x", headers={"a": 1}), TypeError, "must be strings"),  # type: ignore[dict-item]
    (Task("/x", headers={"": "x"}), ValueError, "not the name of a header"),
    (Task("/x", headers={"a b": "x"}), ValueError, "not the name of a header"),
    (Task("/x", headers={"a": "x\r\nb: y"}), ValueError, "no header may have"),
    (Task("/x", headers={"a": "€"}), ValueError, "no header may have"),
    (Task("/x", headers={"Host": "x"}), ValueError, "set by Cloud Tasks"),
    (Task("/x", headers={"X-CloudTasks-TaskName": "x"}), ValueError, "set by Cloud Tasks"),
    (Task("/x", headers={"authorization": "x"}), ValueError, "token of the queue's service account"),
    (Task("/x", headers={"a": "1", "A": "2"}), ValueError, "upper and lower case"),
    (Task("/x", headers={"a": "x" * 80_000}), ValueError, "less than 80,000"),
    (Task("/x", deadline=15), TypeError, "must be a timedelta"),  # type: ignore[arg-type]
    (Task("/x", deadline=timedelta(seconds=14.9)), ValueError, "from 15 seconds to 30 minutes"),
    (Task("/x", deadline=timedelta(minutes=31)), ValueError, "from 15 seconds to 30 minutes"),
]  # fmt: skip


@pytest.mark.parametrize(("task", "error", "message"), BAD_TASKS)
async def test_a_bad_task(world: World, task: Any, error: type[Exception], message: str) -> None:
    process = world.process(service_account=ACCOUNT)
    with pytest.raises(error, match=message):
        await process.queue.enqueue(task)
    transaction = process.client.transaction()
    with pytest.raises(error, match=message):
        await process.queue.enqueue(task, transaction=transaction)
    assert not world.tasks.counts.rpcs
    assert not world.firestore.counts.rpcs
    assert not transaction._write_pbs


async def test_a_task_that_is_too_large(world: World, process: Process) -> None:
    with pytest.raises(ValueError, match="a task's body has at most 1,000,000 bytes, not 1,000,001"):
        await process.queue.enqueue(Task("/x", b"x" * 1_000_001))
    with pytest.raises(ValueError, match="in all"):
        await process.queue.enqueue(Task("/x", b"x" * 1_000_000))
    transaction = process.client.transaction()
    with pytest.raises(
        ValueError, match="a transactional task's body has at most 900,000 bytes, not 900,001"
    ):
        await process.queue.enqueue(Task("/x", b"x" * 900_001), transaction=transaction)
    assert not world.tasks.counts.rpcs


async def test_other_bad_arguments(world: World, process: Process) -> None:
    queue, to = process.queue, process.order()
    elsewhere = Recipient(world.firestore.client(database="other").document("orders/1"), "order")
    for call, error, message in [
        (lambda: queue.enqueue(Task("/x"), transaction=1), TypeError, "must be an AsyncTransaction"),  # type: ignore[arg-type]
        (lambda: queue.enqueue(Task("/x"), timeout=1), TypeError, "must be a timedelta"),  # type: ignore[arg-type]
        (lambda: queue.notify("orders/1"), TypeError, "expected a Recipient"),  # type: ignore[arg-type]
        (lambda: queue.notify(elsewhere), ValueError, "lies in"),
        (lambda: queue.notify(to, datetime(2030, 1, 1)), ValueError, "aware"),
        (lambda: queue.send("text", to), TypeError, "must be bytes"),  # type: ignore[arg-type]
        (lambda: queue.send(b"", to, wake=1), TypeError, "must be a bool"),  # type: ignore[arg-type]
        (lambda: queue.send(b"", to, id=""), ValueError, "256 bytes"),
        (lambda: queue.send(b"", elsewhere), ValueError, "lies in"),
        (lambda: queue.send(b"", to, process_after=datetime(2030, 1, 1)), ValueError, "aware"),
        (lambda: queue.send(b"x" * 1_000_001, to), ValueError, "1,000,000"),
        (lambda: queue.wake("x", not_before=datetime(2030, 1, 1)), ValueError, "aware"),
        (lambda: process.sweeper.sweep(deadline=datetime(2030, 1, 1)), ValueError, "aware"),
        (lambda: process.sweeper.run(1), TypeError, "must be a timedelta"),  # type: ignore[arg-type]
        (lambda: process.sweeper.run(timedelta(0)), ValueError, "must be positive"),
    ]:
        with pytest.raises(error, match=message):
            await call()
    assert not world.tasks.counts.rpcs
    assert not world.firestore.counts.rpcs


@pytest.mark.parametrize(
    ("change", "error", "message"),
    [
        ({"client": None}, TypeError, "CloudTasksAsyncClient"),
        ({"queue": None}, TypeError, "queue must be a str"),
        ({"queue": "work"}, ValueError, r"a full name, projects/\*/locations"),
        ({"queue": QUEUE + "/tasks/x"}, ValueError, "a full name"),
        ({"queue": QUEUE + "_"}, ValueError, "a full name"),
        ({"target": None}, TypeError, "target must be a str"),
        ({"target": ""}, ValueError, "a service's URL"),
        ({"target": "worker.test"}, ValueError, "a service's URL"),
        ({"target": "ftp://worker.test"}, ValueError, "a service's URL"),
        ({"target": "https://worker.test?x=1"}, ValueError, "a service's URL"),
        ({"target": "https://worker.test#x"}, ValueError, "a service's URL"),
        ({"target": "https://worker.test:port"}, ValueError, "a service's URL"),
        ({"target": "https://wörker.test"}, ValueError, "a service's URL"),
        ({"service_account": 1}, TypeError, "service_account must be a str"),
        ({"service_account": "tasks"}, ValueError, "an e-mail address"),
        ({"box": None}, TypeError, "must be an EventBox"),
        ({"shards": 0}, ValueError, "from 1 to 100"),
        ({"shards": 101}, ValueError, "from 1 to 100"),
        ({"shards": True}, TypeError, "must be an int"),
        ({"remember": 0}, ValueError, "from 1 to"),
        ({"dispatch_deadline": timedelta(hours=1)}, ValueError, "from 15 seconds to 30 minutes"),
        ({"dispatch_deadline": 600}, TypeError, "must be a timedelta"),
    ],
)
async def test_a_bad_queue(
    world: World, change: dict[str, Any], error: type[Exception], message: str
) -> None:
    good: dict[str, Any] = {
        "client": world.tasks.client(),
        "queue": QUEUE,
        "target": TARGET,
        "service_account": ACCOUNT,
        "box": EventBox(world.firestore.client()),
    }
    TaskQueue(**good)
    with pytest.raises(error, match=message):
        TaskQueue(**{**good, **change})


async def test_a_sweeper_of_something_else() -> None:
    with pytest.raises(TypeError, match="must be a TaskQueue"):
        Sweeper("work")  # type: ignore[arg-type]


@pytest.mark.parametrize("transient", [False, True])
def test_an_enqueue_error_survives_pickling_and_says_what_to_do(transient: bool) -> None:
    error = pickle.loads(
        pickle.dumps(EnqueueError(QUEUE, "mail-1", "404 no such queue", transient=transient))
    )
    assert (error.queue, error.name, error.transient) == (QUEUE, "mail-1", transient)
    assert "task 'mail-1' could not be put on projects/demo" in str(error)
    assert ("enqueue it again under this name" if transient else "cloudtasks.enqueuer") in str(error)
