"""What is registered with a worker, and how tasks reach it."""

from __future__ import annotations

import asyncio
import logging
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.routing import Mount

from emulator.tasks import Fault
from eventbox import Recipient
from eventbox.tasks import Auth, Task, TaskRequest, Worker
from eventbox.testing import ManualClock
from tests.eventbox.support import Recording, Waiting, emit, outstanding
from tests.eventbox.tasks.worker.house import WAKE, House, logged
from tests.eventbox.tasks.worker.requesting import call


async def nothing(task: TaskRequest) -> None: ...


# Recipients ----------------------------------------------------------------------------------------------------


async def test_the_factory_is_given_the_recipient_and_what_the_placeholders_stand_for(house: House) -> None:
    seen: list[tuple[str, str, dict[str, str]]] = []

    def factory(recipient: Recipient, params: Any) -> Recording:
        seen.append((recipient.path, recipient.monitoring_string, dict(params)))
        return Recording(recipient)

    house.worker.recipient("shops/{shop}/carts/{cart}", factory, monitoring_string="cart")
    cart = Recipient(house.box.client.document("shops/a/carts/b"), "other")
    await emit(house.box, cart, "x")

    assert (await house.wake(cart)).outcome == "done"
    assert seen == [("shops/a/carts/b", "cart", {"shop": "a", "cart": "b"})]
    assert await house.applied(cart) == ["x"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"pattern": "orders"}, ValueError),
        ({"pattern": "orders/{order}"}, ValueError),
        ({"pattern": "orders/{other_name}"}, ValueError),
        ({"pattern": "orders/1"}, ValueError),
        ({"pattern": None}, TypeError),
        ({"factory": "x"}, TypeError),
        ({"monitoring_string": ""}, ValueError),
        ({"monitoring_string": None}, TypeError),
    ],
    ids=str,
)
def test_a_bad_recipient_is_refused_when_it_is_registered(
    house: House, wrong: dict[str, Any], error: type[Exception]
) -> None:
    good: dict[str, Any] = {"pattern": "users/{user}", "factory": Recording, "monitoring_string": "user"}
    arguments = {**good, **wrong}

    with pytest.raises(error):
        house.worker.recipient(
            arguments["pattern"], arguments["factory"], monitoring_string=arguments["monitoring_string"]
        )
    house.worker.recipient("users/{user}", Recording, monitoring_string="user")  # type: ignore[arg-type]


# Tasks ---------------------------------------------------------------------------------------------------------


async def test_a_handler_is_given_the_task_as_it_was_enqueued(house: House) -> None:
    tasks: list[TaskRequest] = []

    async def handler(task: TaskRequest) -> None:
        tasks.append(task)

    house.worker.task("/emails/send", handler)
    eta = house.clock.now() + timedelta(seconds=10)
    await house.queue.enqueue(
        Task("/emails/send", b"\x00body", name="mail-1", eta=eta, headers={"X-Kind": "receipt"})
    )
    await house.let(11)

    [task] = tasks
    assert task.body == b"\x00body"
    assert task.name == "mail-1"
    assert task.headers["x-kind"] == task.headers["X-Kind"] == "receipt"
    assert task.retry_count == 0
    assert task.eta == eta
    assert not await house.tasks()


async def test_a_handler_that_raises_is_called_again(house: House, caplog: pytest.LogCaptureFixture) -> None:
    tries: list[int] = []

    async def handler(task: TaskRequest) -> None:
        tries.append(task.retry_count)
        if len(tries) < 3:
            raise KeyError("not yet")

    house.worker.task("/emails", handler)
    await house.queue.enqueue(Task("/emails"))
    await house.let(10)

    assert tries == [0, 1, 2]
    assert logged(caplog) == [("failed", logging.ERROR)] * 2 + [("done", logging.DEBUG)]
    assert house.counted() == {("task", "failed", "/emails"): 2, ("task", "done", "/emails"): 1}


async def test_a_handler_that_takes_too_long_is_cancelled_and_called_again(house: House) -> None:
    async def handler(task: TaskRequest) -> None:
        await asyncio.Event().wait()

    house.worker.task("/emails", handler)
    house.worker._serving._request_limit = timedelta(milliseconds=20)  # less than it can be given

    answered = await call(house.worker.app, "/emails")

    assert (answered.status, answered.outcome) == (500, "unavailable")


async def test_what_a_task_waits_for_its_turn_is_part_of_its_time() -> None:
    house, gate, loop = House(concurrency=1), Waiting(), asyncio.get_running_loop()
    ends: list[float | None] = []

    async def handler(task: TaskRequest) -> None:
        ends.extend(timeout.when() for _, timeout in house.worker._stopping._running)
        await gate.wait()

    house.worker.task("/emails", handler)
    calls = [asyncio.ensure_future(call(house.worker.app, "/emails")) for _ in range(2)]
    await gate.reached()
    for _ in range(100):  # until the second one waits
        await asyncio.sleep(0)
    came_by = loop.time()
    for _ in range(100):  # some time passes
        await asyncio.sleep(0)
    gate.open()
    assert [(await one).outcome for one in calls] == ["done", "done"]

    assert len(ends) == 2
    assert all(end is not None and end <= came_by + 300 for end in ends)


@pytest.mark.parametrize(
    ("headers", "retry_count", "eta"),
    [
        ({}, 0, None),
        ({"X-CloudTasks-TaskRetryCount": "x", "X-CloudTasks-TaskETA": "soon"}, 0, None),
        ({"X-CloudTasks-TaskRetryCount": "-1", "X-CloudTasks-TaskETA": "nan"}, 0, None),
        ({"X-CloudTasks-TaskRetryCount": "9" * 5000, "X-CloudTasks-TaskETA": "1e300"}, 0, None),
        (
            {"X-CloudTasks-TaskRetryCount": "7", "X-CloudTasks-TaskETA": "0.5"},
            7,
            datetime(1970, 1, 1, 0, 0, 0, 500_000, UTC),
        ),
    ],
    ids=str,
)
async def test_headers_that_are_missing_or_odd_do_no_harm(
    house: House, headers: dict[str, str], retry_count: int, eta: datetime | None
) -> None:
    tasks: list[TaskRequest] = []

    async def handler(task: TaskRequest) -> None:
        tasks.append(task)

    house.worker.task("/emails", handler)
    await call(house.worker.app, "/emails", headers=headers)

    [task] = tasks
    assert (task.name, task.retry_count, task.eta) == ("", retry_count, eta)


async def test_a_body_beyond_any_tasks_is_dropped(house: House, caplog: pytest.LogCaptureFixture) -> None:
    house.worker.task("/emails", nothing)

    assert (await call(house.worker.app, "/emails", b"x" * 1_000_000)).outcome == "done"
    assert (await call(house.worker.app, "/emails", [b"x" * 1_000_000] * 3)).outcome == "dropped"
    assert logged(caplog)[-1] == ("dropped", logging.ERROR)


@pytest.mark.parametrize(
    "path",
    [
        "",
        "emails",
        "/",
        "/emails/",
        "//emails",
        "/a b",
        "/a?b",
        "/a#b",
        "/a%20b",
        "/é",
        "/a/../b",
        "/./a",
        "/a/..",
        "/eventbox",
        "/eventbox/wake",
        "/eventbox/other",
        "/healthz",
        "/healthz/deep",
        "/taken",
    ],
)
def test_a_bad_task_path_is_refused_when_it_is_registered(house: House, path: str) -> None:
    house.worker.task("/taken", nothing)

    with pytest.raises(ValueError):
        house.worker.task(path, nothing)


def test_a_handler_must_be_one(house: House) -> None:
    with pytest.raises(TypeError):
        house.worker.task("/emails", None)  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        house.worker.task(b"/emails", nothing)  # type: ignore[arg-type]
    house.worker.task("/eventboxes", nothing)


# The sweep -----------------------------------------------------------------------------------------------------


async def test_a_sweep_finishes_what_another_process_left_behind(house: House) -> None:
    order = house.order()
    house.cloud_tasks.faults.add(Fault(rpc="CreateTask", error="PERMISSION_DENIED"))
    await house.queue.send(b"x", order, id="x")  # emitted, with a reminder, and nobody woken
    await house.let(90)
    assert await outstanding(house.box, order) == {"x"}

    answered = await call(house.worker.app, "/eventbox/sweep")
    await house.let(2)

    assert answered.status == 200
    assert answered.body == b'{"outcome":"done","stale":1,"created":1,"failed":0,"complete":true}'
    assert await house.applied(order) == ["x"]


async def test_a_sweep_that_could_do_nothing_is_tried_again(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    house.cloud_tasks.faults.add(Fault(rpc="CreateTask", error="PERMISSION_DENIED", times=None))
    await house.queue.send(b"x", house.order())
    house.clock.advance(timedelta(minutes=2))

    answered = await call(house.worker.app, "/eventbox/sweep")

    assert (answered.status, answered.outcome) == (500, "unavailable")
    assert logged(caplog)[-1] == ("unavailable", logging.WARNING)


# Where it is mounted -------------------------------------------------------------------------------------------


async def lifespan_of(app: Any) -> Any:
    return app.router.lifespan_context(app)


@pytest.mark.parametrize("prefix", ["", "/internal", "/a/b"])
@pytest.mark.parametrize("framework", ["fastapi", "starlette"])
async def test_it_is_mounted_in_other_applications_under_any_prefix(prefix: str, framework: str) -> None:
    target = f"http://service.example{prefix}"
    house = House(target=target)
    done = []

    async def handler(task: TaskRequest) -> None:
        done.append(task.body)

    house.worker.task("/emails", handler)
    outer: Any
    if framework == "fastapi":
        outer = FastAPI(lifespan=house.worker.lifespan)

        @outer.get("/orders")
        async def orders() -> list[str]:
            return ["1"]

        outer.mount(prefix, house.worker.app)
    else:
        outer = Starlette(routes=[Mount(prefix, app=house.worker.app)], lifespan=house.worker.lifespan)
    house.cloud_tasks.mount("http://service.example", outer)

    async with outer.router.lifespan_context(outer):
        await house.worker.send(b"a", house.order(), id="a")
        await house.queue.enqueue(Task("/emails", b"hello"))
        await house.let(2)

        assert await house.applied(house.order()) == ["a"]
        assert done == [b"hello"]
        assert (await call(outer, f"{prefix}/healthz", method="GET")).body == b"ok\n"
        if framework == "fastapi":
            assert (await call(outer, "/orders", method="GET")).body == b'["1"]'


async def test_one_application_is_made_however_often_it_is_asked_for(house: House) -> None:
    assert house.worker.app is house.worker.app


async def test_it_runs_by_itself_with_a_lifespan(house: House) -> None:
    app = house.worker.app
    for _ in range(2):  # as tests do that start it several times
        async with app.router.lifespan_context(app):
            await emit(house.box, house.order(), "a")
            assert (await house.wake(house.order())).outcome == "done"
        house.worker.stop()


async def test_a_websocket_is_not_accepted(house: House) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    scope = {"type": "websocket", "path": WAKE, "root_path": "", "headers": [], "query_string": b""}
    await house.worker.app(scope, receive, send)

    assert [message["type"] for message in sent] == ["websocket.close"]


# The worker itself ---------------------------------------------------------------------------------------------


async def test_send_and_notify_are_the_queues(house: House) -> None:
    order = house.order()
    receipt = await house.worker.send(b"x", order, id="x")
    await house.let(2)
    await emit(house.box, order, "y")
    await house.worker.notify(order)
    await house.let(2)

    assert receipt.id == "x"
    assert await house.applied(order) == ["x", "y"]


@pytest.mark.parametrize(
    ("wrong", "error"),
    [
        ({"box": None}, TypeError),
        ({"queue": None}, TypeError),
        ({"auth": "none"}, TypeError),
        ({"concurrency": 0}, ValueError),
        ({"concurrency": True}, TypeError),
        ({"max_events": 0}, ValueError),
        ({"max_events": "1"}, TypeError),
        ({"request_timeout": timedelta(seconds=1)}, ValueError),
        ({"request_timeout": 300}, TypeError),
        ({"longest_pause": timedelta(seconds=-1)}, ValueError),
        ({"grace": timedelta(seconds=-1)}, ValueError),
        ({"grace": None}, TypeError),
        ({"sweep_timeout": timedelta(0)}, ValueError),
    ],
    ids=str,
)
def test_bad_arguments_are_refused(house: House, wrong: dict[str, Any], error: type[Exception]) -> None:
    with pytest.raises(error):
        Worker(**{"box": house.box, "queue": house.queue, "auth": Auth.none(), **wrong})


async def test_a_request_whose_caller_goes_away_half_way_is_no_work(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    sent: list[Any] = []

    async def send(message: Any) -> None:
        sent.append(message)

    messages = [{"type": "http.request", "body": b"{", "more_body": True}, {"type": "http.disconnect"}]

    async def receive() -> Any:
        return messages.pop(0)

    scope = {
        "type": "http",
        "method": "POST",
        "path": WAKE,
        "root_path": "",
        "headers": [],
        "query_string": b"",
    }
    await house.worker.app(scope, receive, send)

    assert sent[0]["status"] == 500
    assert not house.runs


def test_a_run_outside_any_loop_can_be_registered_for(house: House) -> None:
    # module level: no event loop runs while a service is put together
    house = House(clock=ManualClock())
    assert house.worker.app is not None
    assert asyncio.run(call(house.worker.app, "/healthz", method="GET")).status == 200
