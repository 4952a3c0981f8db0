"""A recipient's quarantine: where events lie that made its processor fail again and again."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Iterable, Sequence
from datetime import timedelta
from functools import partial
from random import Random
from typing import Any

from google.api_core.exceptions import (
    Aborted,
    AlreadyExists,
    FailedPrecondition,
    GoogleAPICallError,
    NotFound,
    ServiceUnavailable,
    from_grpc_status,
)
from grpc import StatusCode

from dsset import DSSet, documents, protos
from dsset.adding import MAX_WRITES
from dsset.clock import Clock
from dsset.items import check_id
from dsset.retry import TRANSIENT, Backoff, is_transient, retry_transient
from dsset.wire import Wire
from eventbox import quarantined_event
from eventbox.attempts import Attempts
from eventbox.commit import LOST, TIMEOUT, Outcome, commit
from eventbox.errors import ContentionError
from eventbox.failure import Failure
from eventbox.quarantined_event import QuarantinedEvent
from eventbox.recipient import Recipient
from eventbox.telemetry import Telemetry
from eventbox.tombstones import ask_tombstones
from eventbox.transaction import Concurrency, Transaction

QUARANTINE = "eventbox_quarantine"
"""The collection ID of every quarantine: indexes and TTL policies are declared for it."""

_PAGE = 100
_REQUEUED_AT_ONCE = 8
"""So many events of the greatest size fit into a commit (10 MiB)."""
_PARALLEL = 4
_TRANSIENT_CODES = {code.value[0] for code in TRANSIENT}
_NOT_FOUND: int = StatusCode.NOT_FOUND.value[0]
_EXISTS = protos.Precondition(exists=True)


class Quarantine:
    """The quarantine of one recipient, and the attempts of its events that are not in it yet.

    `retention`: how long an event stays in it; None: for ever.
    """

    def __init__(
        self,
        recipient: Recipient,
        inbox: DSSet,
        *,
        retention: timedelta | None,
        clock: Clock,
        rng: Random,
        concurrency: Concurrency,
        telemetry: Telemetry,
    ) -> None:
        self._recipient = recipient
        self._inbox = inbox
        self.attempts = Attempts(recipient, clock=clock, rng=rng)
        self._client = recipient.ref._client
        self._parent: str = recipient.ref._document_path
        self._retention = retention
        self._clock = clock
        self._rng = rng
        self._concurrency: Concurrency = concurrency
        self._telemetry = telemetry

    async def set_aside(self, failure: Failure, attempts: int) -> bool:
        """Move an event from the inbox to the quarantine; False where it is no longer as it was listed.

        One commit takes it out of the inbox as a batch does, which fails if anybody else has consumed it, puts it into
        the quarantine, and forgets its attempts.

        Cost: 1 RPC, 2 writes, 1 delete.
        """
        with self._telemetry.setting_aside(self._recipient, failure.event):
            event = failure.event
            token = self._rng.randbytes(16)
            transaction = Transaction(
                self._client, clock=self._clock, rng=self._rng, concurrency=self._concurrency, token=token
            )
            transaction._consume(self._inbox.removals(failure.listing, [event.id], token=token))
            # a clock that lags must not let TTL take it early: the server's time is a lower bound
            now = max(self._clock.now(), failure.listing.read_time)
            expire_at = None if self._retention is None else now + self._retention
            transaction._staging.add(
                quarantined_event.encode(self._name(event.id), failure, attempts, expire_at)
            )
            transaction._staging.add(protos.Write(delete=self.attempts.document_name(event)))

            async def resolve() -> Outcome:
                told = await ask_tombstones(self._inbox, failure.listing, [event.id], token)
                return told or Outcome.UNKNOWN

            try:
                await commit(transaction, resolve=resolve)
            except ContentionError:
                return False
            self._telemetry.quarantined(self._recipient, failure, attempts)
            return True

    async def list(self) -> list[QuarantinedEvent]:
        """All of them, the oldest first."""
        found = [quarantined_event.decode(document) async for document in self._documents()]
        return sorted(found, key=lambda one: (one.quarantined_at, one.event.id))

    async def requeue(self, ids: Iterable[str]) -> int:
        """Put events back into the inbox; how many."""
        chosen = check_ids(ids)
        slots = asyncio.Semaphore(_PARALLEL)

        async def requeue(some: Sequence[str]) -> int:
            async with slots:
                return await self._requeue(some)

        chunks = [chosen[at : at + _REQUEUED_AT_ONCE] for at in range(0, len(chosen), _REQUEUED_AT_ONCE)]
        moved = 0
        for result in await asyncio.gather(*map(requeue, chunks), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
            moved += result
        return moved

    async def discard(self, ids: Iterable[str]) -> int:
        """Delete events; how many."""
        return await self._delete([self._name(event_id) for event_id in check_ids(ids)])

    async def purge(self) -> int:
        """Delete all events; how many."""
        names = [document.name async for document in self._documents(names_only=True)]
        return await self._delete(names)

    async def _requeue(self, ids: Sequence[str]) -> int:
        """Put some back in one commit, whose preconditions let it happen once however often it is sent."""
        wire, backoff = Wire.of(self._client), Backoff(self._clock, self._rng, TIMEOUT)
        sent: set[str] = set()  # and nobody knows whether it was carried out
        while True:
            names = {self._name(event_id): event_id for event_id in ids}
            responses, states = await asyncio.gather(
                retry_transient(partial(self._read, [*names]), backoff),
                self._inbox.states(ids),
            )
            found = {
                event_id: responses[name].found
                for name, event_id in names.items()
                if responses[name].WhichOneof("result") == "found"
            }
            moved = len(sent - found.keys())
            writes = []
            for event_id, document in found.items():
                state = states[event_id]
                if state is not None and not state.gone:
                    continue  # the ID was used again, and that event is outstanding: this one has to wait for it
                item = documents.decode(documents.as_listed(document))
                writes += [
                    self._inbox.restoring(item, state),
                    _delete_write(document.name, protos.Precondition(update_time=document.update_time)),
                    protos.Write(
                        delete=self.attempts.document_name(quarantined_event.decode(document).event)
                    ),
                ]
            if not writes:
                return moved
            try:
                await wire.commit(writes, timeout=backoff.attempt_timeout)
            except GoogleAPICallError as error:
                if error.grpc_status_code in LOST:
                    sent |= found.keys()
                elif not isinstance(error, Aborted | FailedPrecondition | NotFound | AlreadyExists):
                    raise
                if not await backoff.wait():
                    raise
            else:
                return moved + len(writes) // 3

    async def _read(self, names: Sequence[str], timeout: float) -> dict[str, Any]:
        return await Wire.of(self._client).batch_get(names, timeout=timeout)

    async def _delete(self, names: Sequence[str]) -> int:
        wire = Wire.of(self._client)
        deleted = 0
        for start in range(0, len(names), MAX_WRITES):
            backoff = Backoff(self._clock, self._rng, TIMEOUT)
            deleted += await _delete_each(wire, names[start : start + MAX_WRITES], backoff)
        return deleted

    async def _documents(self, *, names_only: bool = False) -> AsyncIterator[Any]:
        query = protos.StructuredQuery(limit={"value": _PAGE})
        query.from_.add(collection_id=QUARANTINE)
        query.order_by.add(
            field=protos.StructuredQuery.FieldReference(field_path="__name__"),
            direction=protos.StructuredQuery.Direction.ASCENDING,
        )
        if names_only:
            query.select.fields.add(field_path="__name__")
        while True:
            page = await retry_transient(
                partial(self._read_page, query), Backoff(self._clock, self._rng, TIMEOUT)
            )
            for document in page:
                yield document
            if len(page) < _PAGE:
                return
            query.start_at.CopyFrom(
                protos.Cursor(values=[protos.Value(reference_value=page[-1].name)], before=False)
            )

    async def _read_page(self, query: Any, timeout: float) -> Sequence[Any]:
        responses = Wire.of(self._client).run_query(self._parent, query, timeout=timeout)
        return [response.document async for response in responses if response.HasField("document")]

    def _name(self, event_id: str) -> str:
        return f"{self._parent}/{QUARANTINE}/{documents.document_id(event_id)}"


def check_ids(ids: object) -> list[str]:
    """The IDs, each once; TypeError or ValueError where one is none."""
    if isinstance(ids, str | bytes) or not isinstance(ids, Iterable):
        raise TypeError(f"ids must be several event IDs, such as a list of them, not {ids!r:.100}")
    return list(dict.fromkeys(check_id(event_id) for event_id in ids))


async def _delete_each(wire: Wire, names: Iterable[str], backoff: Backoff) -> int:
    """Delete documents; how many there were. After a lost answer, what is gone counts as ours."""
    deleted, lost, left = 0, False, list(names)
    while left:
        writes = [_delete_write(name, _EXISTS) for name in left]
        try:
            response = await wire.batch_write(writes, timeout=backoff.attempt_timeout)
        except GoogleAPICallError as error:
            lost = lost or error.grpc_status_code in LOST
            if not is_transient(error) or not await backoff.wait():
                raise
            continue
        again = []
        for name, status in zip(left, response.status, strict=True):
            if status.code == 0 or (status.code == _NOT_FOUND and lost):
                deleted += 1
            elif status.code in _TRANSIENT_CODES:
                again.append(name)
            elif status.code != _NOT_FOUND:
                raise from_grpc_status(status.code, status.message)
        if again and not await backoff.wait():
            raise ServiceUnavailable(f"{len(again)} events could not be deleted from the quarantine")
        left = again
    return deleted


def _delete_write(name: str, precondition: Any) -> Any:
    return protos.Write(delete=name, current_document=precondition)
