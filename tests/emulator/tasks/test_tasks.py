from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.tasks_v2 import CloudTasksAsyncClient, HttpMethod, Task
from google.protobuf import timestamp_pb2

from emulator.manual_clock import ManualClock
from emulator.tasks import TasksEmulator
from emulator.tasks.limits import MAX_TASK_BYTES
from tests.emulator.tasks.recording_worker import WORKER, RecordingWorker, http

TOKEN = {"service_account_email": "worker@demo.iam.gserviceaccount.com"}


async def test_a_task_gets_what_the_service_fills_in(
    either_client: CloudTasksAsyncClient, queue: str, clock: ManualClock
) -> None:
    clock.advance(timedelta(microseconds=1_234_567))
    task = await either_client.create_task(parent=queue, task=http(body=b"payload"))

    assert task.name.startswith(f"{queue}/tasks/")
    assert task.create_time == clock.now().replace(microsecond=0)
    assert task.schedule_time == clock.now()
    assert task.dispatch_deadline == timedelta(minutes=10)
    assert task.http_request.http_method is HttpMethod.POST
    assert dict(task.http_request.headers) == {"User-Agent": "Google-Cloud-Tasks"}
    assert task.dispatch_count == task.response_count == 0
    assert "first_attempt" not in task
    assert task.view is Task.View.BASIC
    assert task.http_request.body == b""


async def test_the_full_view_has_the_body_and_the_basic_one_has_not(
    either_client: CloudTasksAsyncClient, queue: str
) -> None:
    created = await either_client.create_task(
        request={"parent": queue, "task": http(body=b"payload"), "response_view": Task.View.FULL}
    )
    assert (created.http_request.body, created.view) == (b"payload", Task.View.FULL)
    basic = await either_client.get_task(name=created.name)
    full = await either_client.get_task(request={"name": created.name, "response_view": Task.View.FULL})
    (listed,) = [
        task
        async for task in await either_client.list_tasks(
            request={"parent": queue, "response_view": Task.View.FULL}
        )
    ]
    assert (basic.http_request.body, basic.view) == (b"", Task.View.BASIC)
    assert full == listed == created
    with pytest.raises(exceptions.InvalidArgument, match="response_view"):
        await either_client.get_task(request={"name": created.name, "response_view": 9})


async def test_what_only_the_service_may_set_is_lost(
    either_client: CloudTasksAsyncClient, queue: str
) -> None:
    task = await either_client.create_task(
        parent=queue, task=http(dispatch_count=7, response_count=6, view="FULL", headers={"user-agent": "me"})
    )
    assert (task.dispatch_count, task.response_count) == (0, 0)
    assert dict(task.http_request.headers) == {"User-Agent": "Google-Cloud-Tasks"}


NAMES = "projects/demo/locations/us-central1/queues/default/tasks"


@pytest.mark.parametrize(
    ("task", "message"),
    [
        ({}, "http_request is required"),
        ({"app_engine_http_request": {"relative_uri": "/"}}, "no App Engine targets"),
        ({"http_request": {}}, "HttpRequest.url is required"),
        ({"http_request": {"url": "worker.example/run"}}, "must start with 'http://' or 'https://'"),
        ({"http_request": {"url": "ftp://worker.example/run"}}, "must start with 'http://' or 'https://'"),
        (http("/" + "x" * 2_083), "at most 2083 bytes"),
        (http("/" + "é" * 400), "at most 2083 bytes"),
        (http(body=b"x", http_method="GET"), "only with POST, PUT or PATCH, not with GET"),
        (http(http_method=99), "http_method 99"),
        (http(headers={"X-Large": "x" * (80 * 1024 - 7)}), "less than 80KB"),
        (http(headers={"X Y": "z"}), "no name of an HTTP header"),
        (http(headers={"": "z"}), "no name of an HTTP header"),
        (http(headers={"X": "a\r\nInjected: b"}), "no line breaks"),
        (http(oidc_token={}), "service_account_email is required"),
        (http(oauth_token={"scope": "x"}), "service_account_email is required"),
        (http(dispatch_deadline=timedelta(seconds=14, milliseconds=999)), r"between \[15s, 30m\]"),
        (http(dispatch_deadline=timedelta(minutes=30, microseconds=1)), r"between \[15s, 30m\]"),
        (http(schedule_time=timestamp_pb2.Timestamp(seconds=10**15)), "years 1 to 9999"),
        (http(retry_config={"max_attempts": -2}), "maxAttempts"),
        (http(name="t"), "Task name must be formatted"),
        (http(name=f"{NAMES}/not a valid id"), 'Task ID "not a valid id" can contain only'),
        (http(name=f"{NAMES}/{'x' * 501}"), "Task ID must between 1 and 500"),
        (http(name=f"{NAMES}/"), "Task name must be formatted"),
        (http(name=f"{NAMES.replace('default', 'other')}/t"), "must be the same as the queue name in the named task"),
    ],
)  # fmt: skip
async def test_a_task_that_breaks_a_rule_is_not_made(
    either_client: CloudTasksAsyncClient, queue: str, task: dict[str, Any], message: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=message):
        await either_client.create_task(parent=queue, task=task)
    assert [task async for task in await either_client.list_tasks(parent=queue)] == []


async def test_limits_are_reached_and_not_passed(
    either_client: CloudTasksAsyncClient, queue: str, clock: ManualClock
) -> None:
    prefix = len(WORKER)
    for fits in [
        http("/" + "x" * (2_083 - prefix - 1)),
        http(headers={"X-Large": "x" * (80 * 1024 - 8)}),
        http(dispatch_deadline=timedelta(seconds=15)),
        http(dispatch_deadline=timedelta(minutes=30)),
        http(schedule_time=clock.now() + timedelta(days=30)),
        http(name=f"{queue}/tasks/{'x' * 500}"),
    ]:
        await either_client.create_task(parent=queue, task=fits)
    with pytest.raises(exceptions.InvalidArgument, match="no more than 720h in the future"):
        await either_client.create_task(
            parent=queue, task=http(schedule_time=clock.now() + timedelta(days=30, microseconds=1))
        )


async def test_a_task_of_a_megabyte_is_too_large(either_client: CloudTasksAsyncClient, queue: str) -> None:
    small = await either_client.create_task(parent=queue, task=http(name=f"{queue}/tasks/a", body=b"x"))
    filled_in = Task.pb(small).ByteSize()
    body = b"x" * (MAX_TASK_BYTES - filled_in - 2)  # its length takes some bytes itself
    await either_client.create_task(parent=queue, task=http(name=f"{queue}/tasks/b", body=body[:-6]))
    with pytest.raises(exceptions.InvalidArgument, match="Task size too large"):
        await either_client.create_task(
            parent=queue, task=http(name=f"{queue}/tasks/c", body=body + b"x" * 10)
        )


async def test_a_time_in_the_past_is_now(
    either_client: CloudTasksAsyncClient, queue: str, clock: ManualClock
) -> None:
    task = await either_client.create_task(
        parent=queue, task=http(schedule_time=clock.now() - timedelta(days=400))
    )
    assert task.schedule_time == clock.now()


async def test_characters_that_cannot_stand_in_a_url_are_encoded(
    either_client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, worker: RecordingWorker
) -> None:
    task = await either_client.create_task(parent=queue, task=http("/a b/ü?q=%20+ü"))
    assert task.http_request.url == f"{WORKER}/a%20b/%C3%BC?q=%20+%C3%BC"
    await tasks.drain()
    assert worker.paths == ["/a b/ü"]
    assert worker.requests[0].scope["raw_path"] == b"/a%20b/%C3%BC"
    assert worker.requests[0].scope["query_string"] == b"q=%20+%C3%BC"


async def test_a_name_is_taken_while_the_task_is_there_and_for_a_day_after(
    either_client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, clock: ManualClock
) -> None:
    named = http(name=f"{queue}/tasks/once")
    await either_client.create_task(parent=queue, task=named)
    with pytest.raises(exceptions.AlreadyExists, match="Requested entity already exists"):
        await either_client.create_task(parent=queue, task=named)
    await tasks.drain()
    with pytest.raises(exceptions.AlreadyExists):
        await either_client.create_task(parent=queue, task=named)
    clock.advance(timedelta(hours=24) - timedelta(microseconds=1))
    with pytest.raises(exceptions.AlreadyExists):
        await either_client.create_task(parent=queue, task=named)
    clock.advance(timedelta(microseconds=1))
    await either_client.create_task(parent=queue, task=named)
    await either_client.delete_task(name=named["name"])
    with pytest.raises(exceptions.AlreadyExists):
        await either_client.create_task(parent=queue, task=named)


async def test_names_that_are_free_again_take_no_room(
    client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, clock: ManualClock
) -> None:
    kept = tasks._engine.queues[queue]
    for number in range(3):
        await client.create_task(parent=queue, task=http(name=f"{queue}/tasks/t{number}"))
        await tasks.drain()
        clock.advance(timedelta(hours=10))
    assert list(kept.gone_names) == ["t0", "t1", "t2"]
    await client.get_queue(name=queue)
    assert list(kept.gone_names) == ["t1", "t2"]
    clock.advance(timedelta(hours=24))
    await client.get_queue(name=queue)
    assert list(kept.gone_names) == []


async def test_how_long_a_name_is_taken_can_be_chosen(clock: ManualClock) -> None:
    tasks = TasksEmulator(clock=clock, dedup_window=timedelta(minutes=1))
    queue, client = tasks.create_queue("q"), tasks.client()
    named = http(name=f"{queue}/tasks/once")
    await client.create_task(parent=queue, task=named)
    await client.delete_task(name=named["name"])
    clock.advance(timedelta(minutes=1))
    await client.create_task(parent=queue, task=named)
    with pytest.raises(ValueError, match="dedup_window"):
        TasksEmulator(dedup_window=timedelta(seconds=-1))


async def test_a_task_that_is_gone_is_not_found(
    either_client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str
) -> None:
    name = f"{queue}/tasks/t"
    for rpc in ("get_task", "delete_task", "run_task"):
        with pytest.raises(exceptions.NotFound, match="Requested entity was not found"):
            await getattr(either_client, rpc)(name=name)
    await either_client.create_task(parent=queue, task=http(name=name))
    await either_client.delete_task(name=name)
    for rpc in ("get_task", "delete_task", "run_task"):
        with pytest.raises(exceptions.NotFound, match="a task with this name existed recently"):
            await getattr(either_client, rpc)(name=name)
        with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
            await getattr(either_client, rpc)(name=name.replace("default", "other"))
    assert await tasks.drain() == 0


async def test_an_unknown_queue_takes_no_tasks(either_client: CloudTasksAsyncClient, queue: str) -> None:
    with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
        await either_client.create_task(parent=f"{queue}-2", task=http())
    with pytest.raises(exceptions.NotFound, match="Queue does not exist"):
        await either_client.list_tasks(parent=f"{queue}-2")
    with pytest.raises(exceptions.InvalidArgument, match="Queue name must be formatted"):
        await either_client.create_task(parent="default", task=http())


async def test_tasks_are_listed_page_by_page_though_some_go_meanwhile(
    either_client: CloudTasksAsyncClient, queue: str
) -> None:
    names = [f"{queue}/tasks/t{number}" for number in range(7)]
    for name in names:
        await either_client.create_task(parent=queue, task=http(name=name))
    pages = (await either_client.list_tasks(request={"parent": queue, "page_size": 3})).pages
    found = []
    async for page in pages:
        found.append([task.name for task in page.tasks])
        if len(found) == 1:
            await either_client.delete_task(name=names[2])
            await either_client.delete_task(name=names[4])
    assert found == [names[:3], [names[3], names[5], names[6]]]


async def test_a_page_of_full_tasks_is_no_larger_than_clients_take(
    either_client: CloudTasksAsyncClient, queue: str
) -> None:
    for _ in range(8):
        await either_client.create_task(parent=queue, task=http(body=b"x" * 1_000_000))
    request = {"parent": queue, "response_view": Task.View.FULL}
    pages = [page async for page in (await either_client.list_tasks(request=request)).pages]
    assert sum(len(page.tasks) for page in pages) == 8
    assert len({task.name for page in pages for task in page.tasks}) == 8
    assert len(pages) > 2


async def test_a_task_lives_for_31_days_at_most(
    either_client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, clock: ManualClock
) -> None:
    await either_client.pause_queue(name=queue)
    old = await either_client.create_task(parent=queue, task=http())
    clock.advance(timedelta(days=1))
    young = await either_client.create_task(parent=queue, task=http())
    clock.advance(timedelta(days=30))
    with pytest.raises(exceptions.NotFound):
        await either_client.get_task(name=old.name)
    await either_client.get_task(name=young.name)
    await either_client.resume_queue(name=queue)
    assert await tasks.drain() == 1


async def test_two_emulators_know_nothing_of_each_other(clock: ManualClock) -> None:
    first, second = TasksEmulator(clock=clock), TasksEmulator(clock=clock)
    first.create_queue("q")
    second.create_queue("q")


async def test_clearing_forgets_everything_but_the_counters(
    client: CloudTasksAsyncClient, tasks: TasksEmulator, queue: str, worker: RecordingWorker
) -> None:
    await client.create_task(parent=queue, task=http(name=f"{queue}/tasks/t"))
    tasks.clear()
    with pytest.raises(exceptions.NotFound):
        await client.get_queue(name=queue)
    assert await tasks.drain() == 0
    assert tasks.create_queue("default") == queue
    await client.create_task(parent=queue, task=http(name=f"{queue}/tasks/t"))
    assert await tasks.drain() == 1
    assert tasks.counts.rpcs["CreateTask"] == 2
