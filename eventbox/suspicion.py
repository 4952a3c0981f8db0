"""Which failures of a batch one of its events may be to blame for."""

from __future__ import annotations

from dataclasses import dataclass

import grpc
from google.api_core.exceptions import (
    AlreadyExists,
    FailedPrecondition,
    GoogleAPICallError,
    InvalidArgument,
    NotFound,
)
from google.auth.exceptions import GoogleAuthError

from dsset import Listing
from dsset.retry import TRANSIENT, is_transient
from eventbox.errors import EventboxError, PrepareError
from eventbox.events import Event


@dataclass(frozen=True, slots=True)
class Suspicion:
    """A batch failed in what it made of its events, so one of them may be to blame.

    `events` are those that are left of the listing: without the garbage that the batch deleted.
    """

    error: Exception
    listing: Listing
    events: tuple[Event, ...]

    @property
    def removed(self) -> int:
        """How many events it deleted as garbage."""
        return len(self.listing.items) - len(self.events)


def may_be_an_events_fault(error: BaseException) -> bool:
    """Whether an error of `prepare_mutation` or of a side effect may come again for as long as the event is there.

    It may not where it, or one that it was raised from, is an outage or a time-out, which may be gone the next time; or
    one of eventbox's own, which tells of something else (contention, say; but not a `PrepareError`); or about
    credentials.
    """
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        if _is_no_events_fault(current):
            return False
        if isinstance(current, BaseExceptionGroup) and not all(
            may_be_an_events_fault(one) for one in current.exceptions
        ):
            return False
        current = current.__cause__
    return isinstance(error, Exception)


def may_be_an_events_refusal(error: GoogleAPICallError) -> bool:
    """Whether a commit may have been refused for what a side effect wrote, or for how much was written."""
    return isinstance(error, InvalidArgument | AlreadyExists | NotFound | FailedPrecondition)


def _is_no_events_fault(error: BaseException) -> bool:
    if isinstance(error, TimeoutError | ConnectionError | GoogleAuthError) or is_transient(error):
        return True
    if isinstance(error, grpc.RpcError):  # of a stub of the user's own
        code = getattr(error, "code", None)
        return callable(code) and code() in TRANSIENT
    return isinstance(error, EventboxError) and not isinstance(error, PrepareError)
