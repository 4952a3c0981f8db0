"""Committing a transaction, and finding out what became of a commit whose answer was lost."""

from __future__ import annotations

import inspect
import logging
from collections.abc import Awaitable, Callable
from contextlib import suppress
from datetime import timedelta
from enum import Enum, auto
from typing import Any

from google.api_core.exceptions import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    GoogleAPICallError,
    InvalidArgument,
    NotFound,
)
from grpc import StatusCode

from dsset.documents import moment
from dsset.encoded_writes import how_many
from dsset.retry import Backoff, retry_transient
from dsset.wire import UNARY_TIMEOUT, Wire
from eventbox.errors import ContentionError, UnknownOutcomeError
from eventbox.transaction import COMMITTING, Gathered, GatherFn, Transaction

logger = logging.getLogger("eventbox")

TIMEOUT = timedelta(minutes=1)
"""How long it is tried to find out what became of a commit."""

_EVIDENCE_TIMEOUT = timedelta(seconds=10)
"""How long it is looked for what a commit leaves behind: the sweeper may have taken it away after a minute."""

LOST = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.INTERNAL,
        StatusCode.UNKNOWN,
        StatusCode.CANCELLED,
    }
)
"""Codes that come in place of an answer: the commit may have been carried out. After any other it was not."""

_BARELY_ANYTHING = ("eventbox_eversion",)


class Outcome(Enum):
    """What the database tells of a commit whose answer was lost."""

    DONE = auto()
    NEVER = auto()  # nor will it ever be carried out
    PENDING = auto()  # not yet: it may still arrive
    UNKNOWN = auto()


Resolve = Callable[[], Awaitable[Outcome]]
"""Asks the database what became of a commit."""


async def commit(transaction: Transaction, *, resolve: Resolve | None = None) -> Any:
    """Commit, and run the `on_commit` callbacks; the CommitResponse, or None where its answer was lost.

    A lost answer is resolved: the commit is sent again where it cannot be carried out twice, and where that one fails,
    `resolve` is asked.

    Raises:
        ContentionError: somebody else was faster; nothing happened.
        UnknownOutcomeError: the answer was lost, and nothing can tell.
        TransactionEndedError: it was rolled back before, by what it was handed to; nothing happened.
        GoogleAPICallError: Firestore refused it, say, for a precondition of the user's own; nothing happened.
    """
    transaction._require_open()  # its function may have let it be rolled back, and gone on
    staging = transaction._staging
    if staging.empty and not transaction._server_id:
        await transaction._end("committed")
        await _run_callbacks(transaction)
        return None
    writes = staging.writes()
    transaction._ended = COMMITTING  # what is written from now on would be lost
    try:
        response = await _send(transaction, writes, resolve)
    except BaseException:
        # cancelled, where it has not ended: whatever becomes of the commit, its locks must not stay
        await transaction._end("abandoned")
        raise
    if response is not None:
        transaction.commit_time = moment(response.commit_time)
    await transaction._end("committed")
    await _run_callbacks(transaction)
    return response


async def _send(transaction: Transaction, writes: list[Any], resolve: Resolve | None) -> Any:
    """Return (the response, or None) if the commit was carried out; raise if it was not, or nobody knows."""
    try:
        return await Wire.of(transaction._client).commit(writes, transaction=transaction._server_id)
    except GoogleAPICallError as error:
        if error.grpc_status_code in LOST:
            return await _find_out(transaction, writes, error, resolve)
        outcome = await _ask_about_ended(transaction, error, resolve)
        if outcome is Outcome.DONE:
            return None
        await transaction._end("aborted" if isinstance(error, Aborted) else "refused")
        if outcome is Outcome.NEVER:
            raise ContentionError(f"another writer was faster: {error}") from error
        raise await _refusal(transaction, error) from error


async def _find_out(
    transaction: Transaction, writes: list[Any], lost: GoogleAPICallError, resolve: Resolve | None
) -> Any:
    """Return (the response, or None) if the commit was carried out; raise if it was not, or nobody knows."""
    outcome = Outcome.UNKNOWN if writes else Outcome.NEVER  # without a write nothing can have happened
    too_late = False
    if writes and (transaction._staging.happens_once or transaction._server_id):
        backoff = Backoff(transaction._clock, transaction._rng, TIMEOUT)
        while await backoff.wait():
            try:
                return await Wire.of(transaction._client).commit(
                    writes, transaction=transaction._server_id, timeout=backoff.attempt_timeout
                )
            except GoogleAPICallError as error:
                # ABORTED says nothing about the one before it, unless a server transaction is at its end
                if error.grpc_status_code in LOST or (
                    isinstance(error, Aborted) and not transaction._server_id
                ):
                    continue
                lost.add_note(f"sent again, it was refused: {error}")
                too_late = _is_too_late(transaction, error)
                break
        if resolve is not None:
            with suppress(GoogleAPICallError):  # the outage goes on: nobody knows
                outcome = await resolve()
        if outcome is Outcome.PENDING and too_late:
            outcome = Outcome.NEVER
    if outcome is Outcome.UNKNOWN and transaction._evidence:
        outcome = await _look_for(transaction, transaction._evidence)
    if outcome is Outcome.DONE:
        return None
    await transaction._end("lost")
    if outcome is Outcome.NEVER:
        raise ContentionError(
            "the commit, whose answer was lost, was not carried out, and never will be"
        ) from lost
    raise UnknownOutcomeError(
        f"the answer to a commit of {how_many(writes)} writes was lost, and nothing tells whether it was carried out; "
        "look at the documents that it writes before you try again"
    ) from lost


async def _ask_about_ended(
    transaction: Transaction, error: Exception, resolve: Resolve | None
) -> Outcome | None:
    """What became of a commit that was refused since its server transaction has ended; None of any other.

    It was done where this was the second of two, since something on the way had sent it before: that is refused like
    one whose transaction has expired. Where that expired, somebody else may have been faster.
    """
    if not (transaction._server_id and isinstance(error, InvalidArgument)):
        return None
    with suppress(GoogleAPICallError):
        if resolve is not None:
            return await resolve()
        if transaction._evidence and await _is_there(transaction, transaction._evidence, UNARY_TIMEOUT):
            return Outcome.DONE
    return None


def _is_too_late(transaction: Transaction, error: GoogleAPICallError) -> bool:
    """Whether a commit that was refused when it was sent again will not be carried out by its first try any more."""
    if isinstance(error, Aborted | InvalidArgument):
        # aborted, or gone: expired, or forgotten by an emulator that was begun anew
        return bool(transaction._server_id)
    # somebody else has written to a document of ours, and its update time never comes back; a document that must not
    # exist is another matter (ALREADY_EXISTS): it may be deleted again
    ours = bool(transaction._staging.expectations) and not transaction._staging.has_foreign_preconditions
    return ours and isinstance(error, FailedPrecondition | NotFound)


async def _look_for(transaction: Transaction, evidence: str) -> Outcome:
    """What the document tells that the commit alone can have made. Its absence tells nothing: it may be late."""
    backoff = Backoff(transaction._clock, transaction._rng, _EVIDENCE_TIMEOUT)
    while await backoff.wait():
        with suppress(GoogleAPICallError):
            if await _is_there(transaction, evidence, backoff.attempt_timeout):
                return Outcome.DONE
    return Outcome.UNKNOWN


async def _is_there(transaction: Transaction, evidence: str, timeout: float) -> bool:
    """Whether the document is there; then the transaction was committed when it was made."""
    wire = Wire.of(transaction._client)
    responses = await wire.batch_get([evidence], mask=_BARELY_ANYTHING, timeout=timeout)
    if responses[evidence].WhichOneof("result") != "found":
        return False
    transaction.commit_time = moment(responses[evidence].found.create_time)
    return True


async def _refusal(transaction: Transaction, error: Exception) -> Exception:
    """What to raise for a commit that was surely not carried out."""
    if isinstance(error, Aborted):
        return ContentionError(f"Firestore aborted the transaction: {error}")
    staging = transaction._staging
    expectations = staging.expectations
    precondition_failed = isinstance(error, FailedPrecondition | NotFound | AlreadyExists)
    if not precondition_failed or not expectations:
        return error
    if staging.has_foreign_preconditions and await _hold(transaction, expectations):
        return error
    return ContentionError(f"another writer was faster: {error}")


async def _hold(transaction: Transaction, expectations: list[Any]) -> bool:
    """Whether all that we demanded ourselves is still so; then the precondition that failed is the user's."""
    names = [expectation.name for expectation in expectations]
    wire = Wire.of(transaction._client)
    responses = await retry_transient(
        lambda timeout: wire.batch_get(names, mask=_BARELY_ANYTHING, timeout=timeout),
        Backoff(transaction._clock, transaction._rng, TIMEOUT),
    )
    return all(expectation.holds(responses[expectation.name]) for expectation in expectations)


async def _run_callbacks(transaction: Transaction) -> None:
    gathered: set[GatherFn] = set()
    for callback in transaction._on_commit:
        try:
            if not isinstance(callback, Gathered):
                result = callback()
            elif callback.fn not in gathered:
                gathered.add(callback.fn)
                result = callback.fn(transaction, transaction._gathered(callback.fn))
            else:
                continue
            if inspect.isawaitable(result):
                await result
        except Exception:
            logger.exception("an on_commit callback failed; the commit stands")
