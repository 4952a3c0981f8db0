"""Queues on the emulator, for who develops: they try again soon, for the mistake is about to be mended."""

from __future__ import annotations

from datetime import timedelta

from google.api_core.exceptions import AlreadyExists
from google.cloud import tasks_v2
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from google.protobuf import duration_pb2
from grpc import aio

UNLIMITED = -1


async def create_queues(
    address: str, names: dict[str, int], *, min_backoff: timedelta, max_backoff: timedelta
) -> None:
    """Create queues that are not there yet, by their full names; each with how often it tries a task."""
    async with aio.insecure_channel(address) as channel:
        client = tasks_v2.CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))
        for name, attempts in names.items():
            queue = tasks_v2.Queue(
                name=name,
                retry_config=tasks_v2.RetryConfig(
                    max_attempts=attempts,
                    min_backoff=_duration(min_backoff),
                    max_backoff=_duration(max_backoff),
                ),
            )
            try:
                await client.create_queue(parent=name.rpartition("/queues/")[0], queue=queue)
            except AlreadyExists:  # kept from the last run
                await client.update_queue(queue=queue)


def _duration(value: timedelta) -> duration_pb2.Duration:
    duration = duration_pb2.Duration()
    duration.FromTimedelta(value)
    return duration
