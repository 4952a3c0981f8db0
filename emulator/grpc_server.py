"""An engine behind a gRPC server, for any client in any process and any language."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import grpc
from grpc import aio

from emulator.conversation import Conversation
from emulator.driver import Rest
from emulator.front import Front
from emulator.rpcs import parse
from emulator.status import Status

_ON_THE_WAY = frozenset(
    {
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.INTERNAL,
        grpc.StatusCode.RESOURCE_EXHAUSTED,
    }
)
"""The codes after which google's Python client reads again."""

_AHEAD = 4
"""How many requests of a stream wait in memory; the others wait with their sender."""

_MAX_STREAMS = 10_000
"""Calls at a time on one connection; further ones wait at the client. An idle one takes about 20 kB."""

_MAX_PENDING = 2**31 - 1

_OPTIONS = (
    ("grpc.max_send_message_length", -1),
    # gRPC's own limits (1,000, and 3,000) cancel calls of any client, by chance, when another sends many at once
    ("grpc.server.max_pending_requests", _MAX_PENDING),
    ("grpc.server.max_pending_requests_hard_limit", _MAX_PENDING),
    ("grpc.max_concurrent_streams", _MAX_STREAMS),
    ("grpc.so_reuseport", 0),  # a port that is taken is an error, not a lottery
)


@asynccontextmanager
async def serve(front: Front, address: str, *, max_request_bytes: int) -> AsyncIterator[str]:
    """Serve on an address such as "127.0.0.1:0" (0: any free port); gives the one it is bound to.

    Args:
        front: what the engine is called by.
        address: where to listen.
        max_request_bytes: what the engine itself takes; a request that is a little larger gets the engine's own error,
            one of four times that gRPC's.

    Raises:
        OSError: the address cannot be bound.
    """
    server = aio.server(options=(("grpc.max_receive_message_length", 4 * max_request_bytes), *_OPTIONS))
    server.add_generic_rpc_handlers((_handlers(front), _NotThere(front)))
    try:
        port = server.add_insecure_port(address)
    except RuntimeError:
        port = 0
    if port == 0:
        raise OSError(f"cannot bind {address}: it is in use, or not of this machine; choose another")
    await server.start()
    try:
        yield f"{address.rpartition(':')[0]}:{port}"
    finally:
        await server.stop(None)
        # what is cancelled by that needs some turns of the loop to end, and would be reported if the loop ended first
        for _ in range(10):
            await asyncio.sleep(0)


def _handlers(front: Front) -> Any:
    methods = {}
    for rpc, (request, _) in front.rpcs.unary.items():
        methods[rpc] = grpc.unary_unary_rpc_method_handler(_unary(front, rpc, request), None, _encode)
    for rpc, (request, _) in front.rpcs.streaming.items():
        methods[rpc] = grpc.unary_stream_rpc_method_handler(_stream(front, rpc, request), None, _encode)
    for rpc, (request, _) in front.rpcs.bidirectional.items():
        methods[rpc] = grpc.stream_stream_rpc_method_handler(_bidi(front, rpc, request), None, _encode)
    return grpc.method_handlers_generic_handler(front.rpcs.service, methods)


def _encode(response: Any) -> bytes:
    data: bytes = response.SerializeToString()  # a message's, or that of one which is encoded already
    return data


class _NotThere(grpc.GenericRpcHandler):  # type: ignore[type-arg] # generic in its stubs only
    """Refuses the service's other methods by name, whatever their kind."""

    def __init__(self, front: Front) -> None:
        self._front = front

    def service(self, handler_call_details: Any) -> Any:
        service, _, rpc = handler_call_details.method.rpartition("/")
        if service != f"/{self._front.rpcs.service}":
            return None

        async def refuse(requests: Any, context: Any) -> None:
            status = self._front.rpcs.unimplemented(rpc)
            await context.abort(status.code, status.message)

        return grpc.stream_stream_rpc_method_handler(refuse)


def _unary(front: Front, rpc: str, request_class: Any) -> Callable[[bytes, Any], Awaitable[Any]]:
    async def handle(data: bytes, context: Any) -> Any:
        try:
            response = front.begin_unary(rpc, parse(request_class, data))
            return await response if isinstance(response, Rest) else response
        except Status as status:
            await context.abort(status.code, status.message)

    return handle


def _stream(front: Front, rpc: str, request_class: Any) -> Callable[[bytes, Any], Awaitable[None]]:
    async def handle(data: bytes, context: Any) -> None:
        wrote = False
        try:
            responses = front.begin_stream(rpc, parse(request_class, data))
            if isinstance(responses, Rest):
                responses = await responses
            for response in responses:
                await context.write(response)
                wrote = True
        except Status as status:
            await _fail_stream(context, status, began=wrote)

    return handle


async def _fail_stream(context: Any, status: Status, *, began: bool) -> None:
    """End a stream with an error.

    Firestore's own errors come behind headers: without them, google's Node.js client takes the error for no answer, and
    asks again for 7 s. What stands for a failure on the way comes without: or google's Python client would not ask
    again.
    """
    if not began and status.code not in _ON_THE_WAY:
        await context.send_initial_metadata(())
    await context.abort(status.code, status.message)


def _bidi(front: Front, rpc: str, message: Any) -> Callable[[Any, Any], Awaitable[None]]:
    async def handle(requests: AsyncIterator[bytes], context: Any) -> None:
        wrote = False
        conversation: Conversation | None = None
        feeding: asyncio.Task[None] | None = None
        try:
            opened = front.begin_bidi(rpc)
            conversation = await opened if isinstance(opened, Rest) else opened
            assert conversation is not None
            progress = asyncio.Event()
            feeding = asyncio.create_task(_feed(requests, message, conversation, progress))
            while (responses := await conversation.read()) is not None:
                progress.set()
                for response in responses:
                    await context.write(response)
                    wrote = True
        except Status as status:
            await _fail_stream(context, status, began=wrote)
        finally:
            if feeding is not None:
                feeding.cancel()
            if conversation is not None:
                conversation.close()

    return handle


async def _feed(
    requests: AsyncIterator[bytes], message: Any, conversation: Conversation, progress: asyncio.Event
) -> None:
    """Hand requests on as they come, but read no more of them than a few ahead of what is dealt with."""
    try:
        async for request in requests:
            progress.clear()
            conversation.send(parse(message, request))
            while conversation.backlog > _AHEAD:
                await progress.wait()
                progress.clear()
    except Status as status:
        conversation.fail(status)
    conversation.done_writing()
