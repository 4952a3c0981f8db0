"""An engine behind a gRPC server, for any client in any process and any language."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from grpc import StatusCode

from emulator.conversation import Conversation
from emulator.driver import Rest
from emulator.front import Front
from emulator.grpc_call import Call, ManyRequestsCall, OneRequestCall, as_status
from emulator.grpc_framing import status_trailers
from emulator.http2 import Connection, Receiver, Stream, encode
from emulator.listening import FirstBytes, HttpProtocol, listen
from emulator.rpcs import parse
from emulator.status import Status

_AHEAD = 4
"""How many requests of a stream the engine has before it; the others wait."""

_NO_GRPC = encode([(b":status", b"415"), *status_trailers(StatusCode.UNKNOWN, "this port speaks gRPC")])
"""What is answered to something else in HTTP/2 (gRPC's PROTOCOL-HTTP2.md)."""


@asynccontextmanager
async def serve(
    front: Front, address: str, *, max_request_bytes: int, http: HttpProtocol | None = None
) -> AsyncIterator[str]:
    """Serve on an address such as "127.0.0.1:0" (0: any free port); gives the one it is bound to.

    Args:
        front: what the engine is called by.
        address: where to listen.
        max_request_bytes: what the engine itself takes; a request that is a little larger gets the engine's own error,
            one of four times that gRPC's.
        http: makes what answers a client that speaks HTTP/1.1; None: it is hung up on.

    Raises:
        OSError: the address cannot be bound.
    """
    service = _Service(front, 4 * max_request_bytes)
    connections: set[Connection] = set()
    silent: set[FirstBytes] = set()
    first_bytes = partial(FirstBytes, lambda: Connection(service.accept, connections), http, silent)
    try:
        async with listen(address, first_bytes) as bound:
            yield bound
    finally:
        for connection in list(connections):
            connection.close()
        for one in list(silent):
            one.close()
        # what is cancelled by that needs some turns of the loop, and would be reported if the loop ended first
        for _ in range(10):
            await asyncio.sleep(0)


class _Service:
    """Takes calls, and hands them to the front.

    Args:
        front: what the engine is called by.
        max_bytes: of a request.
    """

    def __init__(self, front: Front, max_bytes: int) -> None:
        self._front = front
        self._max_bytes = max_bytes
        rpcs = front.rpcs
        self._methods: dict[bytes, Callable[[Stream, dict[bytes, bytes]], Receiver]] = {}
        for rpc, (request, _) in rpcs.unary.items():
            self._add(
                rpc, partial(self._one_request, partial(_answer_unary, front, rpc, request), streams=False)
            )
        for rpc, (request, _) in rpcs.streaming.items():
            self._add(
                rpc, partial(self._one_request, partial(_answer_stream, front, rpc, request), streams=True)
            )
        for rpc, (request, _) in rpcs.bidirectional.items():
            self._add(rpc, partial(self._many_requests, partial(_converse, front, rpc, request)))

    def accept(self, stream: Stream, headers: dict[bytes, bytes]) -> Receiver | None:
        """Begin the call that these headers ask for, or refuse it."""
        if not headers.get(b"content-type", b"").startswith(b"application/grpc"):
            stream.end(_NO_GRPC)
            return None
        path = headers.get(b":path", b"")
        method = self._methods.get(path)
        if method is not None:
            return method(stream, headers)
        call = Call(stream, headers, self._max_bytes, streams=False)
        call.fail(self._unimplemented(path.decode(errors="replace")))
        return None

    def _add(self, rpc: str, method: Callable[[Stream, dict[bytes, bytes]], Receiver]) -> None:
        self._methods[f"/{self._front.rpcs.service}/{rpc}".encode()] = method

    def _one_request(
        self, answer: Any, stream: Stream, headers: dict[bytes, bytes], *, streams: bool
    ) -> Receiver:
        return OneRequestCall(stream, headers, self._max_bytes, streams=streams, answer=answer)

    def _many_requests(self, answer: Any, stream: Stream, headers: dict[bytes, bytes]) -> Receiver:
        return ManyRequestsCall(stream, headers, self._max_bytes, answer=answer)

    def _unimplemented(self, path: str) -> Status:
        service, _, rpc = path.rpartition("/")
        if service == f"/{self._front.rpcs.service}":
            return self._front.rpcs.unimplemented(rpc)
        return Status(StatusCode.UNIMPLEMENTED, "Method not found!")


def _answer_unary(front: Front, rpc: str, request: Any, call: OneRequestCall, data: bytes) -> None:
    response = front.begin_unary(rpc, parse(request, data), received=len(data))
    if isinstance(response, Rest):
        call.run(_respond_later(response, call), response.close)
    else:
        call.respond(response.SerializeToString())


async def _respond_later(rest: Rest[Any], call: Call) -> None:
    call.respond((await rest).SerializeToString())


def _answer_stream(front: Front, rpc: str, request: Any, call: OneRequestCall, data: bytes) -> None:
    responses = front.begin_stream(rpc, parse(request, data))
    call.run(_write_all(responses, call), responses.close if isinstance(responses, Rest) else None)


async def _write_all(responses: Any, call: Call) -> None:
    for response in await responses if isinstance(responses, Rest) else responses:
        if not call.write(response.SerializeToString()):
            await call.room()


async def _converse(front: Front, rpc: str, message: Any, call: ManyRequestsCall) -> None:
    conversation: Conversation | None = None
    feeding: asyncio.Task[None] | None = None
    try:
        opened = front.begin_bidi(rpc)
        conversation = await opened if isinstance(opened, Rest) else opened
        assert conversation is not None
        progress = asyncio.Event()
        feeding = asyncio.create_task(_feed(call, message, conversation, progress))
        while (responses := await conversation.read()) is not None:
            progress.set()
            for response in responses:
                if not call.write(response.SerializeToString()):
                    await call.room()
    finally:
        if feeding is not None:
            feeding.cancel()
        if conversation is not None:
            conversation.close()


async def _feed(
    call: ManyRequestsCall, message: Any, conversation: Conversation, progress: asyncio.Event
) -> None:
    """Hand requests on as they come, but read no more of them than a few ahead of what is dealt with."""
    try:
        while (request := await call.next()) is not None:
            progress.clear()
            conversation.send(parse(message, request))
            while conversation.backlog > _AHEAD:
                await progress.wait()
                progress.clear()
    except Exception as error:  # also a defect of the emulator, or its call would never end
        conversation.fail(as_status(error))
    conversation.done_writing()
