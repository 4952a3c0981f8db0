"""gRPC calls on streams of HTTP/2, from the server's side."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from typing import Any

from grpc import StatusCode

from emulator.grpc_framing import ENCODINGS, MessageReader, frame, status_trailers, timeout
from emulator.http2 import Stream, encode
from emulator.status import Status

_log = logging.getLogger(__name__)

_HEADERS = encode(
    [(b":status", b"200"), (b"content-type", b"application/grpc"), (b"grpc-accept-encoding", ENCODINGS)]
)

_OK = encode(status_trailers(StatusCode.OK))

_AHEAD = 4
"""How many requests of a stream wait in memory; the others wait with their sender."""

_ON_THE_WAY = frozenset(
    {
        StatusCode.UNAVAILABLE,
        StatusCode.DEADLINE_EXCEEDED,
        StatusCode.INTERNAL,
        StatusCode.RESOURCE_EXHAUSTED,
    }
)
"""The codes after which google's Python client reads again."""


def as_status(error: Exception) -> Status:
    """What a call ends with that fails so: a Status as it is, any other error as a defect of the emulator."""
    if isinstance(error, Status):
        return error
    _log.error("an RPC failed for a defect of the emulator", exc_info=error)
    return Status(StatusCode.UNKNOWN, f"Unexpected {type(error)}: {error}")


class Call:
    """A call's answer: one response, or a stream of them, and the status that it ends with.

    Args:
        stream: what carries it.
        headers: the request's.
        max_request_bytes: of a message.
        streams: whether the answer is a stream.
    """

    def __init__(
        self, stream: Stream, headers: Mapping[bytes, bytes], max_request_bytes: int, *, streams: bool
    ) -> None:
        self._stream = stream
        self._reader = MessageReader(headers.get(b"grpc-encoding", b"identity"), max_request_bytes)
        self._streams = streams
        self._timeout = headers.get(b"grpc-timeout")
        self._began = False
        self._over = False
        self._timer: asyncio.TimerHandle | None = None
        self._task: asyncio.Task[None] | None = None

    def run(self, work: Coroutine[Any, Any, None], abandon: Callable[[], None] | None = None) -> None:
        """Answer by a coroutine, which is cancelled when nobody waits for the answer any more.

        Args:
            work: sends the responses; ends the call with the Status that it raises, else well.
            abandon: is called when it is done, also where it was cancelled before it began.
        """
        loop = asyncio.get_running_loop()
        self._task = loop.create_task(self._run(work))
        self._task.add_done_callback(self._done)
        self._task.add_done_callback(lambda task: work.close())
        if abandon is not None:
            self._task.add_done_callback(lambda task: abandon())
        seconds = timeout(self._timeout) if self._timeout is not None else None
        if seconds is not None:
            self._timer = loop.call_later(seconds, self._expire)

    def write(self, response: bytes) -> bool:
        """Send a response of a stream; whether there is room for more, or `room` should be waited for."""
        self._begin()
        return self._stream.write(frame(response))

    async def room(self) -> None:
        """Return once less is under way."""
        await self._stream.room()

    def respond(self, response: bytes) -> None:
        """Send the one response, and end."""
        self._begin()
        self._stream.write(frame(response))
        self.end()

    def end(self) -> None:
        """End well."""
        if not self._over:
            self._finish()
            self._begin()
            self._stream.end(_OK)

    def fail(self, status: Status) -> None:
        """End with an error.

        Firestore's own errors of a stream come behind headers: without them, google's Node.js client takes the error
        for no answer, and asks again for 7 s. What stands for a failure on the way comes without: or google's Python
        client would not ask again.
        """
        if self._over:
            return
        self._finish()
        if self._streams and status.code not in _ON_THE_WAY:
            self._begin()
        trailers = encode(status_trailers(status.code, status.message))
        self._stream.end(trailers if self._began else _HEADERS + trailers)

    def lost(self) -> None:
        """Nobody waits for the answer any more."""
        if not self._over:
            self._finish()
            if self._task is not None:
                self._task.cancel()

    def _done(self, task: asyncio.Task[None]) -> None:
        # one that was cancelled keeps its frames, with all the responses that it had yet to send, and so the call
        self._task = None

    def _begin(self) -> None:
        if not self._began:
            self._began = True
            self._stream.begin(_HEADERS)

    def _finish(self) -> None:
        self._over = True
        if self._timer is not None:
            self._timer.cancel()

    async def _run(self, work: Coroutine[Any, Any, None]) -> None:
        with self.failing():
            await work
            self.end()

    def failing(self) -> _Failing:
        """A context whose errors end the call, as `as_status` has them."""
        return _Failing(self)

    def _expire(self) -> None:
        self.break_off(Status(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded"))

    def break_off(self, status: Status) -> None:
        """End with an error, whatever is being done for it."""
        self.fail(status)
        if self._task is not None:
            self._task.cancel()


class _Failing:
    __slots__ = ("_call",)

    def __init__(self, call: Call) -> None:
        self._call = call

    def __enter__(self) -> None:
        """Nothing is failing yet."""

    def __exit__(self, kind: Any, error: BaseException | None, traceback: Any) -> bool:
        if not isinstance(error, Exception):
            return False
        self._call.fail(as_status(error))
        return True


class OneRequestCall(Call):
    """A call with one request.

    Args:
        answer: is called with the request, once it is there.
    """

    def __init__(
        self,
        stream: Stream,
        headers: Mapping[bytes, bytes],
        max_request_bytes: int,
        *,
        streams: bool,
        answer: Callable[[OneRequestCall, bytes], None],
    ) -> None:
        super().__init__(stream, headers, max_request_bytes, streams=streams)
        self._answer = answer
        self._messages: list[bytes] = []

    def received(self, data: bytes, credit: int) -> None:
        self._stream.credit(credit)
        if self._over:
            return
        with self.failing():
            self._messages += self._reader.feed(data)
            if len(self._messages) > 1:  # more of them would fill the memory
                raise Status(StatusCode.INTERNAL, "Expected one request message, got more.")

    def ended(self) -> None:
        if self._over:
            return
        with self.failing():
            self._reader.check_end()
            if not self._messages:
                raise Status(StatusCode.INTERNAL, "Expected one request message, got none.")
            self._answer(self, self._messages.pop())


class ManyRequestsCall(Call):
    """A call with a stream of requests, and of responses.

    Args:
        answer: gives the coroutine that answers, and reads the requests.
    """

    def __init__(
        self,
        stream: Stream,
        headers: Mapping[bytes, bytes],
        max_request_bytes: int,
        *,
        answer: Callable[[ManyRequestsCall], Coroutine[Any, Any, None]],
    ) -> None:
        super().__init__(stream, headers, max_request_bytes, streams=True)
        self._requests: deque[bytes] = deque()
        self._withheld = 0
        self._no_more = False
        self._arrived = asyncio.Event()
        self.run(answer(self))

    async def next(self) -> bytes | None:
        """The next request, once it is there; None: there are no more."""
        while not self._requests:
            if self._no_more:
                return None
            self._arrived.clear()
            await self._arrived.wait()
        request = self._requests.popleft()
        self._give_back()
        return request

    def received(self, data: bytes, credit: int) -> None:
        if self._over:
            self._stream.credit(credit)
            return
        try:
            self._requests += self._reader.feed(data)
        except Status as status:
            self.break_off(status)
        self._withheld += credit
        self._give_back()
        self._arrived.set()

    def ended(self) -> None:
        try:
            self._reader.check_end()
        except Status as status:
            self.break_off(status)
        self._no_more = True
        self._arrived.set()

    def _give_back(self) -> None:
        if self._withheld and len(self._requests) < _AHEAD:
            self._stream.credit(self._withheld)
            self._withheld = 0
