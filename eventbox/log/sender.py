"""`Sender`: what a log needs to wake the worker that orders it."""

from __future__ import annotations

from datetime import datetime
from typing import Protocol

from eventbox.events import Receipt
from eventbox.recipient import Recipient
from eventbox.transaction import Transaction


class Sender(Protocol):
    """What sends an event and wakes who processes it; `eventbox.tasks.TaskQueue` is one."""

    async def send(
        self,
        value: bytes,
        to: Recipient,
        *,
        id: str | None = None,
        process_after: datetime | None = None,
        transaction: Transaction | None = None,
    ) -> Receipt:
        """Emit the event and wake the recipient."""
        ...
