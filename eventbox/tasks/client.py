"""`tasks_client`: google's client for Cloud Tasks, or for an emulator of it."""

from __future__ import annotations

import os
from functools import cached_property
from typing import Any

import google.auth
from google.cloud.tasks_v2 import CloudTasksAsyncClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from grpc import aio

VARIABLE = "CLOUD_TASKS_EMULATOR_HOST"


def tasks_client() -> CloudTasksAsyncClient:
    """google's own asynchronous client.

    Where CLOUD_TASKS_EMULATOR_HOST is set (to "host:port"), it speaks to the emulator there, without credentials;
    otherwise to Cloud Tasks, with the application's default credentials. It connects when it is used first, so it may
    be made where no event loop runs, as when a module is imported; from then on it belongs to that loop. Close it by
    `await client.transport.close()`.

    Raises:
        google.auth.exceptions.DefaultCredentialsError: there is no emulator, and there are no credentials.
    """
    host = os.environ.get(VARIABLE)
    return _LateClient(host, None if host else google.auth.default()[0])


class _LateClient(CloudTasksAsyncClient):  # type: ignore[misc]
    """Makes its channel at its first use: a channel belongs to the event loop that it is made in.

    Servers import an application before they start their loop (uvicorn does), and a channel
    that was made there fails at every call.
    """

    def __init__(self, host: str | None, credentials: Any) -> None:
        self._host = host
        self._credentials = credentials

    @cached_property
    def _client(self) -> Any:
        """What all methods of google's class go through."""
        if self._host:
            channel = aio.insecure_channel(self._host)
            return CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))._client
        return CloudTasksAsyncClient(credentials=self._credentials)._client
