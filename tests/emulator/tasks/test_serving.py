"""`TasksEmulator.serving`: gRPC for any client, dispatching in the background, and certificates."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack

import aiohttp
import pytest
from google.api_core import exceptions

from emulator.tasks import Fault, TasksEmulator
from tests.emulator.tasks.connecting import connect
from tests.emulator.tasks.raw_worker import raw_worker
from tests.emulator.tasks.recording_worker import WORKER, RecordingWorker
from tests.emulator.tasks.test_oidc import verify

EMAIL = "invoker@demo.iam.gserviceaccount.com"


async def test_what_comes_by_grpc_is_dispatched_in_the_background_over_http_and_to_mounted_applications() -> (
    None
):
    emulator, mounted = TasksEmulator(), RecordingWorker()
    queue = emulator.create_queue("default")
    emulator.mount(WORKER, mounted)
    ran = asyncio.Event()

    async def tell(_: object) -> None:
        ran.set()

    mounted.before_answer = tell
    async with raw_worker() as worker, emulator.serving() as address, connect(address) as client:
        for url in (worker.url, WORKER):
            await client.create_task(parent=queue, task={"http_request": {"url": f"{url}/x", "body": b"y"}})
        await worker.asked.wait()
        await ran.wait()
    assert worker.requests[0].startswith(b"POST /x HTTP/1.1\r\n")
    assert (mounted.paths, mounted.requests[0].body) == (["/x"], b"y")


async def test_a_worker_verifies_its_token_by_the_certificates_that_are_served() -> None:
    emulator, worker = TasksEmulator(), RecordingWorker()
    queue = emulator.create_queue("default")
    emulator.mount(WORKER, worker)
    token = {"service_account_email": EMAIL}
    async with emulator.serving():
        for audience in ({"audience": "https://x"}, {}):
            request = {"url": f"{WORKER}/run?a=b", "oidc_token": {**token, **audience}}
            await emulator.client().create_task(parent=queue, task={"http_request": request})
        await emulator.drain()
        tokens = [one.headers["authorization"].removeprefix("Bearer ") for one in worker.requests]
        assert (await verify(tokens[0], emulator.certs_url, "https://x"))["email"] == EMAIL
        # without one, the audience is the URL of the task
        await verify(tokens[1], emulator.certs_url, f"{WORKER}/run?a=b")
        with pytest.raises(ValueError, match="wrong audience"):
            await verify(tokens[1], emulator.certs_url, "https://x")


async def test_certificates_are_where_they_are_wanted_while_it_serves() -> None:
    emulator = TasksEmulator()
    async with emulator.serving(certs_address="127.0.0.1:0"):
        url = emulator.certs_url
        address = url.removeprefix("http://").partition("/")[0]
        with pytest.raises(OSError, match="address already in use"):
            async with TasksEmulator().serving(certs_address=address):
                pass
    with pytest.raises(RuntimeError, match="not serving"):
        emulator.certs_url  # noqa: B018
    async with emulator.serving(certs_address=address), aiohttp.ClientSession() as session:
        assert emulator.certs_url == url
        async with session.get(url) as response:
            assert len(await response.json()) == 1


async def test_of_two_that_serve_the_one_that_is_left_has_the_certificates() -> None:
    emulator = TasksEmulator()
    async with AsyncExitStack() as first, AsyncExitStack() as second:
        await first.enter_async_context(emulator.serving())
        await second.enter_async_context(emulator.serving())
        url = emulator.certs_url
        await first.aclose()
        assert emulator.certs_url == url
    with pytest.raises(RuntimeError, match="not serving"):
        emulator.certs_url  # noqa: B018


async def test_a_task_that_is_under_way_when_serving_ends_is_dispatched_again_when_it_begins_anew() -> None:
    emulator = TasksEmulator()
    queue = emulator.create_queue("default")
    async with raw_worker() as worker:
        worker.answer = None
        async with emulator.serving() as address, connect(address) as client:
            await client.create_task(parent=queue, task={"http_request": {"url": worker.url}})
            await worker.asked.wait()
        worker.asked.clear()
        async with emulator.serving():
            await worker.asked.wait()
    assert len(worker.requests) == 2


async def test_over_grpc_faults_strike_and_errors_have_their_codes() -> None:
    emulator = TasksEmulator()
    queue = emulator.create_queue("default")
    async with emulator.serving() as address, connect(address) as client:
        emulator.faults.add(Fault(rpc="GetQueue", error="PERMISSION_DENIED"))
        with pytest.raises(exceptions.PermissionDenied):
            await client.get_queue(name=queue)
        with pytest.raises(exceptions.NotFound):
            await client.create_task(parent=f"{queue}-2", task={"http_request": {"url": WORKER}})
        assert (await client.get_queue(name=queue)).name == queue
        with pytest.raises(exceptions.MethodNotImplemented):
            await client.get_iam_policy(request={"resource": queue}, retry=None)


async def test_an_address_that_is_taken_is_an_os_error() -> None:
    async with TasksEmulator().serving() as address:
        with pytest.raises(OSError, match=f"cannot bind {address}"):
            async with TasksEmulator().serving(address):
                pass
