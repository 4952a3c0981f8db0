"""Removing items outside transactions, by blind writes that may be repeated."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

from google.api_core.exceptions import from_grpc_status

from dsset import documents
from dsset.adding import MAX_BYTES, MAX_WRITES
from dsset.clock import Clock
from dsset.retry import Backoff, retry_transient
from dsset.wire import Wire


async def remove_each(
    wire: Wire, writes: Sequence[Any], *, clock: Clock, rng: Random, timeout: timedelta
) -> None:
    """Carry out all writes, as many in an RPC as fit; after an error of any, all of its RPC again."""
    for chunk in documents.chunks(writes, max_writes=MAX_WRITES, max_bytes=MAX_BYTES):
        await retry_transient(partial(_write_each, wire, chunk), Backoff(clock, rng, timeout))


async def _write_each(wire: Wire, writes: Sequence[Any], timeout: float) -> None:
    response = await wire.batch_write(writes, timeout=timeout)
    for status in response.status:
        if status.code:
            raise from_grpc_status(status.code, status.message)
