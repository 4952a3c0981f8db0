"""`tasks_client`: google's client, on an emulator where the environment names one."""

from __future__ import annotations

from typing import Any

import pytest
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


async def test_without_an_emulator_it_wants_the_applications_credentials(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import google.auth
    from google.auth.exceptions import DefaultCredentialsError

    def no_credentials(*args: Any, **kwargs: Any) -> Any:
        raise DefaultCredentialsError("none here")

    monkeypatch.delenv(VARIABLE, raising=False)
    monkeypatch.setattr(google.auth, "default", no_credentials)
    with pytest.raises(DefaultCredentialsError):
        tasks_client()
