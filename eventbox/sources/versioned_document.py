"""`VersionedDocument`: a document that is replaced on condition of its version, whatever becomes of the answers.

The lock and the committer stand on it. Every write carries a fresh nonce, so that it really changes the document (a
write that changes nothing would keep the update time, which is the version), and so that a write whose answer was lost
can be told from another's.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import Any

from google.api_core.exceptions import AlreadyExists, FailedPrecondition, GoogleAPICallError, NotFound
from google.cloud.firestore_v1.async_client import AsyncClient

from dsset import documents, protos
from dsset.clock import Clock
from dsset.retry import Backoff, is_transient, retry_transient
from dsset.wire import Wire
from eventbox.commit import LOST

NONCE = "nonce"

_REFUSALS = (FailedPrecondition, AlreadyExists, NotFound)


@dataclass(frozen=True, slots=True)
class Found:
    """The document as it was read: no fields and no version where there is none."""

    fields: Mapping[str, Any]
    version: Any | None  # the update time, a Timestamp
    read_time: datetime

    def integer(self, field: str) -> int:
        """The field; 0 where it is missing."""
        # `in` first: reading an absent key of a protobuf map creates it
        return int(self.fields[field].integer_value) if field in self.fields else 0

    def bytes(self, field: str) -> bytes | None:
        """The field; None where it is missing."""
        return bytes(self.fields[field].bytes_value) if field in self.fields else None

    @property
    def age(self) -> timedelta:
        """How long ago it was written, by the server's times."""
        assert self.version is not None
        return self.read_time - documents.moment(self.version)


class VersionedDocument:
    """One document of a collection, under a hash of its key; it holds no connection and no state.

    Documents of one key and different roles (at most 16 bytes) are different documents.
    """

    def __init__(
        self, client: AsyncClient, collection: str, key: str, *, role: bytes = b"", clock: Clock, rng: Random
    ) -> None:
        self.id = hashlib.blake2b(key.encode(), digest_size=20, person=role).hexdigest()
        self._client = client
        self._name = f"{client._database_string}/documents/{collection}/{self.id}"
        self._clock = clock
        self._rng = rng

    async def read(self, timeout: timedelta) -> Found:
        """The document as it is now. 1 RPC, 1 read; transient errors are retried for up to `timeout`."""
        wire = Wire.of(self._client)
        responses = await retry_transient(
            lambda seconds: wire.batch_get([self._name], timeout=seconds),
            Backoff(self._clock, self._rng, timeout),
        )
        response = responses[self._name]
        read_time = documents.moment(response.read_time)
        if response.WhichOneof("result") == "missing":
            return Found({}, None, read_time)
        return Found(response.found.fields, response.found.update_time, read_time)

    async def replace(self, fields: Mapping[str, Any], version: Any | None, timeout: timedelta) -> Any | None:
        """Write the document if it is still at `version` (None: there is none); the new version, or None if not so.

        An answer that was lost is resolved: the document's nonce tells whose write is the last. The write is sent
        again while the document is still at `version`, which cannot carry it out twice.

        Raises:
            SupersededError: an answer was lost, and others have written since: it may have been carried out.
            GoogleAPICallError: Firestore refused it otherwise, or time is up; if the error is transient, nobody knows.

        Cost: 1 RPC and 1 write; 1 RPC and 1 read more for each lost answer.
        """
        nonce = self._rng.randbytes(12)
        condition = protos.Precondition(exists=False) if version is None else _at(version)
        write = protos.Write(
            update=protos.Document(
                name=self._name, fields={**fields, NONCE: protos.Value(bytes_value=nonce)}
            ),
            current_document=condition,
        )
        backoff = Backoff(self._clock, self._rng, timeout)
        lost = False
        while True:
            try:
                response = await Wire.of(self._client).commit([write], timeout=backoff.attempt_timeout)
                return response.write_results[0].update_time
            except GoogleAPICallError as error:
                lost = lost or error.grpc_status_code in LOST
                refused = isinstance(error, _REFUSALS)
                if not refused and not is_transient(error) and error.grpc_status_code not in LOST:
                    raise
                if refused and not lost:
                    return None
                if lost:
                    found = await self.read(timedelta(seconds=max(backoff.remaining, 0.001)))
                    if found.bytes(NONCE) == nonce:
                        return found.version
                    if found.version != version:
                        raise SupersededError from error
                if not await backoff.wait():
                    raise


class SupersededError(Exception):
    """The answer to a write was lost, and the document was written by others since."""


def _at(version: Any) -> Any:
    return protos.Precondition(update_time=version)
