"""The least that a batch can cost: its RPCs by raw stubs, with requests that were made beforehand.

It makes the same RPCs that eventbox makes, with requests of the same content; decoding of the answers into protobuf's
messages is included, everything else is left out: no processor, no states, no checks.
"""

from __future__ import annotations

import asyncio
from typing import Any

from google.cloud.firestore import AsyncClient

from dsset import documents, protos
from dsset.items import Item

_SERVICE = "/google.firestore.v1.Firestore/"
_READY_NOW = 2**61  # later than anything is due


class Floor:
    """Raw stubs on the client's own channel."""

    def __init__(self, client: AsyncClient) -> None:
        channel = client._firestore_api.transport.grpc_channel
        self.database: str = client._database_string
        self.root = f"{self.database}/documents"
        self._metadata = (("google-cloud-resource-prefix", self.database),)
        self._commit = channel.unary_unary(
            _SERVICE + "Commit",
            request_serializer=None,
            response_deserializer=protos.CommitResponse.FromString,
        )
        self._batch_write = channel.unary_unary(
            _SERVICE + "BatchWrite",
            request_serializer=None,
            response_deserializer=protos.BatchWriteResponse.FromString,
        )
        self._query = channel.unary_stream(
            _SERVICE + "RunQuery",
            request_serializer=None,
            response_deserializer=protos.RunQueryResponse.FromString,
        )
        self._get = channel.unary_stream(
            _SERVICE + "BatchGetDocuments",
            request_serializer=None,
            response_deserializer=protos.BatchGetDocumentsResponse.FromString,
        )

    async def prepare_batch(self, name: str, inbox: str, max_events: int) -> PreparedBatch:
        """Encode the requests of a batch that consumes what is outstanding now."""
        get = protos.BatchGetDocumentsRequest(database=self.database, documents=[name])
        query = protos.RunQueryRequest(
            parent=name, structured_query=documents.query_due(inbox, _READY_NOW, max_events)
        )
        state = await self._read(self._get, get.SerializeToString())
        listed = [
            one for one in await self._read(self._query, query.SerializeToString()) if one.document.name
        ]
        read_time = documents.moment(listed[-1].read_time)
        common = documents.tombstone_entries(b"0123456789abcdef", read_time)
        writes = [
            documents.pop(one.document.name, documents.decode(one.document), common).message()
            for one in listed
        ]
        found = state[-1].found
        fields = dict(found.fields) or {"total": protos.Value(integer_value=0)}
        fields["eventbox_eversion"] = protos.Value(integer_value=fields["total"].integer_value + 1)
        fields["eventbox_token"] = protos.Value(bytes_value=b"0123456789abcdef")
        save = protos.Write(
            update=protos.Document(name=name, fields=fields),
            update_mask=protos.DocumentMask(field_paths=sorted(fields)),
            current_document=protos.Precondition(update_time=found.update_time)
            if found.name
            else protos.Precondition(exists=False),
        )
        commit = protos.CommitRequest(database=self.database, writes=[*writes, save])
        return PreparedBatch(
            self, get.SerializeToString(), query.SerializeToString(), commit.SerializeToString(), len(writes)
        )

    def prepare_emit(self, name: str, event_id: str, value: bytes) -> bytes:
        """Encode the request of an emit."""
        write = documents.create(name, Item(event_id, value), b"0123456789abcdef")
        encoded: bytes = protos.BatchWriteRequest(database=self.database, writes=[write]).SerializeToString()
        return encoded

    async def emit(self, request: bytes) -> None:
        """Send it."""
        await self._batch_write(request, metadata=self._metadata)

    async def _read(self, stub: Any, request: bytes) -> list[Any]:
        return [response async for response in stub(request, metadata=self._metadata)]


class PreparedBatch:
    """A batch's three RPCs, ready to be sent."""

    def __init__(self, floor: Floor, get: bytes, query: bytes, commit: bytes, events: int) -> None:
        self._floor = floor
        self._get, self._query, self._commit = get, query, commit
        self._events = events

    async def run(self) -> int:
        """Two reads side by side, then the commit; how many events it consumes."""
        floor = self._floor
        await asyncio.gather(floor._read(floor._get, self._get), floor._read(floor._query, self._query))
        await floor._commit(self._commit, metadata=floor._metadata)
        return self._events
