"""Firestore's RPCs, spoken as raw protos over the client's own channel.

The channel bears the client's credentials, endpoint, options and interceptors; the metadata is what google's own
layers send. Of the interceptors, google's own, which logs RPCs, is left out unless its logger is at DEBUG when the wire
is made. Nothing is retried here: a caller knows which of its RPCs are harmless to repeat. Errors are those of
google.api_core, as its high-level client raises them. The times in the answers are heard by `ServerTime`.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Sequence
from typing import Any

import grpc
from google.api_core import exceptions
from google.api_core.gapic_v1 import routing_header
from google.cloud.firestore_v1.async_client import AsyncClient
from google.protobuf import empty_pb2

from dsset import listed_protos, protos
from dsset.encoded_writes import write_request
from dsset.server_time import Hearing

logger = logging.getLogger("dsset")

_SERVICE = "/google.firestore.v1.Firestore/"

UNARY_TIMEOUT = 60.0
"""Seconds that an RPC may take: the default of google's client for Commit, BatchWrite and GetDocument."""

STREAM_TIMEOUT = 300.0
"""Seconds that a stream may take: the default of google's client for RunQuery and BatchGetDocuments."""

_GOOGLES_LOGGING = "_LoggingClientAIOInterceptor"

_BLOCK = 64
_BLOCK_BYTES = 256 * 1024


class Wire:
    """One client's channel to one database. Get it by `Wire.of(client)`, inside a running event loop."""

    def __init__(self, client: AsyncClient) -> None:
        channel = client._firestore_api.transport.grpc_channel
        self.database: str = client._database_string
        self._hearing = Hearing.of(client)
        info = getattr(client, "_client_info", None)
        header = routing_header.to_grpc_metadata((("database", self.database),))
        self._left: set[asyncio.Task[None]] = set()
        self._metadata: tuple[tuple[str, str], ...] = (
            *client._rpc_metadata,
            header,
            *([info.to_grpc_metadata()] if info is not None else []),
        )
        self._commit = unary_stub(channel, "Commit", protos.CommitResponse)
        self._batch_write = unary_stub(channel, "BatchWrite", protos.BatchWriteResponse)
        self._begin = unary_stub(channel, "BeginTransaction", protos.BeginTransactionResponse)
        self._rollback = unary_stub(channel, "Rollback", empty_pb2.Empty)
        self._get_document = unary_stub(channel, "GetDocument", protos.Document)
        self._batch_get = _stream(
            channel, "BatchGetDocuments", protos.BatchGetDocumentsRequest, protos.BatchGetDocumentsResponse
        )
        self._listen = channel.stream_stream(
            _SERVICE + "Listen",
            request_serializer=protos.ListenRequest.SerializeToString,
            response_deserializer=protos.ListenResponse.FromString,
        )
        self._run_query = _stream(channel, "RunQuery", protos.RunQueryRequest, protos.RunQueryResponse)
        self._run_query_encoded = channel.unary_stream(
            _SERVICE + "RunQuery",
            request_serializer=protos.RunQueryRequest.SerializeToString,
            response_deserializer=None,
        )

    @staticmethod
    def of(client: AsyncClient) -> Wire:
        """The wire of this client, made at the first call and kept on the client."""
        wire = getattr(client, "_dsset_wire", None)
        if wire is None:
            wire = client._dsset_wire = Wire(client)
        return wire

    async def commit(
        self, writes: Iterable[Any], *, transaction: bytes = b"", timeout: float = UNARY_TIMEOUT
    ) -> Any:
        """Apply `writes` (messages, or encoded ones) in order, all or none; the CommitResponse."""
        request = write_request(self.database, writes, transaction)
        response = await self._call(self._commit, request, timeout)
        self._hearing.hear(response.commit_time)
        return response

    async def batch_write(self, writes: Iterable[Any], *, timeout: float = UNARY_TIMEOUT) -> Any:
        """Apply each of at most 500 writes (messages, or encoded ones) by itself; the BatchWriteResponse.

        It has a status for each.
        """
        request = write_request(self.database, writes)
        response = await self._call(self._batch_write, request, timeout)
        results = response.write_results
        if len(results) == 1:
            self._hearing.hear(results[0].update_time)
        else:  # each write has a commit of its own
            self._hearing.hear_latest([result.update_time for result in results])
        return response

    async def begin(self, options: Any, *, timeout: float = UNARY_TIMEOUT) -> bytes:
        """Begin a transaction by an RPC of its own; the transaction's ID."""
        request = protos.BeginTransactionRequest(database=self.database, options=options)
        response = await self._call(self._begin, request.SerializeToString(), timeout)
        return bytes(response.transaction)

    async def rollback(self, transaction: bytes, *, timeout: float = UNARY_TIMEOUT) -> None:
        """Let go of a transaction's locks."""
        request = protos.RollbackRequest(database=self.database, transaction=transaction)
        await self._call(self._rollback, request.SerializeToString(), timeout)

    async def get(
        self, name: str, *, mask: Sequence[str] | None = None, timeout: float = UNARY_TIMEOUT
    ) -> Any | None:
        """The Document of this name; None where there is none. It takes less CPU than a stream of one.

        A `mask` is as for `batch_get`. No read time comes with it. A database that does not exist has no documents:
        whoever writes to it, or asks it a query, is told.

        Cost: 1 RPC, 1 read, also where there is none.
        """
        request = protos.GetDocumentRequest(
            name=name, mask=None if mask is None else protos.DocumentMask(field_paths=mask)
        )
        try:
            return await self._get_document(
                request.SerializeToString(), metadata=self._metadata, timeout=timeout
            )
        except grpc.RpcError as error:
            if error.code() is grpc.StatusCode.NOT_FOUND:
                return None
            raise exceptions.from_grpc_error(error) from error

    async def batch_get(
        self, names: Sequence[str], *, mask: Sequence[str] | None = None, timeout: float = STREAM_TIMEOUT
    ) -> dict[str, Any]:
        """One BatchGetDocumentsResponse for each name: `found`, or `missing`, each with its read time.

        A `mask` of field paths bounds what is sent, not what is billed: one read a document.
        """
        request = protos.BatchGetDocumentsRequest(
            database=self.database,
            documents=names,
            mask=None if mask is None else protos.DocumentMask(field_paths=mask),
        )
        responses = {}
        async for response in self._read(self._batch_get, request, timeout):
            kind = response.WhichOneof("result")
            if kind is not None:
                responses[response.found.name if kind == "found" else response.missing] = response
        return responses

    def run_query(self, parent: str, query: Any, *, timeout: float = STREAM_TIMEOUT) -> AsyncIterator[Any]:
        """The RunQueryResponses; closing the iterator early cancels the RPC."""
        return self._read(
            self._run_query, protos.RunQueryRequest(parent=parent, structured_query=query), timeout
        )

    async def run_query_in_blocks(
        self, parent: str, query: Any, *, timeout: float = STREAM_TIMEOUT
    ) -> AsyncGenerator[list[bytes], None]:
        """The RunQueryResponses, encoded, as they arrive but up to 64, or 256 KiB, at a time.

        For many of them: what is done with each takes half the CPU when it is done with one after the other, and not
        in between the work that the arrival of each makes. Closing the iterator early cancels the RPC, but where as
        many have arrived as the query may find documents: then nothing but the stream's end should be left, and that
        is read by a task of its own, for which nobody waits.
        """
        request = protos.RunQueryRequest(parent=parent, structured_query=query)
        limit = query.limit.value
        call = self._run_query_encoded(request, metadata=self._metadata, timeout=timeout)
        heard = False
        block: list[bytes] = []
        size = arrived = 0
        try:
            async for data in call:
                if not heard:
                    response = listed_protos.RunQueryResponse.FromString(data)
                    heard = response.HasField("read_time")
                    self._hearing.hear(response.read_time)
                block.append(data)
                size += len(data)
                arrived += 1
                if len(block) == _BLOCK or size >= _BLOCK_BYTES or arrived == limit:
                    yield block
                    block, size = [], 0
            if block:
                yield block
        except grpc.RpcError as error:
            raise exceptions.from_grpc_error(error) from error
        finally:
            if 0 < limit <= arrived and not call.done():
                self._leave(call)
            else:
                call.cancel()  # changes nothing once the stream has ended

    async def listen(self, target: Any) -> AsyncGenerator[Any, None]:
        """The ListenResponses about one Target, until the server ends the stream; closing the iterator cancels it."""
        call = self._listen(metadata=self._metadata)
        try:
            await call.write(protos.ListenRequest(database=self.database, add_target=target))
            async for response in call:
                yield response
        except grpc.RpcError as error:
            raise exceptions.from_grpc_error(error) from error
        except asyncio.InvalidStateError:  # the write came after the stream had failed; its code tells why
            raise exceptions.from_grpc_status(
                grpc.StatusCode.UNAVAILABLE, "the stream ended at once"
            ) from None
        finally:
            call.cancel()  # changes nothing once the stream has ended

    def _leave(self, call: Any) -> None:
        """Let a stream end by itself: to cancel it would count as a failure where the server's are counted."""
        task = asyncio.create_task(_read_to_the_end(call))
        self._left.add(task)
        task.add_done_callback(self._left.discard)

    async def _call(self, stub: Any, request: bytes, timeout: float) -> Any:
        try:
            return await stub(request, metadata=self._metadata, timeout=timeout)
        except grpc.RpcError as error:
            raise exceptions.from_grpc_error(error) from error

    async def _read(self, stub: Any, request: Any, timeout: float) -> AsyncIterator[Any]:
        call = stub(request, metadata=self._metadata, timeout=timeout)
        heard = False
        try:
            async for response in call:
                if not heard and response.HasField("read_time"):
                    self._hearing.hear(response.read_time)
                    heard = True
                yield response
        except grpc.RpcError as error:
            raise exceptions.from_grpc_error(error) from error
        finally:
            call.cancel()  # changes nothing once the stream has ended


async def _read_to_the_end(call: Any) -> None:
    try:
        for _ in range(2):  # whoever has waited for what is here goes first, and so does its next RPC
            await asyncio.sleep(0)
        async for _ in call:
            pass
    except Exception as error:  # also what an interceptor raises: nobody waits for this any more
        logger.debug("a stream that had brought all that was asked for ended in an error: %s", error)
    finally:
        call.cancel()  # changes nothing once the stream has ended


def unary_stub(channel: Any, rpc: str, response: Any) -> Any:
    """What makes this RPC of encoded requests, and decodes the answers into such messages."""
    stub = channel.unary_unary(
        _SERVICE + rpc, request_serializer=None, response_deserializer=response.FromString
    )
    # google's own interceptor does nothing but log at DEBUG, and costs a task an RPC
    interceptors = getattr(stub, "_interceptors", None)
    if interceptors:
        stub._interceptors = [one for one in interceptors if not _logs_in_vain(one)]
    return stub


def _logs_in_vain(interceptor: Any) -> bool:
    kind = type(interceptor)
    return kind.__name__ == _GOOGLES_LOGGING and not logging.getLogger(kind.__module__).isEnabledFor(
        logging.DEBUG
    )


def _stream(channel: Any, rpc: str, request: Any, response: Any) -> Any:
    return channel.unary_stream(
        _SERVICE + rpc,
        request_serializer=request.SerializeToString,
        response_deserializer=response.FromString,
    )
