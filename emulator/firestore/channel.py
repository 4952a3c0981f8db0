"""A grpc.aio channel without a socket: google's asynchronous client, on an engine in the same process.

Messages are serialized and parsed as on a wire, so neither side sees the other's later changes. An RPC begins when its
call is awaited or iterated, which saves a task for each. Client interceptors are not run.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import grpc
from grpc import StatusCode, aio

from emulator.firestore.front import Front
from emulator.firestore.service import STREAMING, UNARY
from emulator.firestore.status import Status

Serializer = Callable[[Any], bytes]
Deserializer = Callable[[bytes], Any]

_END: Any = aio.EOF  # type: ignore[attr-defined] # grpc's stubs lack it


class InProcessChannel(aio.Channel):
    """The channel. What it is given for a method's name decides what is called: "/package.Service/Rpc"."""

    def __init__(self, front: Front) -> None:
        self._front = front
        # google's transport appends to these
        self._unary_unary_interceptors: list[Any] = []
        self._unary_stream_interceptors: list[Any] = []
        self._stream_unary_interceptors: list[Any] = []
        self._stream_stream_interceptors: list[Any] = []

    def unary_unary(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        *args: Any,
        **kw: Any,
    ) -> Any:
        return _UnaryUnary(self._front, method, request_serializer, response_deserializer)

    def unary_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        *args: Any,
        **kw: Any,
    ) -> Any:
        return _UnaryStream(self._front, method, request_serializer, response_deserializer)

    def stream_unary(self, method: str, *args: Any, **kw: Any) -> Any:
        return _StreamUnary(_short(method))

    def stream_stream(self, method: str, *args: Any, **kw: Any) -> Any:
        return _StreamStream(_short(method))

    async def close(self, grace: float | None = None) -> None:
        """Nothing is held open."""

    async def __aenter__(self) -> InProcessChannel:
        return self

    async def __aexit__(self, *exc_info: object) -> None:
        await self.close()

    def get_state(self, try_to_connect: bool = False) -> grpc.ChannelConnectivity:
        return grpc.ChannelConnectivity.READY

    async def wait_for_state_change(self, last_observed_state: grpc.ChannelConnectivity) -> None:
        """It never changes from READY; returns at once if it was seen otherwise."""

    async def channel_ready(self) -> None:
        """It always is."""


class _Call(aio.Call):
    """What both kinds of calls have: a status, once they have ended."""

    def __init__(
        self, front: Front, rpc: str, request: Any, timeout: float | None, deserialize: Deserializer
    ):
        self._front = front
        self._rpc = rpc
        self._request = request
        self._timeout = timeout
        self._deserialize = deserialize
        self._status: Status | None = None
        self._done = False
        self._cancelled = False

    async def initial_metadata(self) -> aio.Metadata:
        return aio.Metadata()

    async def trailing_metadata(self) -> aio.Metadata:
        return aio.Metadata()

    async def code(self) -> StatusCode:
        return StatusCode.OK if self._status is None else self._status.code

    async def details(self) -> str:
        return "" if self._status is None else self._status.message

    async def wait_for_connection(self) -> None:
        """There is none to wait for."""

    def cancelled(self) -> bool:
        return self._cancelled

    def done(self) -> bool:
        return self._done

    def time_remaining(self) -> float | None:
        return self._timeout

    def cancel(self) -> bool:
        if self._done:
            return False
        self._done = self._cancelled = True
        return True

    def add_done_callback(self, callback: Any) -> None:
        if self._done:
            callback(self)

    def _failed(self, status: Status) -> aio.AioRpcError:
        self._status, self._done = status, True
        return aio.AioRpcError(status.code, aio.Metadata(), aio.Metadata(), status.message, None)


class _UnaryCall(_Call, aio.UnaryUnaryCall):
    _response: Any = None

    def __await__(self) -> Generator[Any, None, Any]:
        return self._run().__await__()

    async def _run(self) -> Any:
        if not self._done:
            try:
                response = await self._front.unary(self._rpc, self._request, self._timeout)
            except Status as status:
                raise self._failed(status) from None
            self._response, self._done = self._deserialize(response.SerializeToString()), True
        elif self._status is not None:
            raise self._failed(self._status)
        return self._response


class _StreamCall(_Call, aio.UnaryStreamCall):
    _responses: Iterator[Any] | None = None

    async def wait_for_connection(self) -> None:
        """Begin; a stream's first error is raised here, where GAPIC's retry sees it."""
        if self._status is not None:
            raise self._failed(self._status)
        if self._responses is None:
            try:
                self._responses = await self._front.stream(self._rpc, self._request, self._timeout)
            except Status as status:
                raise self._failed(status) from None

    async def read(self) -> Any:
        await self.wait_for_connection()
        assert self._responses is not None
        response = None if self._cancelled else next(self._responses, None)
        if response is None:
            self._done = True
            return _END
        return self._deserialize(response.SerializeToString())

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (response := await self.read()) is not _END:
            yield response


class _UnaryUnary(aio.UnaryUnaryMultiCallable):
    def __init__(self, front: Front, method: str, serializer: Any, deserializer: Any) -> None:
        self._front = front
        self._rpc = _short(method)
        self._serialize = serializer or (lambda message: message)
        self._deserialize = deserializer or (lambda data: data)
        self._parse = UNARY[self._rpc][0].FromString if self._rpc in UNARY else lambda data: data

    def __call__(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        message = self._parse(self._serialize(request))
        return _UnaryCall(self._front, self._rpc, message, timeout, self._deserialize)


class _UnaryStream(aio.UnaryStreamMultiCallable):
    def __init__(self, front: Front, method: str, serializer: Any, deserializer: Any) -> None:
        self._front = front
        self._rpc = _short(method)
        self._serialize = serializer or (lambda message: message)
        self._deserialize = deserializer or (lambda data: data)
        self._parse = STREAMING[self._rpc][0].FromString if self._rpc in STREAMING else lambda data: data

    def __call__(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        message = self._parse(self._serialize(request))
        return _StreamCall(self._front, self._rpc, message, timeout, self._deserialize)


class _StreamUnary(aio.StreamUnaryMultiCallable):
    def __init__(self, rpc: str) -> None:
        self._rpc = rpc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise _no_such(self._rpc)


class _StreamStream(aio.StreamStreamMultiCallable):
    def __init__(self, rpc: str) -> None:
        self._rpc = rpc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise _no_such(self._rpc)


def _no_such(rpc: str) -> aio.AioRpcError:
    message = f"The emulator has no {rpc}."
    return aio.AioRpcError(StatusCode.UNIMPLEMENTED, aio.Metadata(), aio.Metadata(), message, None)


def _short(method: str | bytes) -> str:
    text = method.decode() if isinstance(method, bytes) else method
    return text.rpartition("/")[2]
