"""The batch log: one record a batch, for who watches what a worker does.

The logger is `eventbox.batch` and the level DEBUG, so that nothing is made of it unless somebody asks. Each record has
these attributes besides the message:

    recipient          the recipient's path
    monitoring_string  what metrics call it
    events             how many events the processor was given
    removed            how many of them were consumed or were garbage
    transitions        how many transitions were committed
    seconds            how long it took, from loading to the commit, by the box's clock
    outcome            done; idle (nothing was to be done); contended (a concurrent writer won); failed
"""

from __future__ import annotations

import logging
from typing import Literal, TypeAlias

from eventbox.recipient import Recipient

logger = logging.getLogger("eventbox.batch")

BatchOutcome: TypeAlias = Literal["done", "idle", "contended", "failed"]


def log_batch(
    recipient: Recipient,
    *,
    outcome: BatchOutcome,
    seconds: float,
    events: int,
    removed: int = 0,
    transitions: int = 0,
) -> None:
    """Leave a record, where anybody reads it."""
    if not logger.isEnabledFor(logging.DEBUG):
        return
    logger.debug(
        "%s: %d events, %d transitions, %.1f ms, %s",
        recipient.path,
        events,
        transitions,
        seconds * 1_000,
        outcome,
        extra={
            "recipient": recipient.path,
            "monitoring_string": recipient.monitoring_string,
            "events": events,
            "removed": removed,
            "transitions": transitions,
            "seconds": seconds,
            "outcome": outcome,
        },
    )
