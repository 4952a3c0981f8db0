"""A grpc.aio channel without a socket: google's asynchronous client, on an engine in the same process.

Messages are serialized and parsed as on a wire, so neither side sees the other's later changes. As with grpc's own, an
RPC begins when it is called, awaited or not; one that need not wait has ended by then, and costs no task. Client
interceptors are not run.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from typing import Any

import grpc
from grpc import StatusCode, aio

from emulator.firestore.front import Front, Rest, unimplemented
from emulator.firestore.protos import parse
from emulator.firestore.service import BIDIRECTIONAL, STREAMING, UNARY
from emulator.firestore.status import Status

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
        return _StreamUnary(short_name(method))

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


class _Call(aio.Call):
    """What all kinds of calls have: an outcome, or a status."""

    def __init__(
        self, begin: Callable[[], Any], timeout: float | None = None, deserialize: Any = None
    ) -> None:
        self._deserialize = deserialize
        self._timeout = timeout
        self._outcome: Any = None
        self._status: Status | None = None
        self._task: asyncio.Task[None] | None = None
        self._was_cancelled = False
        self._callbacks: list[Callable[[Any], None]] = []
        try:
            outcome = begin()
        except Status as status:
            self._status = status
        else:
            if isinstance(outcome, Rest):
                self._finish_later(outcome)
            else:
                self._outcome = outcome

    async def initial_metadata(self) -> aio.Metadata:
        return aio.Metadata()

    async def trailing_metadata(self) -> aio.Metadata:
        await self._settled()
        return aio.Metadata()

    async def code(self) -> StatusCode:
        await self._settled()
        if self.cancelled():
            return StatusCode.CANCELLED
        return StatusCode.OK if self._status is None else self._status.code

    async def details(self) -> str:
        await self._settled()
        if self.cancelled():
            return "Locally cancelled by application!"
        return "" if self._status is None else self._status.message

    async def wait_for_connection(self) -> None:
        """There is none to wait for."""

    def cancelled(self) -> bool:
        return self._was_cancelled or (self._task is not None and self._task.cancelled())

    def done(self) -> bool:
        return self.cancelled() or self._task is None or self._task.done()

    def time_remaining(self) -> float | None:
        """The whole timeout: it goes by the emulator's clock, which may stand still."""
        return self._timeout

    def cancel(self) -> bool:
        if self.done():
            return False
        self._was_cancelled = True
        if self._task is not None:
            self._task.cancel()
        self._call_back()
        return True

    def add_done_callback(self, callback: Callable[[Any], None]) -> None:
        self._callbacks.append(callback)
        self._call_back()

    def _finish_later(self, rest: Rest[Any]) -> None:
        async def finish() -> None:
            try:
                self._outcome = await rest
            except Status as status:
                self._status = status

        def finished(_: asyncio.Task[None]) -> None:
            rest.close()  # a task that is cancelled at once never runs
            self._call_back()

        self._task = asyncio.get_running_loop().create_task(finish())
        self._task.add_done_callback(finished)

    def _call_back(self) -> None:
        if self.done():
            callbacks, self._callbacks = self._callbacks, []
            for callback in callbacks:
                callback(self)

    async def _settled(self) -> None:
        """Return once the work is done, however it went."""
        if self._task is not None and not self._task.done():
            await asyncio.wait([self._task])

    async def _result(self) -> Any:
        """What the work came to, or its error. As with grpc's own, whoever is cancelled here cancels the call."""
        if self._task is not None:
            await self._task
        if self.cancelled():
            raise asyncio.CancelledError
        if self._status is not None:
            code, message = self._status.code, self._status.message
            raise aio.AioRpcError(code, aio.Metadata(), aio.Metadata(), message, None)
        return self._outcome


class _UnaryCall(_Call, aio.UnaryUnaryCall):
    def __await__(self) -> Generator[Any, None, Any]:
        response = yield from self._result().__await__()
        return self._deserialize(response.SerializeToString())


class _StreamCall(_Call, aio.UnaryStreamCall):
    _exhausted = False

    def done(self) -> bool:
        return self.cancelled() or self._exhausted or (self._status is not None and super().done())

    async def wait_for_connection(self) -> None:
        """Wait for the work; a stream's first error is raised here, where GAPIC's retry sees it."""
        await self._result()

    async def read(self) -> Any:
        responses: Iterator[Any] = await self._result()
        try:
            response = next(responses, None)
        except Status as status:  # it breaks off
            self._status = status
            self._call_back()
            return await self._result()
        if response is None:
            self._exhausted = True
            self._call_back()
            return _END
        return self._deserialize(response.SerializeToString())

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (response := await self.read()) is not _END:
            yield response


class _BidiCall(_Call, aio.StreamStreamCall):
    """A stream both ways. What is still unread when it is cancelled is lost, as with grpc's own."""

    def __init__(
        self,
        begin: Callable[[], Any],
        requests: Any,
        timeout: float | None,
        encode: Callable[[Any], Any],
        deserialize: Any,
    ) -> None:
        super().__init__(begin, timeout, deserialize)
        self._encode = encode
        self._unread: deque[Any] = deque()
        self._ended = False
        self._feeding: asyncio.Task[None] | None = None
        if requests is not None:
            self._feeding = asyncio.get_running_loop().create_task(self._feed(requests))

    def done(self) -> bool:
        return self.cancelled() or self._ended or self._status is not None

    def cancel(self) -> bool:
        if self.done():
            return False
        self._was_cancelled = True
        self._close()
        return True

    async def wait_for_connection(self) -> None:
        await self._result()

    async def write(self, request: Any) -> None:
        conversation = await self._result()
        if self.done():
            raise asyncio.InvalidStateError("the RPC has ended")
        try:
            conversation.send(self._encode(request))
        except Status as status:  # what it said is no message
            conversation.fail(status)

    async def done_writing(self) -> None:
        (await self._result()).done_writing()

    async def read(self) -> Any:
        while not self._unread:
            conversation = await self._result()
            if self._ended:
                return _END
            try:
                responses = await conversation.read()
            except Status as status:
                self._status = status
                self._close()
                continue  # which raises it
            except asyncio.CancelledError:
                self.cancel()
                raise
            if responses is None:
                self._ended = True
                self._close()
            else:
                self._unread.extend(responses)
        return self._deserialize(self._unread.popleft().SerializeToString())

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (response := await self.read()) is not _END:
            yield response

    async def _feed(self, requests: Any) -> None:
        if hasattr(requests, "__aiter__"):
            async for request in requests:
                await self.write(request)
        else:
            for request in requests:
                await self.write(request)
        await self.done_writing()

    def _close(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._outcome is not None:
            self._outcome.close()
        self._call_back()


class _RefusedCall(_Call, aio.StreamStreamCall, aio.StreamUnaryCall):
    """A call of what the emulator does not have."""

    def __init__(self, rpc: str) -> None:
        def refuse() -> None:
            raise unimplemented(rpc)

        super().__init__(refuse)

    def __await__(self) -> Generator[Any, None, Any]:
        return self._result().__await__()

    async def wait_for_connection(self) -> None:
        await self._result()

    async def read(self) -> Any:
        await self._result()

    async def write(self, request: Any) -> None:
        await self._result()

    async def done_writing(self) -> None:
        """Nothing was written."""

    async def __aiter__(self) -> AsyncIterator[Any]:
        yield await self._result()


class _UnaryUnary(aio.UnaryUnaryMultiCallable):
    def __init__(self, front: Front, method: str, serializer: Any, deserializer: Any) -> None:
        self._front = front
        self._rpc = short_name(method)
        self._serialize = serializer or _as_it_is
        self._deserialize = deserializer or _as_it_is
        self._request_class = UNARY[self._rpc][0] if self._rpc in UNARY else None

    def __call__(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        data = self._serialize(request)
        return _UnaryCall(lambda: self._begin(data, timeout), timeout, self._deserialize)

    def _begin(self, data: bytes, timeout: float | None) -> Any:
        request = None if self._request_class is None else parse(self._request_class, data)
        return self._front.begin_unary(self._rpc, request, timeout)


class _UnaryStream(aio.UnaryStreamMultiCallable):
    def __init__(self, front: Front, method: str, serializer: Any, deserializer: Any) -> None:
        self._front = front
        self._rpc = short_name(method)
        self._serialize = serializer or _as_it_is
        self._deserialize = deserializer or _as_it_is
        self._request_class = STREAMING[self._rpc][0] if self._rpc in STREAMING else None

    def __call__(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        data = self._serialize(request)
        return _StreamCall(lambda: self._begin(data, timeout), timeout, self._deserialize)

    def _begin(self, data: bytes, timeout: float | None) -> Any:
        request = None if self._request_class is None else parse(self._request_class, data)
        return self._front.begin_stream(self._rpc, request, timeout)


class _StreamUnary(aio.StreamUnaryMultiCallable):
    def __init__(self, rpc: str) -> None:
        self._rpc = rpc

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        return _RefusedCall(self._rpc)


class _StreamStream(aio.StreamStreamMultiCallable):
    def __init__(self, front: Front, method: str, serializer: Any, deserializer: Any) -> None:
        self._front = front
        self._rpc = short_name(method)
        self._serialize = serializer or _as_it_is
        self._deserialize = deserializer or _as_it_is

    def __call__(
        self, request_iterator: Any = None, timeout: float | None = None, *args: Any, **kwargs: Any
    ) -> Any:
        if self._rpc not in BIDIRECTIONAL:
            return _RefusedCall(self._rpc)
        request_class = BIDIRECTIONAL[self._rpc][0]
        return _BidiCall(
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
