"""`tasks_client`: google's client for Cloud Tasks, or for an emulator of it."""

from __future__ import annotations

import os

from google.cloud.tasks_v2 import CloudTasksAsyncClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from grpc import aio

VARIABLE = "CLOUD_TASKS_EMULATOR_HOST"


def tasks_client() -> CloudTasksAsyncClient:
    """google's own asynchronous client.

    Where CLOUD_TASKS_EMULATOR_HOST is set (to "host:port"), it speaks to the emulator there, without credentials;
    otherwise to Cloud Tasks, with the application's default credentials. Call it inside a running event loop, and close
    it by `await client.transport.close()`.

    Raises:
        google.auth.exceptions.DefaultCredentialsError: there is no emulator, and there are no credentials.
    """
    host = os.environ.get(VARIABLE)
    if not host:
        return CloudTasksAsyncClient()
    return CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=aio.insecure_channel(host)))
