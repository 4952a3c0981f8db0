"""`tasks_client`: google's client, on an emulator where the environment names one."""

from __future__ import annotations

import asyncio
from typing import Any

import google.auth
import pytest
from google.auth.credentials import AnonymousCredentials
from google.auth.exceptions import DefaultCredentialsError
from google.cloud.tasks_v2 import CloudTasksAsyncClient, GetQueueRequest

from emulator.tasks import TasksEmulator
from eventbox.tasks import tasks_client
from eventbox.tasks.client import VARIABLE
from tests.eventbox.tasks.world import QUEUE


async def test_it_speaks_to_the_emulator_that_the_environment_names(monkeypatch: pytest.MonkeyPatch) -> None:
    emulator = TasksEmulator()
    emulator.create_queue(QUEUE)
    async with emulator.serving("127.0.0.1:0") as address:
        monkeypatch.setenv(VARIABLE, address)
        client = tasks_client()
        assert isinstance(client, CloudTasksAsyncClient)
        assert (await client.get_queue(GetQueueRequest(name=QUEUE))).name == QUEUE
        await client.transport.close()


def test_it_may_be_made_before_there_is_an_event_loop_as_by_an_import(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv(VARIABLE, "127.0.0.1:9")
    client = tasks_client()
    emulator = TasksEmulator()
    emulator.create_queue(QUEUE)

    async def use() -> str:
        async with emulator.serving("127.0.0.1:0") as address:
            client._host = address
            found = await client.get_queue(GetQueueRequest(name=QUEUE))
            await client.transport.close()
            return str(found.name)

    assert asyncio.run(use()) == QUEUE


def test_with_credentials_it_speaks_to_google(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(google.auth, "default", lambda *args, **kwargs: (AnonymousCredentials(), None))
    client = tasks_client()

    async def host() -> str:
        found = str(client.transport.host)
        await client.transport.close()
        return found

    assert asyncio.run(host()) == "cloudtasks.googleapis.com:443"


async def test_without_an_emulator_it_wants_the_applications_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def no_credentials(*args: Any, **kwargs: Any) -> Any:
        raise DefaultCredentialsError("none here")

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(google.auth, "default", no_credentials)
    with pytest.raises(DefaultCredentialsError):
        tasks_client()
