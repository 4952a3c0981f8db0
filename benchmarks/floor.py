"""The least that a batch can cost: its RPCs by raw stubs, with requests that were made beforehand.

It makes the same RPCs that eventbox makes, with requests of the same content, metadata and deadlines. What raw stubs do
with the answers is included: a stream is read to its end, and each answer decoded into google's message. Everything
else is left out: no processor, no states, no checks. Eventbox waits for no stream's end, and leaves encoded what it
does not need of a listing, so it may be faster.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from google.cloud.firestore import AsyncClient

from dsset import documents, protos
from dsset.items import Item
from dsset.wire import STREAM_TIMEOUT, UNARY_TIMEOUT, Wire, unary_stub

_SERVICE = "/google.firestore.v1.Firestore/"
_TOKEN = b"0123456789abcdef"
_READY_NOW = 2**61  # later than anything is due


class Floor:
    """Raw stubs on the client's own channel."""

    def __init__(self, client: AsyncClient) -> None:
        channel = client._firestore_api.transport.grpc_channel
        self.database: str = client._database_string
        self.root = f"{self.database}/documents"
        self._metadata = Wire.of(client)._metadata
        self._commit = unary_stub(channel, "Commit", protos.CommitResponse)
        self._batch_write = unary_stub(channel, "BatchWrite", protos.BatchWriteResponse)
        self._query = channel.unary_stream(
            _SERVICE + "RunQuery",
            request_serializer=None,
            response_deserializer=protos.RunQueryResponse.FromString,
        )
        self._get = unary_stub(channel, "GetDocument", protos.Document)

    async def prepare_batch(self, name: str, inbox: str, max_events: int) -> PreparedBatch:
        """Encode the requests of a batch that consumes what is outstanding now; there is a state already."""
        get = protos.GetDocumentRequest(name=name).SerializeToString()
        query = protos.RunQueryRequest(
            parent=name, structured_query=documents.query_due(inbox, _READY_NOW, max_events)
        )
        state = await self._load(get)
        listed = [one for one in await self._read(query.SerializeToString()) if one.document.name]
        read_time = documents.moment(listed[-1].read_time)
        common = documents.tombstone_entries(_TOKEN, read_time)
        writes = _pops([one.document for one in listed], common)
        save = _save(name, state, protos.Precondition(update_time=state.update_time))
        commit = protos.CommitRequest(database=self.database, writes=[*writes, save])
        return PreparedBatch(self, get, query.SerializeToString(), commit.SerializeToString(), len(writes))

    async def prepare_drain(self, name: str, inbox: str, events: int, batches: int) -> PreparedDrain:
        """Encode the requests of a drain of so many batches, which consume what is outstanding now."""
        get = protos.GetDocumentRequest(name=name).SerializeToString()
        whole = protos.RunQueryRequest(
            parent=name, structured_query=documents.query_due(inbox, _READY_NOW, events * batches)
        )
        state = await self._load(get)
        listed = [one for one in await self._read(whole.SerializeToString()) if one.document.name]
        common = documents.tombstone_entries(_TOKEN, documents.moment(listed[-1].read_time))
        queries, commits = [], []
        after: tuple[int, str] | None = None
        for begin in range(0, len(listed), events):
            query = documents.query_due(inbox, _READY_NOW, events, after)
            queries.append(protos.RunQueryRequest(parent=name, structured_query=query).SerializeToString())
            batch = [one.document for one in listed[begin : begin + events]]
            after = documents.cursor(documents.as_listed(batch[-1]))
            writes = _pops(batch, common)
            # each batch's save bears the version of the one before, which cannot be known yet
            save = _save(name, state, protos.Precondition(exists=True))
            commit = protos.CommitRequest(database=self.database, writes=[*writes, save])
            commits.append(commit.SerializeToString())
        return PreparedDrain(self, get, queries, commits, len(listed))

    def prepare_emits(self, named: Sequence[tuple[str, str]], value: bytes) -> bytes:
        """Encode the request of emits that share it: a document's name and an event's ID each."""
        writes = [documents.create(name, Item(event_id, value), _TOKEN).message() for name, event_id in named]
        encoded: bytes = protos.BatchWriteRequest(database=self.database, writes=writes).SerializeToString()
        return encoded

    def prepare_emit(self, name: str, event_id: str, value: bytes) -> bytes:
        """Encode the request of an emit."""
        return self.prepare_emits([(name, event_id)], value)

    async def emit(self, request: bytes) -> None:
        """Send it."""
        await self._batch_write(request, metadata=self._metadata, timeout=UNARY_TIMEOUT)

    def _send(self, commit: bytes) -> Any:
        return self._commit(commit, metadata=self._metadata, timeout=UNARY_TIMEOUT)

    def _load(self, get: bytes) -> Any:
        return self._get(get, metadata=self._metadata, timeout=UNARY_TIMEOUT)

    async def _read(self, query: bytes) -> list[Any]:
        call = self._query(query, metadata=self._metadata, timeout=STREAM_TIMEOUT)
        return [response async for response in call]


class PreparedBatch:
    """A batch's three RPCs, ready to be sent."""

    def __init__(self, floor: Floor, get: bytes, query: bytes, commit: bytes, events: int) -> None:
        self._floor = floor
        self._get, self._query, self._commit = get, query, commit
        self._events = events

    async def run(self) -> int:
        """Two reads side by side, then the commit; how many events it consumes."""
        floor = self._floor
        await asyncio.gather(floor._load(self._get), floor._read(self._query))
        await floor._send(self._commit)
        return self._events


class PreparedDrain:
    """A drain's RPCs, ready to be sent: the next batch is listed while the one before is committed."""

    def __init__(
        self, floor: Floor, get: bytes, queries: Sequence[bytes], commits: Sequence[bytes], events: int
    ) -> None:
        self._floor = floor
        self._get, self._queries, self._commits = get, queries, commits
        self._events = events

    async def run(self) -> int:
        """The reads of the first batch, then a round trip for each; how many events it consumes."""
        floor = self._floor
        await asyncio.gather(floor._load(self._get), floor._read(self._queries[0]))
        for commit, query in zip(self._commits, [*self._queries[1:], None], strict=True):
            sent = floor._send(commit)
            if query is not None:
                await asyncio.gather(sent, floor._read(query))
            else:
                await sent
        return self._events


def _pops(listed: Sequence[Any], common: bytes) -> list[Any]:
    """The writes that consume what a query of one inbox has listed."""
    prefix = listed[0].name.rpartition("/")[0] + "/"
    items = [documents.decode(documents.as_listed(document)) for document in listed]
    return documents.pops(prefix.encode(), items, common).messages()


def _save(name: str, state: Any, precondition: Any) -> Any:
    fields = dict(state.fields)
    fields["eventbox_eversion"] = protos.Value(integer_value=fields["total"].integer_value + 1)
    fields["eventbox_token"] = protos.Value(bytes_value=_TOKEN)
    return protos.Write(
        update=protos.Document(name=name, fields=fields),
        update_mask=protos.DocumentMask(field_paths=sorted(fields)),
        current_document=precondition,
    )
