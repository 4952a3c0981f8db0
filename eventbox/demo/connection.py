"""What each process of the demo stands on: a box and a queue, made from the environment as on Cloud Run."""

from __future__ import annotations

from google.cloud.firestore import AsyncClient

from eventbox import EventBox
from eventbox.dev.environment import Environment
from eventbox.tasks import TaskQueue, tasks_client


def connected_queue(environment: Environment) -> TaskQueue:
    """The queue, and its box, on what the environment variables name."""
    return TaskQueue(
        tasks_client(),
        environment.queue_name,
        target=environment.target,
        service_account=environment.service_account,
        box=EventBox(AsyncClient()),
    )
