"""A worker in one file. Run it by `eventbox dev counters:app`; then: curl -X POST localhost:8000/counters/a/5"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass

from fastapi import FastAPI
from google.cloud.firestore import AsyncClient

from eventbox import DocumentProcessor, Event, EventBox, Mutation, Recipient, Transition
from eventbox.tasks import Auth, TaskQueue, Worker, tasks_client


@dataclass(frozen=True)
class Counter:
    total: int = 0


class Count(DocumentProcessor[Counter]):
    def __init__(self, recipient: Recipient) -> None:
        super().__init__(recipient, Counter)

    async def prepare_mutation(self, events: Sequence[Event], state: Counter) -> Mutation[Counter]:
        if not events:
            return Mutation()
        total = state.total + sum(int(event.value) for event in events)
        return Mutation([Transition(Counter(total), events=events)])


client = AsyncClient()
box = EventBox(client)
queue = TaskQueue(
    tasks_client(),
    os.environ["EVENTBOX_QUEUE"],
    target=os.environ["EVENTBOX_TARGET"],
    service_account=os.environ["EVENTBOX_SERVICE_ACCOUNT"],
    box=box,
)
auth = Auth.verify(
    os.environ["EVENTBOX_TARGET"],
    os.environ["EVENTBOX_SERVICE_ACCOUNT"],
    certs_url=os.environ.get("EVENTBOX_CERTS_URL"),  # `eventbox dev` sets it; Google's own by default
)
worker = Worker(box, queue, auth=auth)
worker.recipient("counters/{id}", lambda recipient, _: Count(recipient), monitoring_string="counter")

app = FastAPI(lifespan=worker.lifespan)


@app.post("/counters/{name}/{number}", status_code=202)
async def add(name: str, number: int) -> None:
    await queue.send(str(number).encode(), Recipient(client.document(f"counters/{name}"), "counter"))


@app.get("/counters/{name}")
async def show(name: str) -> dict[str, int]:
    snapshot = await client.document(f"counters/{name}").get()
    return {"total": (snapshot.to_dict() or {}).get("total", 0)}


app.mount("/", worker.app)
