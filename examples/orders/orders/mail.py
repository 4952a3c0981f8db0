"""Letters to customers, each a task of its own."""

from __future__ import annotations

import logging

from pydantic import BaseModel

from eventbox.tasks import TaskRequest

logger = logging.getLogger("orders.mail")


class Letter(BaseModel):
    """What a customer is told."""

    to: str
    subject: str
    order: str

    def encode(self) -> bytes:
        """The body of its task."""
        return self.model_dump_json().encode()


async def send_letter(request: TaskRequest) -> None:
    """Hand a letter to the mail provider: put yours here.

    A task runs at least once. Its name stays the same, so give it to your provider as idempotency key. What is raised
    here lets Cloud Tasks try again later.
    """
    letter = Letter.model_validate_json(request.body)
    logger.info("sent %s: %s to %s: %s", request.name, letter.order, letter.to, letter.subject)
