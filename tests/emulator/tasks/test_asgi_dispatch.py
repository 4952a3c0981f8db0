"""An application that is mounted gets what a server would give it."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.tasks_v2 import CloudTasksAsyncClient

from emulator.manual_clock import ManualClock
from emulator.tasks import TasksEmulator
from tests.emulator.tasks.recording_worker import WORKER, RecordingWorker, http
from tests.emulator.tasks.waiting import until

App = Callable[[Any, Any, Any], Awaitable[None]]


async def answer(send: Any, status: int = 200) -> None:
    await send({"type": "http.response.start", "status": status, "headers": []})
    await send({"type": "http.response.body", "body": b""})


async def test_the_scope_is_that_of_an_http_request(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    await client.create_task(parent=queue, task=http("/a%2Fb/c?d=e&f", headers={"X-Own": "1"}, body=b"x"))
    await tasks.drain()
    scope = worker.requests[0].scope
    assert scope["type"] == "http"
    assert scope["http_version"] == "1.1"
    assert (scope["scheme"], scope["server"]) == ("http", ("worker.example", 80))
    assert (scope["method"], scope["path"], scope["raw_path"]) == ("POST", "/a/b/c", b"/a%2Fb/c")
    assert (scope["query_string"], scope["root_path"]) == (b"d=e&f", "")
    assert scope["client"] == ("127.0.0.1", 0)
    assert (b"host", b"worker.example") in scope["headers"]
    assert (b"x-own", b"1") in scope["headers"]
    assert all(name == name.lower() for name, _ in scope["headers"])


@pytest.mark.parametrize(
    ("url", "path", "root"),
    [
        ("https://many.example:8443/one", "/one", "/one"),
        ("https://many.example:8443/one/x", "/one/x", "/one"),
        ("https://many.example:8443/one?x", "/one", "/one"),
        ("https://many.example:8443/one/two/x", "/one/two/x", "/one/two"),
        ("https://many.example:8443/onetwo", "/onetwo", ""),
        ("https://MANY.example:8443", "/", ""),
    ],
)
async def test_the_longest_base_url_decides(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, url: str, path: str, root: str
) -> None:
    workers = {root: RecordingWorker() for root in ("", "/one", "/one/two")}
    for base, each in workers.items():
        tasks.mount(f"https://many.example:8443{base}/", each)
    await client.create_task(parent=queue, task={"http_request": {"url": url}})
    assert await tasks.drain() == 1
    (request,) = workers[root].requests
    assert (request.scope["path"], request.scope["root_path"]) == (path, root)
    assert request.scope["server"] == ("many.example", 8443)
    assert request.headers["host"] == "many.example:8443"
    assert request.scope["scheme"] == "https"


async def test_the_latest_application_at_a_url_has_it(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    other = RecordingWorker()
    tasks.mount(f"{WORKER}:80/", other)
    await client.create_task(parent=queue, task=http())
    await tasks.drain()
    assert (len(worker.requests), len(other.requests)) == (0, 1)


@pytest.mark.parametrize(
    "url", ["worker", "ftp://worker", "http://", "http://worker/?x=y", "http://worker:x"]
)
def test_a_url_that_nothing_can_be_mounted_at_is_refused(tasks: TasksEmulator, url: str) -> None:
    with pytest.raises(ValueError, match=r"(?i)url|port"):
        tasks.mount(url, RecordingWorker())


async def raises(scope: Any, receive: Any, send: Any) -> None:
    raise LookupError("a bug")


async def returns(scope: Any, receive: Any, send: Any) -> None:
    pass


async def breaks_off(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "http.response.start", "status": 200, "headers": []})
    await send({"type": "http.response.body", "body": b"half", "more_body": True})
    raise LookupError("a bug")


async def talks_nonsense(scope: Any, receive: Any, send: Any) -> None:
    await send({"type": "websocket.accept"})


@pytest.mark.parametrize(
    ("app", "code", "message", "responses"),
    [
        (raises, 13, "INTERNAL(13): HTTP status code 500", 1),
        (returns, 13, "INTERNAL(13): HTTP status code 500", 1),
        (talks_nonsense, 13, "INTERNAL(13): HTTP status code 500", 1),
        (breaks_off, 14, "UNAVAILABLE(14): the answer broke off", 0),
    ],
)
async def test_an_application_that_fails_has_failed_the_attempt(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    caplog: pytest.LogCaptureFixture,
    app: App,
    code: int,
    message: str,
    responses: int,
) -> None:
    tasks.mount("http://broken", app)
    task = await client.create_task(parent=queue, task={"http_request": {"url": "http://broken/"}})
    with caplog.at_level(logging.ERROR):
        await tasks.drain()
    task = await client.get_task(name=task.name)
    assert task.last_attempt.response_status.code == code
    assert task.last_attempt.response_status.message == message
    assert task.response_count == responses
    assert ("http://broken/" in caplog.text) == (app is not returns)


async def test_an_application_that_answers_in_parts_counts_with_the_last_one(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, clock: ManualClock
) -> None:
    async def slow(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"a", "more_body": True})
        await clock.sleep(timedelta(seconds=5))
        await send({"type": "http.response.body", "body": b"b"})

    tasks.mount("http://slow", slow)
    task = await client.create_task(parent=queue, task={"http_request": {"url": "http://slow/"}})
    async with tasks.running():
        await until(clock)
        await client.get_task(name=task.name)
        clock.advance(timedelta(seconds=5))
        await until(clock)
    assert [task async for task in await client.list_tasks(parent=queue)] == []


async def test_past_the_deadline_the_application_is_told_and_goes_on_unheard(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, clock: ManualClock
) -> None:
    told = []

    async def patient(scope: Any, receive: Any, send: Any) -> None:
        told.append((await receive())["type"])
        told.append((await receive())["type"])
        await answer(send)
        told.append("finished")

    tasks.mount("http://patient", patient)
    task = await client.create_task(
        parent=queue,
        task={"http_request": {"url": "http://patient/"}, "dispatch_deadline": timedelta(seconds=15)},
    )
    async with tasks.running():
        await until(clock)
        assert told == ["http.request"]
        clock.advance(timedelta(seconds=15))
        await until(clock)
    assert told == ["http.request", "http.disconnect", "finished"]
    assert (await client.get_task(name=task.name)).last_attempt.response_status.code == 4


async def test_after_its_answer_the_application_hears_that_the_client_has_gone(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, clock: ManualClock
) -> None:
    told = []

    async def lingers(scope: Any, receive: Any, send: Any) -> None:
        await answer(send)
        told.append((await receive())["type"])
        told.append((await receive())["type"])

    tasks.mount("http://lingers", lingers)
    await client.create_task(parent=queue, task={"http_request": {"url": "http://lingers/"}})
    await tasks.drain()
    await until(clock)
    assert told == ["http.request", "http.disconnect"]


async def test_frameworks_find_their_routes_below_the_base_url(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str
) -> None:
    applications = pytest.importorskip("starlette.applications")
    responses = pytest.importorskip("starlette.responses")
    routing = pytest.importorskip("starlette.routing")
    bodies = []

    async def order(request: Any) -> Any:
        bodies.append((request.path_params["order"], await request.body(), str(request.url)))
        return responses.Response(status_code=204)

    app = applications.Starlette(routes=[routing.Route("/orders/{order}", order, methods=["POST"])])
    tasks.mount("http://service/tasks", app)
    await client.create_task(
        parent=queue, task={"http_request": {"url": "http://service/tasks/orders/7", "body": b"x"}}
    )
    assert await tasks.drain() == 1
    assert bodies == [("7", b"x", "http://service/tasks/orders/7")]
