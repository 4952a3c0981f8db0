"""How often events have failed by themselves, counted where it disturbs neither them nor the state.

Each such event has a document in the subcollection `eventbox_attempts` of its recipient:

    id         the event's ID
    attempts   in how many drains it has failed by itself; only ever incremented, blindly
    error      the latest error's type and message
    expire_at  when a TTL policy may remove it: a week after it was counted last

The document's ID is a hash of the event's ID and of when it was emitted: an ID that is used again is another event.
"""

from __future__ import annotations

import hashlib
import logging
from collections.abc import Sequence
from datetime import timedelta
from random import Random

from google.api_core.exceptions import GoogleAPICallError

from dsset import documents, protos
from dsset.adding import MAX_WRITES
from dsset.clock import Clock
from dsset.retry import Backoff, retry_transient
from dsset.wire import Wire
from eventbox.events import Event
from eventbox.failure import Failure
from eventbox.recipient import Recipient

logger = logging.getLogger("eventbox")

ATTEMPTS = "eventbox_attempts"
"""The collection ID of all attempts: indexes and TTL policies are declared for it."""

KEPT = timedelta(days=7)

_TIMEOUT = timedelta(seconds=10)
"""What reading them may take: they are a hint, and halving does without."""

_MAX_KNOWN = 1_000

_INCREMENT = protos.DocumentTransform.FieldTransform(
    field_path="attempts", increment=protos.Value(integer_value=1)
)


class Attempts:
    """The attempts of one recipient's events."""

    def __init__(self, recipient: Recipient, *, clock: Clock, rng: Random) -> None:
        self._recipient = recipient
        self._client = recipient.ref._client
        self._parent: str = recipient.ref._document_path
        self._clock = clock
        self._rng = rng

    def document_name(self, event: Event) -> str:
        """Where an event's attempts are counted."""
        return f"{self._parent}/{ATTEMPTS}/{_document_id(event)}"

    async def known(self) -> frozenset[str]:
        """The names of the documents of events that have failed by themselves before: at most 1,000, any of them.

        None where they cannot be read now.

        Cost: 1 RPC; 1 read each, at least 1.
        """
        query = protos.StructuredQuery(limit={"value": _MAX_KNOWN})
        query.select.fields.add(field_path="__name__")
        query.from_.add(collection_id=ATTEMPTS)

        async def read(timeout: float) -> frozenset[str]:
            responses = Wire.of(self._client).run_query(self._parent, query, timeout=timeout)
            return frozenset([one.document.name async for one in responses if one.HasField("document")])

        try:
            return await retry_transient(read, Backoff(self._clock, self._rng, _TIMEOUT))
        except GoogleAPICallError as error:
            logger.warning("cannot read which events of %s have failed before: %s", self._recipient, error)
            return frozenset()

    async def count(self, failures: Sequence[Failure]) -> dict[str, int]:
        """Count one attempt more for each event; how many there are now, by the events' IDs.

        It is tried once only, so that nothing is counted twice. What cannot be counted is logged and left out.

        Cost: 1 write each, in 1 RPC for each 500.
        """
        counts: dict[str, int] = {}
        for start in range(0, len(failures), MAX_WRITES):
            chunk = failures[start : start + MAX_WRITES]
            try:
                response = await Wire.of(self._client).batch_write([self._increment(one) for one in chunk])
            except GoogleAPICallError as error:
                logger.warning("cannot count the attempts at events of %s: %s", self._recipient, error)
                continue
            for one, status, result in zip(chunk, response.status, response.write_results, strict=True):
                if status.code:
                    logger.warning(
                        "cannot count an attempt at event %r of %s: %s",
                        one.event.id,
                        self._recipient,
                        status.message,
                    )
                else:
                    counts[one.event.id] = result.transform_results[0].integer_value
        return counts

    def _increment(self, failure: Failure) -> protos.Write:
        expire_at = max(self._clock.now(), failure.listing.read_time) + KEPT
        fields = {
            "id": protos.Value(string_value=failure.event.id),
            "error": protos.Value(string_value=failure.summary),
            "expire_at": documents.timestamp(expire_at),
        }
        return protos.Write(
            update=protos.Document(name=self.document_name(failure.event), fields=fields),
            update_mask=protos.DocumentMask(field_paths=list(fields)),
            update_transforms=[_INCREMENT],
        )


def _document_id(event: Event) -> str:
    emitted_at = documents.microseconds(event.emitted_at).to_bytes(9, signed=True)
    return hashlib.blake2b(event.id.encode() + emitted_at, digest_size=20).hexdigest()
