"""A grpc.aio channel without a socket: google's asynchronous client, on an engine in the same process.

Messages are serialized and parsed as on a wire, so neither side sees the other's later changes. As with grpc's own, an
RPC begins when it is called, awaited or not; one that need not wait has ended by then, and costs no task. Client
interceptors are not run.
"""

from __future__ import annotations

from typing import Any

import grpc
from grpc import aio

from emulator.calls import BidiCall, RefusedCall, StreamCall, UnaryCall
from emulator.front import Front
from emulator.rpcs import parse


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
        return _StreamUnary(self._front, method)

    def stream_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        *args: Any,
        **kw: Any,
    ) -> Any:
        return _StreamStream(self._front, method, request_serializer, response_deserializer)

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


class _UnaryUnary(aio.UnaryUnaryMultiCallable):
    def __init__(self, front: Front, method: str, serializer: Any, deserializer: Any) -> None:
        self._front = front
        self._rpc = short_name(method)
        self._serialize = serializer or _as_it_is
        self._deserialize = deserializer or _as_it_is
        self._request_class, _ = front.rpcs.unary.get(self._rpc, (None, None))

    def __call__(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        data = self._serialize(request)
        return UnaryCall(lambda: self._begin(data, timeout), timeout, self._deserialize)

    def _begin(self, data: bytes, timeout: float | None) -> Any:
        request = None if self._request_class is None else parse(self._request_class, data)
        return self._front.begin_unary(self._rpc, request, timeout)


class _UnaryStream(aio.UnaryStreamMultiCallable):
    def __init__(self, front: Front, method: str, serializer: Any, deserializer: Any) -> None:
        self._front = front
        self._rpc = short_name(method)
        self._serialize = serializer or _as_it_is
        self._deserialize = deserializer or _as_it_is
        self._request_class, _ = front.rpcs.streaming.get(self._rpc, (None, None))

    def __call__(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        data = self._serialize(request)
        return StreamCall(lambda: self._begin(data, timeout), timeout, self._deserialize)

    def _begin(self, data: bytes, timeout: float | None) -> Any:
        request = None if self._request_class is None else parse(self._request_class, data)
        return self._front.begin_stream(self._rpc, request, timeout)


class _StreamUnary(aio.StreamUnaryMultiCallable):
    def __init__(self, front: Front, method: str) -> None:
        self._front = front
        self._rpc = short_name(method)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return RefusedCall(self._front.rpcs.unimplemented(self._rpc))


class _StreamStream(aio.StreamStreamMultiCallable):
    def __init__(self, front: Front, method: str, serializer: Any, deserializer: Any) -> None:
        self._front = front
        self._rpc = short_name(method)
        self._serialize = serializer or _as_it_is
        self._deserialize = deserializer or _as_it_is

    def __call__(
        self, request_iterator: Any = None, timeout: float | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        if self._rpc not in self._front.rpcs.bidirectional:
            return RefusedCall(self._front.rpcs.unimplemented(self._rpc))
        request_class, _ = self._front.rpcs.bidirectional[self._rpc]
        return BidiCall(
            lambda: self._front.begin_bidi(self._rpc, timeout),
            request_iterator,
            timeout,
            lambda request: parse(request_class, self._serialize(request)),
            self._deserialize,
        )


def short_name(method: str | bytes) -> str:
    """The last part: "Commit" of "/google.firestore.v1.Firestore/Commit"."""
    text = method.decode() if isinstance(method, bytes) else method
    return text.rpartition("/")[2]


def _as_it_is(message: Any) -> Any:
    return message
