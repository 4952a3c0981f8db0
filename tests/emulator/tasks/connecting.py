"""google's own client on a Cloud Tasks emulator in another process."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from google.cloud.tasks_v2 import CloudTasksAsyncClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from grpc import aio


@asynccontextmanager
async def connect(address: str) -> AsyncIterator[CloudTasksAsyncClient]:
    """A client by gRPC, without credentials."""
    async with aio.insecure_channel(address) as channel:
        yield CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))
