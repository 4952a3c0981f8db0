from __future__ import annotations

import base64
import json
from datetime import timedelta

import pytest
from google.cloud.tasks_v2 import CloudTasksAsyncClient

from emulator.manual_clock import ManualClock
from emulator.tasks import TasksEmulator
from tests.emulator.tasks.recording_worker import WORKER, RecordingWorker, http
from tests.emulator.tasks.waiting import until

ACCOUNT = "worker@demo.iam.gserviceaccount.com"


async def test_the_first_attempt_has_these_headers_and_no_others(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    clock.advance(timedelta(microseconds=1_234_567))
    await client.create_task(
        parent=queue, task=http(name=f"{queue}/tasks/task-1", body=b"hello", headers={"X-Own": "kept"})
    )
    await tasks.drain()
    assert worker.requests[0].headers == {
        "host": "worker.example",
        "content-length": "5",
        "user-agent": "Google-Cloud-Tasks",
        "x-own": "kept",
        "x-cloudtasks-queuename": "default",
        "x-cloudtasks-taskname": "task-1",
        "x-cloudtasks-taskretrycount": "0",
        "x-cloudtasks-taskexecutioncount": "0",
        "x-cloudtasks-tasketa": "1893456001.234567",
    }


async def test_retries_tell_what_went_before(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    worker.statuses.extend([503, 404, 200])
    await client.create_task(parent=queue, task=http())
    for _ in range(3):
        await tasks.drain()
        clock.advance(timedelta(seconds=1))
    told = [
        tuple(
            request.headers.get(f"x-cloudtasks-task{name}")
            for name in ("retrycount", "executioncount", "previousresponse", "retryreason")
        )
        for request in worker.requests
    ]
    # as recorded from the service: answers of 5xx are no executions, and the reason is there and empty
    assert told == [("0", "0", None, None), ("1", "0", "503", ""), ("2", "1", "404", "")]


async def test_a_retry_after_no_answer_tells_no_previous_response(
    tasks: TasksEmulator,
    client: CloudTasksAsyncClient,
    queue: str,
    worker: RecordingWorker,
    clock: ManualClock,
) -> None:
    async def hang(_: object) -> None:
        worker.before_answer = None
        await clock.sleep(timedelta(days=1))

    worker.before_answer = hang
    await client.create_task(parent=queue, task=http(dispatch_deadline=timedelta(seconds=15)))
    async with tasks.running():
        while len(worker.requests) < 2:
            clock.advance((await until(clock) or clock.now()) - clock.now())
    headers = worker.requests[1].headers
    assert headers["x-cloudtasks-taskretrycount"] == "1"
    assert headers["x-cloudtasks-taskexecutioncount"] == "0"
    assert "x-cloudtasks-taskpreviousresponse" not in headers


async def test_headers_of_the_services_own_cannot_be_given(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    given = {
        "Host": "elsewhere",
        "content-length": "99",
        "USER-AGENT": "me",
        "x-cloudtasks-taskname": "forged",
        "X-CloudTasks-Other": "forged",
        "X-Google-Own": "forged",
        "X-AppEngine-Own": "forged",
    }
    await client.create_task(parent=queue, task=http(headers=given, http_method="GET"))
    await tasks.drain()
    headers = worker.requests[0].headers
    assert headers["host"] == "worker.example"
    assert headers["user-agent"] == "Google-Cloud-Tasks"
    assert "content-length" not in headers
    assert "forged" not in headers.values()


async def test_an_oidc_token_names_the_account_and_the_audience(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    token = {"service_account_email": ACCOUNT}
    await client.create_task(
        parent=queue, task=http("/a?b=c", oidc_token=token, headers={"authorization": "mine"})
    )
    await client.create_task(parent=queue, task=http(oidc_token={**token, "audience": "https://service"}))
    await tasks.drain()
    claims = [_claims(request.headers["authorization"]) for request in worker.requests]
    assert [claim["aud"] for claim in claims] == [f"{WORKER}/a?b=c", "https://service"]
    assert {claim["email"] for claim in claims} == {ACCOUNT}


async def test_an_access_token_is_made_up(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker
) -> None:
    await client.create_task(parent=queue, task=http(oauth_token={"service_account_email": ACCOUNT}))
    await tasks.drain()
    assert worker.requests[0].headers["authorization"] == f"Bearer emulated-access-token-of-{ACCOUNT}"


@pytest.mark.parametrize("method", ["POST", "GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_every_method_is_used_as_asked_for(
    tasks: TasksEmulator, client: CloudTasksAsyncClient, queue: str, worker: RecordingWorker, method: str
) -> None:
    await client.create_task(parent=queue, task=http(http_method=method))
    await tasks.drain()
    assert worker.requests[0].method == method
    assert "content-type" not in worker.requests[0].headers


def _claims(authorization: str) -> dict[str, str]:
    part = authorization.removeprefix("Bearer ").split(".")[1]
    claims: dict[str, str] = json.loads(base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)))
    return claims
