"""Asking for sweeps every minute, as Cloud Scheduler does: by a task, so that the worker can tell who calls."""

from __future__ import annotations

import asyncio
import logging
from datetime import timedelta

from google.api_core.exceptions import GoogleAPICallError
from google.cloud import tasks_v2

from eventbox.dev.environment import Environment
from eventbox.tasks import tasks_client

logger = logging.getLogger("eventbox.dev")

_TIMEOUT_S = 10.0


async def ask_for_sweeps(environment: Environment, interval: timedelta) -> None:
    """Ask at once and then every `interval`, until cancelled."""
    client = tasks_client()
    request = tasks_v2.HttpRequest(
        url=f"{environment.target}/eventbox/sweep",
        http_method=tasks_v2.HttpMethod.POST,
        oidc_token=tasks_v2.OidcToken(
            service_account_email=environment.service_account, audience=environment.target
        ),
    )
    try:
        while True:
            try:
                await client.create_task(
                    parent=environment.sweep_queue_name,
                    task=tasks_v2.Task(http_request=request),
                    timeout=_TIMEOUT_S,
                )
            except GoogleAPICallError as error:
                logger.warning("no sweep could be asked for: %s", error)
            await asyncio.sleep(interval.total_seconds())
    finally:
        await client.transport.close()
