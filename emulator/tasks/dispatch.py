"""What is delivered to a worker, and what came of it: the seam between the engine and whatever carries the request."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Protocol

from grpc import StatusCode


@dataclass(frozen=True, slots=True)
class Delivery:
    """One HTTP request to a worker, complete: nothing is added to its headers but Host and Content-Length.

    `headers` have the case that whoever created the task gave them. Past its `deadline`, the worker is not listened to
    any more.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes
    deadline: timedelta


@dataclass(frozen=True, slots=True)
class Attempt:
    """What came of a delivery.

    Args:
        status: the answer's HTTP status; None: there was no answer.
        failure: without an answer, why: UNAVAILABLE (no connection, or one that broke), DEADLINE_EXCEEDED, or another.
        message: without an answer, the same in words.
        retry_after: what the answer's Retry-After asks for.
    """

    status: int | None
    failure: StatusCode = StatusCode.UNAVAILABLE
    message: str = ""
    retry_after: timedelta | None = None

    @property
    def succeeded(self) -> bool:
        """Whether the worker has done the task."""
        return self.status is not None and 200 <= self.status < 300


class Dispatcher(Protocol):
    """Carries deliveries to a worker."""

    async def dispatch(self, delivery: Delivery) -> Attempt:
        """Deliver, and wait for the answer or the deadline; raises nothing for what the worker or the network does."""
        ...
