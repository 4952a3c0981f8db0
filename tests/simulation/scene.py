"""What the processes of the transfers share, outside of all of them: the recipients, and what was told."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from random import Random
from typing import Any

from google.cloud.firestore import AsyncClient

from eventbox import NewEvent, Recipient
from tests.simulation.ledger import Emission, Ledger
from tests.simulation.stage import Stage

Send = Callable[..., Awaitable[Any]]
"""`EventBox.emit`, or `TaskQueue.send`."""

Enqueue = Callable[..., Awaitable[None]]
"""`TaskQueue.enqueue`."""

TASK = "/marked"
"""The path of the tasks that transactions put on the queue."""


@dataclass
class Scene:
    """One history of transfers.

    Attributes:
        unruly: side effects may skip and fail, and preparing may fail.
        alone: there are wake-ups and nobody polls: what is sent has to wake whoever it is for.
        hooks: events that may be emitted again, by anybody, as webhooks are that come twice.
    """

    stage: Stage
    rng: Random
    recipients: list[str]
    alone: bool
    ledger: Ledger = field(default_factory=Ledger)
    unruly: bool = True
    hooks: list[tuple[str, NewEvent, Emission]] = field(default_factory=list)

    def check(self, promise: str, kept: bool, detail: str) -> None:
        """A promise was compared with what happened."""
        self.stage.checks[promise] += 1
        if not kept:
            self.stage.history.violate(promise, detail)


def recipient(client: AsyncClient, path: str) -> Recipient:
    return Recipient(client.document(path), path.partition("/")[0])


def trace_id(path: str, event_id: str) -> str:
    """Of the document that counts how often an event was applied."""
    return f"{path}|{event_id}".replace("/", "~")


def trace_path(id: str) -> str:
    """The recipient's path in a trace's ID."""
    return id.partition("|")[0].replace("~", "/")
