"""A worker in a process of its own, for tests: `app`, to be run by uvicorn.

Its batches are of one event. It writes `reached/{event}` when it has an event in hand; the event "slow" then takes
until the worker is told to stop, and "stuck" for ever, unless HURRY is set.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from datetime import timedelta
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient

from eventbox import Event, EventBox
from eventbox.tasks import Auth, TaskQueue, Worker, tasks_client
from tests.eventbox.support import Recording

client = AsyncClient(project="demo", credentials=AnonymousCredentials())
box = EventBox(client)
account = os.environ["ACCOUNT"]
queue = TaskQueue(
    tasks_client(), os.environ["QUEUE"], target=os.environ["TARGET"], service_account=account, box=box
)
worker = Worker(
    box,
    queue,
    auth=Auth.verify(os.environ["TARGET"], account, certs_url=os.environ["CERTS_URL"]),
    max_events=1,
    grace=timedelta(seconds=float(os.environ["GRACE_S"])),
)


class Telling(Recording):
    async def prepare_mutation(self, events: Sequence[Event], state: Any) -> Any:
        for event in events:
            await client.document(f"reached/{event.id}").set({"pid": os.getpid()})
            if "HURRY" in os.environ:
                continue
            while event.id == "stuck" or (event.id == "slow" and not worker._stopping.begun):  # noqa: ASYNC110
                await asyncio.sleep(0.01)
        return await super().prepare_mutation(events, state)


worker.recipient("orders/{order}", lambda order, params: Telling(order), monitoring_string="order")
app = worker.app
