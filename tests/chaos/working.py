"""What makes events happen: workers that Cloud Tasks calls, others that look for themselves, and the sweeper."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from contextlib import suppress
from datetime import timedelta

import uvicorn
from google.api_core.exceptions import GoogleAPICallError
from google.cloud.firestore import Increment

from eventbox import EventboxError, Processor, Recipient
from eventbox.tasks import Auth, Sweeper, TaskRequest, Worker
from tests.account import Account
from tests.chaos.accounts import processor, recipient
from tests.chaos.actor import Actor
from tests.chaos.producing import TASK

_SWEEP_EVERY = timedelta(seconds=1)

_LOOK_EVERY = 0.1
"""Seconds, on average; a poller contends with the workers."""


async def work(actor: Actor) -> None:
    """Serve Cloud Tasks, as on Cloud Run."""
    environment = actor.setting.environment
    auth = Auth.verify(environment.target, environment.service_account, certs_url=environment.certs_url)
    worker = Worker(actor.box, actor.queue, auth=auth, max_events=50, longest_pause=timedelta(seconds=5))

    def make(to: Recipient, _: Mapping[str, str]) -> Processor[Account]:
        return processor(actor.queue, actor.journal, to)

    async def done(request: TaskRequest) -> None:
        document = actor.box.client.document(f"tasks/{request.body.decode()}")
        await document.set({"n": Increment(1)}, merge=True)

    for collection in ("accounts", "plain"):
        worker.recipient(f"{collection}/{{id}}", make, monitoring_string=collection)
    worker.task(TASK, done)
    await uvicorn.Server(uvicorn.Config(worker.app, log_config=None, access_log=False)).serve(
        sockets=[actor.listening]
    )


async def poll(actor: Actor) -> None:
    """Drain whatever account of the polled ones, unasked."""
    box, rng = actor.box, actor.rng
    while True:
        to = recipient(box.client, rng.choice(actor.setting.polled))
        with suppress(EventboxError, GoogleAPICallError):  # contention, or an outage
            if rng.random() < 0.5:
                await box.drain(to, processor(actor.queue, actor.journal, to), max_events=20)
            else:
                batch = await box.process_batch(to, processor(actor.queue, actor.journal, to), max_events=20)
                for post_process in batch:
                    await post_process()
        await asyncio.sleep(rng.uniform(0, 2 * _LOOK_EVERY))


async def sweep(actor: Actor) -> None:
    """Sweep, again and again."""
    await Sweeper(actor.queue).run(_SWEEP_EVERY)
