"""`Outcome`: what can become of a request to a worker.

| outcome | status | logged at | when |
|---|---|---|---|
| done | 200 | DEBUG | all that was due is done, or a task's handler returned |
| left | 200 | DEBUG | work is left, and the next wake-up made: a bound was reached, or the worker is stopping |
| stuck | 200 | INFO | a run moved nothing of what is left; the next one comes later (from the 5th on: WARNING) |
| quarantined | 200 | WARNING | done, and events were set aside (each has a log at ERROR of its own) |
| contended | 200 | INFO | somebody else was faster, or is at it; a fresh wake-up made |
| late | 200 | WARNING | it came over a minute late; a fresh wake-up made that is never late |
| dropped | 200 | ERROR | it can never be done: unknown recipient, undecodable request, or `DropTask` |
| unavailable | 500 | WARNING | a transient error, such as of Firestore or a time-out; Cloud Tasks retries |
| failed | 500 | ERROR | any other error, such as of the user's code; Cloud Tasks retries |
| unauthenticated | 401 | WARNING | no token, or not a valid one (ERROR where the worker's settings are the reason) |
| forbidden | 403 | WARNING | a valid token of somebody else |
| unknown_path | 404 | WARNING | nothing is served there; Cloud Tasks retries, for a newer revision may serve it |
| wrong_method | 405 | WARNING | not a POST |

Never 429 or 503, which slow the whole queue down, but for the health check of a worker that is stopping.
"""

from __future__ import annotations

import logging
from dataclasses import dataclass, field
from enum import Enum

from eventbox.recipient import Recipient


class Kind(Enum):
    """What a request was about."""

    WAKE = "wake"
    TASK = "task"
    SWEEP = "sweep"
    OTHER = "other"


class Outcome(Enum):
    """What became of a request: its name in metrics and logs, the HTTP status, and the level of the log."""

    DONE = ("done", 200, logging.DEBUG)
    LEFT = ("left", 200, logging.DEBUG)
    STUCK = ("stuck", 200, logging.INFO)
    QUARANTINED = ("quarantined", 200, logging.WARNING)
    CONTENDED = ("contended", 200, logging.INFO)
    LATE = ("late", 200, logging.WARNING)
    DROPPED = ("dropped", 200, logging.ERROR)
    UNAVAILABLE = ("unavailable", 500, logging.WARNING)
    FAILED = ("failed", 500, logging.ERROR)
    UNAUTHENTICATED = ("unauthenticated", 401, logging.WARNING)
    FORBIDDEN = ("forbidden", 403, logging.WARNING)
    UNKNOWN_PATH = ("unknown_path", 404, logging.WARNING)
    WRONG_METHOD = ("wrong_method", 405, logging.WARNING)

    def __init__(self, label: str, status: int, level: int) -> None:
        self.label = label
        self.status = status
        self.level = level


@dataclass(frozen=True, slots=True)
class Answer:
    """What became of one request.

    `reason` is for the log and says what happened; `level` goes before the outcome's own. `document` is what the
    response says besides, as JSON.
    """

    outcome: Outcome
    reason: str
    error: BaseException | None = None
    recipient: Recipient | None = None
    level: int | None = None
    document: dict[str, object] = field(default_factory=dict)
