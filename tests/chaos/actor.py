"""`Actor`: one life of one of the application's processes, and what it stands on."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import sys
import threading
from collections.abc import Callable, Coroutine, Sequence
from dataclasses import dataclass
from datetime import timedelta
from multiprocessing import connection, parent_process
from random import Random
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport
from google.cloud.tasks_v2 import CloudTasksAsyncClient
from google.cloud.tasks_v2.services.cloud_tasks.transports import CloudTasksGrpcAsyncIOTransport
from grpc import aio

from eventbox import EventBox
from eventbox.log import EventLog
from eventbox.tasks import TaskQueue, sweeper, task_queue
from eventbox.transaction import Concurrency
from tests.chaos.journal import Journal
from tests.chaos.setting import PROJECT, Setting

FRESH = timedelta(seconds=3)
"""How long a reminder is left to who has written it, and is put off at first when the sweeper cannot create its task: a
minute outside of here, where nobody waits for it."""

CHANNEL = [("grpc.max_receive_message_length", -1), ("grpc.max_reconnect_backoff_ms", 500)]
"""gRPC's own patience grows to two minutes, which no server that is begun anew within a second asks for."""

LOG = "logs/main"


@dataclass(frozen=True)
class Actor:
    """What a role is given."""

    setting: Setting
    name: str
    life: int
    journal: Journal
    queue: TaskQueue
    log: EventLog
    rng: Random
    listening: socket.socket

    @property
    def box(self) -> EventBox:
        return self.queue.box


Role = Callable[[Actor], Coroutine[Any, Any, None]]


def live(
    setting: Setting, name: str, life: int, roles: Sequence[str], listening: socket.socket, log: str
) -> None:
    """What the process does, until it is killed. An error ends it with exit code 1, and its traceback in its log."""
    _end_with_parent()
    output = os.open(log, os.O_CREAT | os.O_WRONLY | os.O_APPEND, 0o644)
    for stream in (1, 2):
        os.dup2(output, stream)
    os.environ["GRPC_VERBOSITY"] = "NONE"
    logging.basicConfig(level=logging.WARNING, stream=sys.stderr)
    vars(task_queue)["FRESH"] = vars(sweeper)["_FIRST_DELAY"] = FRESH
    from tests.chaos.mistakes import plant
    from tests.chaos.roles import ROLES

    plant(setting.mistake)
    asyncio.run(_play(setting, name, life, [ROLES[role] for role in roles], listening))


async def _play(
    setting: Setting, name: str, life: int, roles: Sequence[Role], listening: socket.socket
) -> None:
    journal = Journal(setting.journals, name, life)
    logging.getLogger("asyncio").addHandler(_Unheard(journal))
    rng = Random(f"{setting.seed} {name} {life}")
    environment = setting.environment
    locks = setting.pessimistic and rng.random() < 1 / 3
    concurrency: Concurrency = "pessimistic" if locks else "optimistic"
    client = firestore_client(environment.firestore)
    box = EventBox(client, concurrency=concurrency, share_emits=rng.random() < 0.5)
    queue = TaskQueue(
        cloud_tasks_client(environment.tasks),
        environment.queue_name,
        target=environment.target,
        service_account=environment.service_account,
        box=box,
        shards=2,
    )
    log = EventLog(box, box.client.document(LOG))
    actor = Actor(setting, name, life, journal, queue, log, rng, listening)
    journal.write("up")
    async with asyncio.TaskGroup() as group:
        for role in roles:
            group.create_task(role(actor))


def firestore_client(address: str) -> AsyncClient:
    """google's client on the emulator at an address."""
    client = AsyncClient(project=PROJECT, credentials=AnonymousCredentials())
    transport = FirestoreGrpcAsyncIOTransport(channel=aio.insecure_channel(address, options=CHANNEL))
    client._firestore_api_internal = FirestoreAsyncClient(transport=transport)
    return client


def cloud_tasks_client(address: str) -> CloudTasksAsyncClient:
    """google's client on the emulator at an address."""
    channel = aio.insecure_channel(address, options=CHANNEL)
    return CloudTasksAsyncClient(transport=CloudTasksGrpcAsyncIOTransport(channel=channel))


class _Unheard(logging.Handler):
    """Writes down what asyncio complains of: an exception that nobody has heard of, a task that was lost."""

    def __init__(self, journal: Journal) -> None:
        super().__init__(logging.ERROR)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        self._journal.write("unheard", message=self.format(record)[:4_000])


def _end_with_parent() -> None:
    parent = parent_process()
    assert parent is not None

    def end() -> None:
        connection.wait([parent.sentinel])
        os._exit(1)

    threading.Thread(target=end, daemon=True).start()
