"""A grpc channel without a socket, for google's synchronous client; it works in any thread, with or without a loop."""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Iterator
from typing import Any

import grpc
from grpc import StatusCode

from emulator.channel import short_name
from emulator.conversation import Conversation
from emulator.front import Front
from emulator.rpcs import parse
from emulator.status import Status

_log = logging.getLogger(__name__)


class InProcessSyncChannel(grpc.Channel):
    """The channel."""

    def __init__(self, front: Front) -> None:
        self._front = front

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
        return _Unimplemented(self._front, method)

    def stream_stream(
        self,
        method: str,
        request_serializer: Any = None,
        response_deserializer: Any = None,
        *args: Any,
        **kw: Any,
    ) -> Any:
        if short_name(method) not in self._front.rpcs.bidirectional:
            return _Unimplemented(self._front, method)
        return _StreamStream(self._front, method, request_serializer, response_deserializer)

    def subscribe(self, callback: Any, try_to_connect: bool = False) -> None:
        callback(grpc.ChannelConnectivity.READY)

    def unsubscribe(self, callback: Any) -> None:
        """Nothing more would have been said."""

    def close(self) -> None:
        """Nothing is held open."""

    def __enter__(self) -> InProcessSyncChannel:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()


class _Outcome(grpc.Call, grpc.Future):
    """A call that has ended: with a response, or with a status."""

    def __init__(self, response: Any, status: Status | None = None) -> None:
        self._response = response
        self._status = status

    def code(self) -> StatusCode:
        return StatusCode.OK if self._status is None else self._status.code

    def details(self) -> str:
        return "" if self._status is None else self._status.message

    def initial_metadata(self) -> tuple[Any, ...]:
        return ()

    def trailing_metadata(self) -> tuple[Any, ...]:
        return ()

    def is_active(self) -> bool:
        return False

    def time_remaining(self) -> Any:
        return None

    def add_callback(self, callback: Any) -> bool:
        return False

    def cancel(self) -> bool:
        return False

    def cancelled(self) -> bool:
        return False

    def running(self) -> bool:
        return False

    def done(self) -> bool:
        return True

    def result(self, timeout: float | None = None) -> Any:
        if isinstance(self, grpc.RpcError):
            raise self
        return self._response

    def exception(self, timeout: float | None = None) -> Any:
        return self if isinstance(self, grpc.RpcError) else None

    def traceback(self, timeout: float | None = None) -> Any:
        return None

    def add_done_callback(self, fn: Any) -> None:
        fn(self)


class InProcessRpcError(_Outcome, grpc.RpcError):
    """What a failed call raises, with what grpc's own has."""

    def __init__(self, status: Status) -> None:
        super().__init__(None, status)

    def __str__(self) -> str:
        return str(self._status)


class _Responses(_Outcome):
    """The responses of a stream, as an iterator that is a call as well."""

    def __init__(self, responses: Iterator[Any], deserialize: Any) -> None:
        super().__init__(None)
        self._responses = responses
        self._deserialize = deserialize

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        try:
            response = next(self._responses)
        except Status as status:  # it breaks off
            self._status = status
            raise InProcessRpcError(status) from None
        return self._deserialize(response.SerializeToString())


class _Conversing(grpc.RpcError, grpc.Call, grpc.Future):
    """A stream both ways: an iterator of its responses, a call, and, once it has failed, its error."""

    def __init__(self, conversation: Conversation, deserialize: Any) -> None:
        self._conversation = conversation
        self._deserialize = deserialize
        self._unread: deque[Any] = deque()
        self._code: StatusCode | None = None
        self._details = ""
        self._callbacks: list[Any] = []
        self._lock = threading.Lock()

    def __iter__(self) -> Iterator[Any]:
        return self

    def __next__(self) -> Any:
        while not self._unread:
            if self._code is None:
                try:
                    responses = self._conversation.read_in_thread()
                except Status as status:
                    self._end(status.code, status.message)
                    continue
                if responses is None:
                    self._end(StatusCode.OK, "")
                else:
                    self._unread.extend(responses)
            elif self._code is StatusCode.OK:
                raise StopIteration
            else:
                raise self
        return self._deserialize(self._unread.popleft().SerializeToString())

    def __str__(self) -> str:
        return f"{self._code}: {self._details}"

    def code(self) -> Any:
        return self._code  # None while it is under way

    def details(self) -> str:
        return self._details

    def initial_metadata(self) -> tuple[Any, ...]:
        return ()

    def trailing_metadata(self) -> tuple[Any, ...]:
        return ()

    def is_active(self) -> bool:
        return self._code is None

    def running(self) -> bool:
        return self._code is None

    def done(self) -> bool:
        return self._code is not None

    def time_remaining(self) -> Any:
        return None

    def cancel(self) -> bool:
        return self._end(StatusCode.CANCELLED, "Locally cancelled by application!")

    def cancelled(self) -> bool:
        return self._code is StatusCode.CANCELLED

    def result(self, timeout: float | None = None) -> Any:
        raise self

    def exception(self, timeout: float | None = None) -> Any:
        return self

    def traceback(self, timeout: float | None = None) -> Any:
        return None

    def add_callback(self, callback: Any) -> bool:
        with self._lock:
            if self._code is None:
                self._callbacks.append(lambda _: callback())
                return True
        return False

    def add_done_callback(self, fn: Any) -> None:
        with self._lock:
            if self._code is None:
                self._callbacks.append(fn)
                return
        fn(self)

    def feed(self, requests: Iterator[Any], encode: Any) -> None:
        """Send requests as they come, from a thread of their own, as grpc does."""

        def run() -> None:
            try:
                for request in requests:
                    if self._code is not None:
                        return
                    self._conversation.send(encode(request))
                self._conversation.done_writing()
            except Status as status:  # what it said is no message
                self._conversation.fail(status)
            except Exception:
                _log.exception("the requests of an RPC failed, which is cancelled")
                self.cancel()

        threading.Thread(target=run, daemon=True, name="in-process requests").start()

    def _end(self, code: StatusCode, details: str) -> bool:
        with self._lock:
            if self._code is not None:
                return False
            self._code, self._details = code, details
            callbacks, self._callbacks = self._callbacks, []
        self._conversation.close()
        for callback in callbacks:
            callback(self)
        return True


class _UnaryUnary(grpc.UnaryUnaryMultiCallable):
    def __init__(self, front: Front, method: str, serializer: Any, deserializer: Any) -> None:
        self._front = front
        self._rpc = short_name(method)
        self._request_class, _ = front.rpcs.unary.get(self._rpc, (None, None))
        self._serialize = serializer or (lambda message: message)
        self._deserialize = deserializer or (lambda data: data)

    def __call__(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        try:
            data = self._serialize(request)
            message = None if self._request_class is None else parse(self._request_class, data)
            response = self._front.unary_in_thread(self._rpc, message, timeout)
        except Status as status:
            raise InProcessRpcError(status) from None
        return self._deserialize(response.SerializeToString())

    def with_call(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        response = self(request, timeout)
        return response, _Outcome(response)

    def future(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        try:
            return _Outcome(self(request, timeout))
        except InProcessRpcError as error:
            return error


class _UnaryStream(grpc.UnaryStreamMultiCallable):
    def __init__(self, front: Front, method: str, serializer: Any, deserializer: Any) -> None:
        self._front = front
        self._rpc = short_name(method)
        self._request_class, _ = front.rpcs.streaming.get(self._rpc, (None, None))
        self._serialize = serializer or (lambda message: message)
        self._deserialize = deserializer or (lambda data: data)

    def __call__(self, request: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        try:
            data = self._serialize(request)
            message = None if self._request_class is None else parse(self._request_class, data)
            responses = self._front.stream_in_thread(self._rpc, message, timeout)
        except Status as status:
            raise InProcessRpcError(status) from None
        return _Responses(responses, self._deserialize)


class _StreamStream(grpc.StreamStreamMultiCallable):
    def __init__(self, front: Front, method: str, serializer: Any, deserializer: Any) -> None:
        self._front = front
        self._rpc = short_name(method)
        self._serialize = serializer or (lambda message: message)
        self._deserialize = deserializer or (lambda data: data)

    def __call__(self, request_iterator: Any, timeout: float | None = None, *args: Any, **kwargs: Any) -> Any:
        try:
            call = _Conversing(self._front.bidi_in_thread(self._rpc, timeout), self._deserialize)
        except Status as status:
            raise InProcessRpcError(status) from None
        request_class, _ = self._front.rpcs.bidirectional[self._rpc]
        call.feed(iter(request_iterator), lambda request: parse(request_class, self._serialize(request)))
        return call


class _Unimplemented(grpc.StreamStreamMultiCallable, grpc.StreamUnaryMultiCallable):
    def __init__(self, front: Front, method: str) -> None:
        self._front = front
        self._rpc = short_name(method)

    def __call__(self, *args: Any, **kwargs: Any) -> Any:
        raise InProcessRpcError(self._front.rpcs.unimplemented(self._rpc))

    with_call = future = __call__
