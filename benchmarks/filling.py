"""Putting data into an emulator before it is measured: by raw RPCs, several at a time.

What lies there afterwards is what `emit` and a batch of eventbox would have left there, and of the plain ways too.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from google.cloud.firestore import AsyncClient, AsyncDocumentReference

from benchmarks import plain
from dsset import documents, protos
from dsset.encoded_writes import text_entry, write_request
from dsset.items import Item

INBOX = "eventbox_inbox"

_WRITES = 500
_IN_FLIGHT = 4
_TOKEN = b"0123456789abcdef"
_EXPIRE_AT = datetime(2100, 1, 1, tzinfo=UTC)  # no TTL policy takes it meanwhile


class Filling:
    """Fills a client's database. Event IDs come from a counter of its own, so that none is used twice."""

    def __init__(self, client: AsyncClient) -> None:
        channel = client._firestore_api.transport.grpc_channel
        self._database: str = client._database_string
        self._metadata = (("google-cloud-resource-prefix", self._database),)
        self._commit = channel.unary_unary(
            "/google.firestore.v1.Firestore/Commit", request_serializer=None, response_deserializer=None
        )
        self._query = channel.unary_stream(
            "/google.firestore.v1.Firestore/RunQuery",
            request_serializer=protos.RunQueryRequest.SerializeToString,
            response_deserializer=None,
        )
        self._ids = map(str, itertools.count())

    async def recipient(
        self, ref: AsyncDocumentReference, state: Mapping[str, Any], events: int, value: bytes
    ) -> None:
        """Give a recipient its state, and so many outstanding events."""
        await self._write(itertools.chain([_set(ref, state)], self._events(ref, events, value)))
        await self._index([ref], documents.query_due(INBOX, documents.READY, 1))

    async def events(self, refs: Iterable[AsyncDocumentReference], each: int, value: bytes) -> None:
        """Give each of these recipients so many outstanding events more."""
        recipients = list(refs)
        await self._write(write for ref in recipients for write in self._events(ref, each, value))
        await self._index(recipients, documents.query_due(INBOX, documents.READY, 1))

    async def tombstones(self, ref: AsyncDocumentReference, count: int) -> None:
        """Give a recipient so many events that have been consumed, of which the tombstones are left."""
        common = documents.tombstone_entries(_TOKEN, _EXPIRE_AT)
        await self._write(self._tombstones(ref._document_path, common, count))

    async def plain(
        self, ref: AsyncDocumentReference, state: Mapping[str, Any], events: int, value: bytes
    ) -> None:
        """The same as `recipient` for an inbox of the plain ways."""
        prefix = f"{ref._document_path}/{plain.EVENTS}/"
        fields = {"value": protos.Value(bytes_value=value)}
        writes = (
            protos.Write(update=protos.Document(name=prefix + documents.document_id(id), fields=fields))
            for id in itertools.islice(self._ids, events)
        )
        await self._write(itertools.chain([_set(ref, state)], writes))
        query = protos.StructuredQuery(limit={"value": 1})
        query.from_.add(collection_id=plain.EVENTS)
        await self._index([ref], query)

    async def _index(self, refs: Iterable[AsyncDocumentReference], query: Any) -> None:
        """Let the index exist that a query needs below each of these.

        A database has it before there is anything to list; the emulator makes it when it is asked for first, which
        takes some microseconds an event, and is not what is to be measured.
        """

        async def worker(refs: Iterator[AsyncDocumentReference]) -> None:
            for ref in refs:
                request = protos.RunQueryRequest(parent=ref._document_path, structured_query=query)
                async for _ in self._query(request, metadata=self._metadata):
                    pass

        left = iter(refs)
        await asyncio.gather(*(worker(left) for _ in range(_IN_FLIGHT)))

    def _events(self, ref: AsyncDocumentReference, count: int, value: bytes) -> Iterator[Any]:
        prefix = f"{ref._document_path}/{INBOX}/"
        for id in itertools.islice(self._ids, count):
            yield documents.create(prefix + documents.document_id(id), Item(id, value), _TOKEN)

    def _tombstones(self, recipient: str, common: bytes, count: int) -> Iterator[Any]:
        for id in itertools.islice(self._ids, count):
            name = f"{recipient}/{INBOX}/{documents.document_id(id)}"
            document = protos.Document.FromString(common + text_entry(b"id", id))
            document.name = name
            yield protos.Write(update=document)

    async def _write(self, writes: Iterable[Any]) -> None:
        async def worker(chunks: Iterator[list[Any]]) -> None:
            for chunk in chunks:
                await self._commit(write_request(self._database, chunk, b""), metadata=self._metadata)

        chunks = _chunks(iter(writes))
        await asyncio.gather(*(worker(chunks) for _ in range(_IN_FLIGHT)))


def _set(ref: AsyncDocumentReference, state: Mapping[str, Any]) -> Any:
    fields = {
        name: protos.Value(integer_value=value)
        if isinstance(value, int)
        else protos.Value(string_value=value)
        for name, value in state.items()
    }
    return protos.Write(update=protos.Document(name=ref._document_path, fields=fields))


def _chunks(writes: Iterator[Any]) -> Iterator[list[Any]]:
    while chunk := list(itertools.islice(writes, _WRITES)):
        yield chunk
