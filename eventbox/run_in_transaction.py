"""Running a function in a transaction, again where a concurrent writer was faster."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from datetime import timedelta
from random import Random
from typing import TypeVar

from google.cloud.firestore_v1.async_client import AsyncClient

from dsset.clock import Clock
from dsset.retry import Backoff
from eventbox.awaited import check_awaitable
from eventbox.commit import commit
from eventbox.errors import ContentionError
from eventbox.transaction import Concurrency, Transaction

T = TypeVar("T")

_PATIENCE = timedelta(minutes=10)
"""Bounds the waits between attempts; the number of attempts ends them long before."""


async def run_in_transaction(
    fn: Callable[[Transaction], Awaitable[T]],
    *,
    client: AsyncClient,
    clock: Clock,
    rng: Random,
    concurrency: Concurrency,
    attempts: int,
) -> T:
    """See `EventBox.run_in_transaction`."""
    backoff = Backoff(clock, rng, _PATIENCE)
    previous = b""
    for attempt in range(1, attempts + 1):
        # the server keeps the place in line of the transaction that is tried again
        transaction = Transaction(client, clock=clock, rng=rng, concurrency=concurrency, retry_of=previous)
        try:
            return await _attempt(fn, transaction)
        except ContentionError as error:
            if transaction._ended == "left":
                raise  # the function's own, from something else that it ran
            if attempt == attempts:
                raise ContentionError(f"gave up after {attempts} attempts: {error}") from error.__cause__
            previous = transaction._server_id
            await backoff.wait()
    raise AssertionError("unreachable: the last attempt returns or raises")  # pragma: no cover


async def _attempt(fn: Callable[[Transaction], Awaitable[T]], transaction: Transaction) -> T:
    try:
        result = await check_awaitable(fn(transaction), "what is given to run_in_transaction")
        if transaction._aborted is not None:
            raise transaction._aborted
    except BaseException as error:
        aborted = transaction._aborted
        await transaction._end("left" if aborted is None else "aborted")
        if aborted is not None and isinstance(error, Exception):
            raise ContentionError(
                f"Firestore aborted a read in the transaction: {aborted.message}"
            ) from aborted
        raise
    await commit(transaction)
    return result
