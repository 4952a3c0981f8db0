"""Who may call a worker, and that strangers learn and change nothing."""

from __future__ import annotations

import logging
import time
from collections.abc import AsyncIterator
from typing import Any

import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient
from google.oauth2.credentials import Credentials

from emulator.tasks.certs_server import certs_server
from emulator.tasks.oidc import Signer, claims
from eventbox import EventBox
from eventbox.tasks import Auth, Task, TaskQueue, TaskRequest, Worker
from tests.eventbox.support import emit, outstanding
from tests.eventbox.tasks.test_auth import SCHEDULER, STRANGER, TASKS, encoded
from tests.eventbox.tasks.worker.house import URL, WAKE, House, logged
from tests.eventbox.tasks.worker.requesting import Answered, call

PATHS = [WAKE, "/eventbox/sweep", "/emails", "/nothing", "/"]


@pytest.fixture(scope="module")
def signer() -> Signer:
    return Signer()


@pytest.fixture
async def house(signer: Signer) -> AsyncIterator[House]:
    """A worker that verifies tokens."""
    async with certs_server(signer, "127.0.0.1:0") as certs_url:
        auth = Auth.verify(URL, TASKS, sweep_service_account=SCHEDULER, certs_url=certs_url)
        yield House(auth=auth, service_account=TASKS)


async def post(
    house: House, path: str, token: str | None = None, body: bytes = b"", **options: Any
) -> Answered:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    return await call(house.worker.app, path, body, headers=headers, **options)


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_stranger_is_told_the_same_everywhere_and_nothing_is_done(
    house: House, signer: Signer, caplog: pytest.LogCaptureFixture, path: str, method: str
) -> None:
    async def handler(task: TaskRequest) -> None:
        raise AssertionError

    house.worker.task("/emails", handler)
    order = house.order()
    await emit(house.box, order, "a")
    house.firestore.counts.reset()
    body = house.wake_up(order)

    unknown = await post(house, path, None, body, method=method)
    invalid = await post(house, path, "a.b.c", body, method=method)
    foreign = await post(house, path, signer.token(STRANGER, URL), body, method=method)

    assert (unknown.status, invalid.status, foreign.status) == (401, 401, 403)
    assert unknown.headers["www-authenticate"].startswith("Bearer")
    assert unknown.body == invalid.body == b'{"outcome":"unauthenticated"}'
    assert not house.runs
    assert not house.firestore.counts.rpcs
    assert logged(caplog) == [
        ("unauthenticated", logging.WARNING),
        ("unauthenticated", logging.WARNING),
        ("forbidden", logging.WARNING),
    ]


async def test_the_queues_own_tokens_open_every_endpoint(house: House, signer: Signer) -> None:
    done = []

    async def handler(task: TaskRequest) -> None:
        done.append(task)

    house.worker.task("/emails", handler)
    order = house.order()
    token = signer.token(TASKS, URL)
    await emit(house.box, order, "a")

    assert (await post(house, WAKE, token, house.wake_up(order))).status == 200
    assert (await post(house, "/emails", token)).status == 200
    assert (await post(house, "/eventbox/sweep", token)).status == 200
    assert (await post(house, "/nothing", token)).status == 404
    assert not await outstanding(house.box, order)
    [task] = done
    assert "authorization" not in task.headers, "a handler's log must not spill tokens"


async def test_the_scheduler_may_sweep_only(house: House, signer: Signer) -> None:
    token = signer.token(SCHEDULER, URL)

    assert (await post(house, "/eventbox/sweep", token)).status == 200
    assert (await post(house, WAKE, token)).status == 403


async def test_tasks_of_the_queue_come_with_such_tokens(signer: Signer) -> None:
    # from creation to run, by the emulator's own signature
    house = House(service_account=TASKS)
    async with certs_server(house.cloud_tasks._signer, "127.0.0.1:0") as certs_url:
        auth = Auth.verify(URL, TASKS, certs_url=certs_url)
        worker = Worker(house.box, house.queue, auth=auth)
        done = []

        async def handler(task: TaskRequest) -> None:
            done.append(task.body)

        worker.task("/emails", handler)
        house.cloud_tasks.mount(URL, worker.app)
        await house.queue.enqueue(Task("/emails", b"hello"))
        await house.cloud_tasks.drain()

        assert done == [b"hello"]


async def test_a_worker_that_verifies_behind_iam_says_what_is_wrong(
    house: House, caplog: pytest.LogCaptureFixture
) -> None:
    token = f"{encoded({'alg': 'RS256', 'kid': 'k'})}.{encoded(claims(TASKS, URL, int(time.time())))}"

    answered = await post(house, WAKE, f"{token}.SIGNATURE_REMOVED_BY_GOOGLE")

    assert answered.status == 401
    assert logged(caplog) == [("unauthenticated", logging.ERROR)]
    assert "Auth.iam()" in caplog.text


async def test_without_googles_keys_it_is_a_failure_of_ours(
    signer: Signer, caplog: pytest.LogCaptureFixture
) -> None:
    house = House(auth=Auth.verify(URL, TASKS, certs_url="http://127.0.0.1:9/certs"))

    answered = await post(house, WAKE, signer.token(TASKS, URL))

    assert (answered.status, answered.outcome) == (500, "unavailable")
    assert ("unavailable", logging.WARNING) in logged(caplog)


async def test_no_log_holds_a_token(house: House, signer: Signer, caplog: pytest.LogCaptureFixture) -> None:
    good, bad = signer.token(STRANGER, URL), signer.token(TASKS, URL) + "x"
    for token in (good, bad):
        await post(house, WAKE, token)

    for token in (good, bad):
        assert token not in caplog.text
        assert token.rpartition(".")[2] not in caplog.text


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_everybody_may_ask_for_health(house: House, method: str) -> None:
    assert (await call(house.worker.app, "/healthz", method=method)).status == 200
    assert (await call(house.worker.app, "/healthz")).status == 405


async def test_a_worker_without_auth_on_real_credentials_is_not_made(house: House) -> None:
    real = EventBox(AsyncClient(project="demo", credentials=Credentials("token")))
    anonymous = EventBox(AsyncClient(project="demo", credentials=AnonymousCredentials()))

    with pytest.raises(ValueError, match="emulators only"):
        Worker(real, queue_of(house, real), auth=Auth.none())
    Worker(anonymous, queue_of(house, anonymous), auth=Auth.none())
    Worker(real, queue_of(house, real), auth=Auth.iam())


def queue_of(house: House, box: EventBox) -> TaskQueue:
    return TaskQueue(house.cloud_tasks.client(), house.queue_name, target=URL, service_account=None, box=box)


def test_there_is_no_default_for_who_may_call(house: House) -> None:
    with pytest.raises(TypeError):
        Worker(house.box, house.queue)  # type: ignore[call-arg]
    with pytest.raises(TypeError):
        Worker(house.box, house.queue, auth=None)  # type: ignore[arg-type]


def test_a_queue_of_another_database_is_refused(house: House) -> None:
    elsewhere = EventBox(house.firestore.client(project="another"))
    with pytest.raises(ValueError, match="every wake-up would be dropped"):
        Worker(elsewhere, house.queue, auth=Auth.none())
