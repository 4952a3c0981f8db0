"""`KV`: a scope of keys and values under a document."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random, SystemRandom
from typing import Any

from google.cloud.firestore_v1.async_document import AsyncDocumentReference
from google.cloud.firestore_v1.async_transaction import AsyncTransaction

from dsset import documents, protos
from dsset.clock import Clock, SystemClock
from dsset.retry import Backoff, retry_transient
from dsset.wire import Wire
from eventbox.sources.arguments import check_bytes, check_ref, check_transaction

KVS = "eventbox_kv"
"""The collection of all scopes under a document; `scope`, by which one is listed, is its only indexed field."""

MAX_KEY_BYTES = 10_000
MAX_VALUE_BYTES = 900_000
_PAGE = 100
_TIMEOUT = timedelta(minutes=1)


@dataclass(frozen=True, slots=True)
class KVItem:
    """An entry of a scope. `written_at` is the server's time."""

    key: bytes
    value: bytes
    written_at: datetime


class KV:
    """Keys and values that no other scope reaches, whatever bytes are in prefixes and keys. `EventStore.kv` makes one.

    Args:
        ref: the document that it lies under.
        prefix: names the scope: any bytes, at most 10,000, also none.
        space: tells scopes of one prefix and different purposes apart; at most 16 bytes.

    A key is any bytes, at most 10,000; a value at most 900,000. Transient errors are retried for up to a minute. A
    `set` that was given up may still be carried out, after a later one: where that matters, set it in a transaction.
    """

    def __init__(
        self,
        ref: AsyncDocumentReference,
        prefix: bytes,
        *,
        space: bytes = b"",
        clock: Clock | None = None,
        rng: Random | None = None,
    ) -> None:
        check_ref(ref)
        check_bytes("prefix", prefix, MAX_KEY_BYTES)
        self._ref = ref
        self._client = ref._client
        self._clock = clock or SystemClock()
        self._rng = rng or SystemRandom()
        # of a fixed length, so that no key can be read as the rest of a longer prefix
        self._scope = hashlib.blake2b(prefix, digest_size=20, person=space).digest()

    async def get(self, key: bytes, *, transaction: AsyncTransaction | None = None) -> bytes | None:
        """The value; None where there is none. 1 RPC, 1 read."""
        document = self._document(key, transaction)
        if transaction is not None:
            snapshot = await document.get(transaction=transaction)
            return snapshot.get("value") if snapshot.exists else None
        name = document._document_path
        wire = Wire.of(self._client)
        responses = await retry_transient(
            lambda timeout: wire.batch_get([name], mask=["value"], timeout=timeout), self._backoff()
        )
        if responses[name].WhichOneof("result") == "missing":
            return None
        return bytes(responses[name].found.fields["value"].bytes_value)

    async def set(self, key: bytes, value: bytes, *, transaction: AsyncTransaction | None = None) -> None:
        """Set the value. 1 RPC and 1 write; in a transaction no RPC, and 1 write of its commit."""
        document = self._document(key, transaction)
        check_bytes("value", value, MAX_VALUE_BYTES)
        fields = {
            "scope": protos.Value(string_value=self._scope.hex()),
            "key": protos.Value(bytes_value=key),
            "value": protos.Value(bytes_value=value),
        }
        await self._write(
            protos.Write(update=protos.Document(name=document._document_path, fields=fields)), transaction
        )

    async def delete(self, key: bytes, *, transaction: AsyncTransaction | None = None) -> None:
        """Delete the key, if it is there. 1 RPC and 1 delete; in a transaction no RPC."""
        await self._write(protos.Write(delete=self._document(key, transaction)._document_path), transaction)

    async def items(self) -> AsyncIterator[KVItem]:
        """All entries of this scope, in no order. 1 RPC for each 100; 1 read an entry, at least 1."""
        after: str | None = None
        while True:
            page = await retry_transient(
                lambda timeout, after=after: self._page(after, timeout),  # type: ignore[misc]
                self._backoff(),
            )
            for document in page:
                yield KVItem(
                    bytes(document.fields["key"].bytes_value),
                    bytes(document.fields["value"].bytes_value),
                    documents.moment(document.update_time),
                )
            if len(page) < _PAGE:
                return
            after = page[-1].name

    async def _page(self, after: str | None, timeout: float) -> list[Any]:
        query = protos.StructuredQuery(limit={"value": _PAGE})
        query.from_.add(collection_id=KVS)
        condition = query.where.field_filter
        condition.field.field_path = "scope"
        condition.op = protos.StructuredQuery.FieldFilter.Operator.EQUAL
        condition.value.string_value = self._scope.hex()
        query.order_by.add(direction=1).field.field_path = "__name__"
        if after is not None:
            query.start_at.CopyFrom(protos.Cursor(values=[protos.Value(reference_value=after)], before=False))
        responses = Wire.of(self._client).run_query(self._ref._document_path, query, timeout=timeout)
        return [response.document async for response in responses if response.HasField("document")]

    async def _write(self, write: Any, transaction: AsyncTransaction | None) -> None:
        if transaction is not None:
            transaction._add_write_pbs([protos.wrap_write(write)])
            return
        wire = Wire.of(self._client)
        await retry_transient(lambda timeout: wire.commit([write], timeout=timeout), self._backoff())

    def _document(self, key: bytes, transaction: AsyncTransaction | None) -> AsyncDocumentReference:
        check_bytes("key", key, MAX_KEY_BYTES)
        check_transaction(transaction, self._ref)
        digest = hashlib.blake2b(self._scope + key, digest_size=20).hexdigest()
        return self._ref.collection(KVS).document(digest)

    def _backoff(self) -> Backoff:
        return Backoff(self._clock, self._rng, _TIMEOUT)
