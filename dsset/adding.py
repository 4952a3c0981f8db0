"""Adding items outside a transaction, where each item stands alone and answers get lost.

An item's document is created if it is absent. Only where something lies there already is it looked at: an add's own
token (its first try went through), another's (a duplicate), or a tombstone that has expired by the server's own times
(revived, on condition that it is still the one looked at). Each step may be repeated after any failure.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from enum import Enum, auto
from random import Random
from typing import Any, TypeAlias

from google.api_core.exceptions import GoogleAPICallError, InvalidArgument, from_grpc_status
from grpc import StatusCode

from dsset import documents
from dsset.clock import Clock
from dsset.errors import AddError
from dsset.items import Item
from dsset.retry import TRANSIENT, Backoff, is_transient, retry_transient
from dsset.wire import Wire

MAX_WRITES = 500
"""Writes in one BatchWrite: Firestore's limit."""

MAX_BYTES = 8 * 1024 * 1024
"""Bytes of values in one BatchWrite, or of writes in a transaction."""

MAX_REQUEST_BYTES = MAX_BYTES + MAX_WRITES * 2 * 1024
"""Bytes of one BatchWrite with all that is around the values: leaves room below the 10 MiB of a request."""

_GRAIN = timedelta(milliseconds=1)
"""Commit times only rise, so that of a pop may run ahead of the clock by a little: a delay is as long as that says."""

_PARALLEL = 4
_CODES = {code.value[0]: code for code in StatusCode}
LOOK_AT = ("token", "due")
"""The fields that tell what lies there."""

Outcome: TypeAlias = bool | GoogleAPICallError
"""Whether an item was new, or why it could not be added."""


class _Next(Enum):
    CREATE = auto()
    LOOK = auto()
    REVIVE = auto()
    DONE = auto()


@dataclass(slots=True)
class Adding:
    """How far one item has come; `outcome` is whether it was new, or the error that ended it."""

    name: str  # of the document
    item: Item
    next: _Next = field(default=_Next.CREATE, init=False)
    version: Any = field(default=None, init=False)  # of the tombstone to revive
    outcome: Outcome | None = field(default=None, init=False)

    @property
    def looks(self) -> bool:
        """Whether what lies there has to be looked at next."""
        return self.next is _Next.LOOK

    def finish(self, outcome: Outcome) -> None:
        """Called once, as soon as the outcome is known: for some before others are looked at or tried again."""
        self.next, self.outcome = _Next.DONE, outcome

    def write(self, token: bytes) -> Any:
        """The write that would add it now."""
        if self.next is _Next.REVIVE:
            return documents.revive(self.name, self.item, token, self.version)
        return documents.create(self.name, self.item, token)

    def written(self, code: StatusCode, message: str) -> bool:
        """Take in the write's status; True where it has to be tried again after a wait."""
        if code is StatusCode.OK:
            self.finish(True)
        elif code in (StatusCode.ALREADY_EXISTS, StatusCode.FAILED_PRECONDITION, StatusCode.NOT_FOUND):
            self.next = _Next.LOOK
        elif code in TRANSIENT:
            return True
        else:
            self.finish(from_grpc_status(code, message))
        return False

    def looked(self, response: Any, token: bytes, tombstones_delay: timedelta) -> None:
        """Take in what lies there."""
        if response.WhichOneof("result") == "missing":
            self.next = _Next.CREATE
            return
        found = response.found
        if found.fields["token"].bytes_value == token:
            self.finish(True)
            return
        age = documents.moment(response.read_time) - documents.moment(found.update_time)
        if found.fields["due"].integer_value == documents.GONE and age + _GRAIN >= tombstones_delay:
            self.next, self.version = _Next.REVIVE, found.update_time
        else:
            self.finish(False)


def told(items: Sequence[Item], positions: Sequence[int], outcomes: Sequence[Outcome]) -> list[bool]:
    """For each item whether it was new, from the outcomes of those at these positions: the first of each ID.

    Raises:
        AddError: some could not be added.
    """
    results: list[bool | None] = [False] * len(items)
    errors: dict[int, Exception] = {}
    for position, outcome in zip(positions, outcomes, strict=True):
        if isinstance(outcome, GoogleAPICallError):
            errors[position] = outcome
            results[position] = None
        else:
            results[position] = outcome
    if errors:
        failed = {items[position].id: error for position, error in errors.items()}
        for position, item in enumerate(items):
            if item.id in failed:  # the copies of what failed are not known to be in the set either
                errors[position], results[position] = failed[item.id], None
        raise AddError(results, errors) from next(iter(errors.values()))
    return [bool(result) for result in results]


async def add_each(
    wire: Wire,
    adding: list[Adding],
    token: bytes,
    *,
    tombstones_delay: timedelta,
    clock: Clock,
    rng: Random,
    timeout: timedelta,
) -> None:
    """Add the items, whose documents differ; `outcome` says of each whether it was new, or why it could not be added.

    One BatchWrite for each 500 items or 8 MiB; where something lies there already, one read each and one more RPC. A
    request that is refused as a whole is sent again in halves, down to the items that are to blame.
    """
    chunks = list(_chunks(adding)) if len(adding) > 1 else [adding]
    if len(chunks) == 1:
        await add_chunk(wire, adding, token, tombstones_delay, Backoff(clock, rng, timeout))
    else:
        slots = asyncio.Semaphore(_PARALLEL)

        async def add_in_turn(chunk: list[Adding]) -> None:
            async with slots:
                await add_chunk(wire, chunk, token, tombstones_delay, Backoff(clock, rng, timeout))

        async with asyncio.TaskGroup() as group:
            for chunk in chunks:
                group.create_task(add_in_turn(chunk))


async def add_single(
    wire: Wire, name: str, item: Item, token: bytes, tombstones_delay: timedelta, backoff: Backoff
) -> Outcome:
    """Whether the item was new, or why it could not be added: `add_chunk` of one, at less work for its first try.

    That is almost always the last one, and all that an emit does.
    """
    retried: GoogleAPICallError | None
    try:
        response = await wire.batch_write(
            [documents.create(name, item, token)], timeout=backoff.attempt_timeout
        )
    except GoogleAPICallError as error:
        if not is_transient(error):
            return error
        adding, retried = Adding(name, item), error
    else:
        status = response.status[0]
        if not status.code:
            return True
        adding = Adding(name, item)
        retried = _take_in(adding, status)
    if retried is not None and not await backoff.wait():
        return retried
    await add_chunk(wire, [adding], token, tombstones_delay, backoff)
    assert adding.outcome is not None
    return adding.outcome


async def add_chunk(
    wire: Wire, chunk: list[Adding], token: bytes, tombstones_delay: timedelta, backoff: Backoff
) -> None:
    """As `add_each`, of items that fit one BatchWrite."""
    while chunk:
        error = await _write(wire, chunk, token, backoff)
        looking = [one for one in chunk if one.next is _Next.LOOK]
        if looking:  # before any wait: they have not failed
            await _look(wire, looking, token, tombstones_delay, backoff)
        chunk = [one for one in chunk if one.next is not _Next.DONE]
        if error is not None and not await backoff.wait():
            for one in chunk:
                one.finish(error)
            return


async def _write(
    wire: Wire, chunk: list[Adding], token: bytes, backoff: Backoff
) -> GoogleAPICallError | None:
    """Try to add what is to be written; the error after which something has to be tried again, if any."""
    writing = [one for one in chunk if one.next is _Next.CREATE or one.next is _Next.REVIVE]
    if not writing:
        return None
    try:
        response = await wire.batch_write(
            [one.write(token) for one in writing], timeout=backoff.attempt_timeout
        )
    except GoogleAPICallError as error:
        if is_transient(error):
            return error
        if isinstance(error, InvalidArgument) and len(writing) > 1:
            # one of the items may be to blame for the whole request
            middle = len(writing) // 2
            first = await _write(wire, writing[:middle], token, backoff)
            return await _write(wire, writing[middle:], token, backoff) or first
        for one in writing:
            one.finish(error)
        return None
    transient = None
    for one, status in zip(writing, response.status, strict=True):
        if not status.code:
            one.finish(True)
        else:
            transient = _take_in(one, status) or transient
    return transient


def _take_in(one: Adding, status: Any) -> GoogleAPICallError | None:
    """Take in the status of a write that failed; the error after which it has to be tried again, if any."""
    code = _CODES.get(status.code, StatusCode.UNKNOWN)
    return from_grpc_status(code, status.message) if one.written(code, status.message) else None


async def _look(
    wire: Wire, looking: list[Adding], token: bytes, tombstones_delay: timedelta, backoff: Backoff
) -> None:
    names = [one.name for one in looking]
    try:
        responses = await retry_transient(
            lambda timeout: wire.batch_get(names, mask=LOOK_AT, timeout=timeout), backoff
        )
    except GoogleAPICallError as error:
        for one in looking:
            one.finish(error)
        return
    for one in looking:
        one.looked(responses[one.name], token, tombstones_delay)


def _chunks(adding: list[Adding]) -> Iterator[list[Adding]]:
    chunk: list[Adding] = []
    size = 0
    for one in adding:
        write_bytes = len(one.name) + len(one.item.value) + 1_024  # the other fields and the framing
        if chunk and (len(chunk) == MAX_WRITES or size + write_bytes > MAX_REQUEST_BYTES):
            yield chunk
            chunk, size = [], 0
        chunk.append(one)
        size += write_bytes
    yield chunk
