"""A queue's own HTTP target goes before what its tasks say."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.tasks_v2 import CloudTasksAsyncClient, Queue
from google.protobuf import field_mask_pb2

from emulator.tasks import TasksEmulator
from tests.emulator.tasks.recording_worker import RecordingWorker

PARENT = "projects/demo/locations/us-central1"
QUEUE = f"{PARENT}/queues/targeted"
TASK = "https://task.example:8443/path?q=1"
ACCOUNT = "worker@demo.iam.gserviceaccount.com"


async def create(client: CloudTasksAsyncClient, **target: Any) -> Queue:
    return await client.create_queue(parent=PARENT, queue={"name": QUEUE, "http_target": target})


async def delivered(tasks: TasksEmulator, url: str, *, expected: int = 1, **request: Any) -> Any:
    """What arrives of a task, wherever it goes."""
    workers = {}
    for host in ("task.example", "queue.example"):
        for scheme in ("http", "https"):
            for port in ("", ":8443", ":99"):
                workers[f"{scheme}://{host}{port}"] = worker = RecordingWorker()
                tasks.mount(f"{scheme}://{host}{port}", worker)
    await tasks.client().create_task(parent=QUEUE, task={"http_request": {"url": url, **request}})
    assert await tasks.drain() == expected
    ((base, arrived),) = [(base, worker.requests[0]) for base, worker in workers.items() if worker.requests]
    query = arrived.scope["query_string"].decode()
    return f"{base}{arrived.path}{'?' * bool(query)}{query}", arrived


@pytest.mark.parametrize(
    ("override", "url", "expected"),
    [
        ({"host": "queue.example"}, TASK, "https://queue.example:8443/path?q=1"),
        ({"scheme": "HTTP"}, TASK, "http://task.example:8443/path?q=1"),
        ({"port": 99}, TASK, "https://task.example:99/path?q=1"),
        ({"port": 0}, TASK, "https://task.example/path?q=1"),
        ({"path_override": {"path": "other"}}, TASK, "https://task.example:8443/other?q=1"),
        ({"path_override": {"path": ""}}, TASK, "https://task.example:8443/?q=1"),
        ({"query_override": {"query_params": "a=b"}}, TASK, "https://task.example:8443/path?a=b"),
        ({"query_override": {}}, TASK, "https://task.example:8443/path"),
        (
            {
                "uri_override_enforce_mode": "IF_NOT_EXISTS",
                "host": "queue.example",
                "scheme": "HTTP",
                "port": 99,
                "path_override": {"path": "/other"},
                "query_override": {"query_params": "a=b"},
            },
            TASK,
            TASK,
        ),
        (
            {
                "uri_override_enforce_mode": "IF_NOT_EXISTS",
                "port": 99,
                "path_override": {"path": "/other"},
                "query_override": {"query_params": "a=b"},
            },
            "https://task.example",
            "https://task.example:99/other?a=b",
        ),
    ],
)
async def test_the_queue_says_where_its_tasks_go(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, override: dict[str, Any], url: str, expected: str
) -> None:
    await create(client, uri_override=override)
    assert (await delivered(tasks, url))[0] == expected


async def test_the_queue_says_how_its_tasks_are_sent(
    tasks: TasksEmulator, client: CloudTasksAsyncClient
) -> None:
    header = {"header": {"key": "X-Who", "value": "queue"}}
    token = {"service_account_email": ACCOUNT, "scope": "email"}
    await create(client, http_method="PUT", header_overrides=[header], oauth_token=token)
    _, arrived = await delivered(
        tasks,
        TASK,
        headers={"x-who": "task", "x-own": "kept"},
        body=b"x",
        oidc_token={"service_account_email": "another"},
    )
    assert (arrived.method, arrived.body) == ("PUT", b"x")
    assert (arrived.headers["x-who"], arrived.headers["x-own"]) == ("queue", "kept")
    assert arrived.headers["authorization"] == f"Bearer emulated-access-token-of-{ACCOUNT}"


@pytest.mark.parametrize("url", ["http://task.example:x/", "http://[::1/", "https://"])
async def test_a_url_that_makes_no_sense_fails_its_own_task_alone(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, url: str
) -> None:
    await create(client, uri_override={"query_override": {"query_params": "a=b"}})
    odd = await client.create_task(parent=QUEUE, task={"http_request": {"url": url}})
    assert (await delivered(tasks, TASK, expected=2))[0] == "https://task.example:8443/path?a=b"
    assert (await client.get_task(name=odd.name)).last_attempt.response_status.code == 3


async def test_a_method_without_body_leaves_it_out(
    tasks: TasksEmulator, client: CloudTasksAsyncClient
) -> None:
    await create(client, http_method="GET")
    _, arrived = await delivered(tasks, TASK, body=b"x")
    assert (arrived.method, arrived.body) == ("GET", b"")


async def test_a_target_can_be_set_and_taken_back(
    tasks: TasksEmulator, client: CloudTasksAsyncClient
) -> None:
    await create(client)
    mask = field_mask_pb2.FieldMask(paths=["http_target.uri_override.host"])
    target = {"uri_override": {"host": "queue.example"}}
    await client.update_queue(queue={"name": QUEUE, "http_target": target}, update_mask=mask)
    assert (await delivered(tasks, TASK))[0] == "https://queue.example:8443/path?q=1"
    await client.update_queue(
        queue={"name": QUEUE}, update_mask=field_mask_pb2.FieldMask(paths=["http_target"])
    )
    assert (await delivered(tasks, TASK))[0] == TASK


@pytest.mark.parametrize(
    ("target", "message"),
    [
        ({"uri_override": {"host": ""}}, "host cannot be empty"),
        ({"uri_override": {"host": "a/b"}}, "is no host"),
        ({"uri_override": {"port": -1}}, "is no port"),
        ({"uri_override": {"port": 65_536}}, "is no port"),
        ({"http_method": 99}, "http_method 99"),
        ({"header_overrides": [{"header": {"key": "a b", "value": ""}}]}, "no name of an HTTP header"),
        ({"oidc_token": {"service_account_email": ACCOUNT}}, "needs both"),
        ({"oauth_token": {"service_account_email": ACCOUNT}}, "needs both"),
    ],
)
async def test_a_target_that_breaks_a_rule_is_refused(
    client: CloudTasksAsyncClient, target: dict[str, Any], message: str
) -> None:
    with pytest.raises(exceptions.InvalidArgument, match=message):
        await create(client, **target)
