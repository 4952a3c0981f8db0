"""Every error of eventbox, by what the caller can do about it.

EventboxError
    ContentionError       somebody else was faster; nothing happened; try again later
    UnknownOutcomeError   the answer to a commit was lost, and nothing can tell whether it was carried out
    EmitError             some events could not be written; emit them again with the same IDs
    PrepareError          raised by a processor: fails, but names the garbage that it found
    SkipTransition        raised by a side effect: end the batch here, without this transition
    TransactionEndedError a transaction was used after it had ended

A bad argument is TypeError or ValueError, raised before any RPC is made. What Firestore itself refuses comes as
google.api_core raises it, and what your own code raises comes as it is.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from eventbox.events import Event, Receipt


class EventboxError(Exception):
    """The base of all errors of eventbox."""


class ContentionError(EventboxError):
    """A concurrent writer won: this batch or transaction changed nothing. Try again later, from the start.

    Raised for a version that has moved on, an event that somebody else consumed, and whatever Firestore itself
    aborted. The error that showed it is the `__cause__`, where there is one.
    """


class UnknownOutcomeError(EventboxError):
    """The answer to a commit was lost, and nothing in the database can tell whether it was carried out.

    It was carried out once or not at all. It is not sent again, since that might do it twice. The error that came
    in place of the answer is the `__cause__`.
    """


class EmitError(EventboxError):
    """Some events could not be written, though transient errors were retried until the time-out.

    `receipts` are those of the events that were written, in order; `errors` maps the positions of the others to what
    Firestore said. Whether those were written is not known: emit them again with the same IDs. The first of the
    errors is the `__cause__`.
    """

    def __init__(self, recipient: str, receipts: Sequence[Receipt], errors: Mapping[int, Exception]) -> None:
        super().__init__(recipient, receipts, errors)
        self.recipient = recipient
        self.receipts = list(receipts)
        self.errors = MappingProxyType(dict(errors))

    def __str__(self) -> str:
        total = len(self.receipts) + len(self.errors)
        first = next(iter(self.errors.values()), None)
        return (
            f"{len(self.errors)} of {total} events for {self.recipient} could not be written; emit them again with the "
            f"same IDs. The first error: {first}"
        )

    def __reduce__(self) -> tuple[type[EmitError], tuple[object, ...]]:
        return EmitError, (self.recipient, self.receipts, dict(self.errors))


class PrepareError(EventboxError):
    """Raise it in `prepare_mutation` to fail the batch and still have the garbage deleted that was found.

        raise PrepareError(garbage=stale) from error

    The caller of `process_batch` gets the cause, or the PrepareError itself where it has none.
    """

    def __init__(self, message: str = "", *, garbage: Sequence[Event] = ()) -> None:
        super().__init__(message or f"the batch could not be prepared; {len(garbage)} events were garbage")
        self.garbage = garbage

    def __reduce__(self) -> tuple[object, ...]:
        return _prepare_error, (self.args[0], self.garbage)


def _prepare_error(message: str, garbage: Sequence[Event]) -> PrepareError:
    return PrepareError(message, garbage=garbage)


class SkipTransition(EventboxError):
    """Raise it in a side effect to end the batch before this transition.

    What the side effect wrote is taken back. This transition and those after it are left out, and their events stay
    outstanding; the transitions before it are committed.
    """


class TransactionEndedError(EventboxError):
    """A transaction was read or written to after it had been committed, rolled back or aborted."""
