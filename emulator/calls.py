"""The calls of the in-process channel: what grpc.aio gives whoever calls an RPC."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import suppress
from typing import Any

from grpc import StatusCode, aio

from emulator.driver import Rest
from emulator.status import Status

_log = logging.getLogger(__name__)

_END: Any = aio.EOF  # type: ignore[attr-defined] # grpc's stubs lack it


class Call(aio.Call):
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


class UnaryCall(Call, aio.UnaryUnaryCall):
    def __await__(self) -> Generator[Any, None, Any]:
        response = yield from self._result().__await__()
        return self._deserialize(response.SerializeToString())


class StreamCall(Call, aio.UnaryStreamCall):
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


class BidiCall(Call, aio.StreamStreamCall):
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
        self._pulling = asyncio.Lock()
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
            await self._result()
            if self._ended:
                return _END
            await self._pull()
        return self._deserialize(self._unread.popleft().SerializeToString())

    async def __aiter__(self) -> AsyncIterator[Any]:
        while (response := await self.read()) is not _END:
            yield response

    async def _settled(self) -> None:
        """Return once the stream has ended; what it says until then is kept for whoever reads."""
        while not self.done():
            with suppress(aio.AioRpcError):
                await self._pull()

    async def _pull(self) -> None:
        """Hear what the stream has to say next, or that it has ended."""
        async with self._pulling:
            if self.done():
                return
            conversation = await self._result()
            try:
                responses = await conversation.read()
            except Status as status:
                self._status = status
                self._close()
                return
            except asyncio.CancelledError:
                self.cancel()
                raise
            if responses is None:
                self._ended = True
                self._close()
            else:
                self._unread.extend(responses)

    async def _feed(self, requests: Any) -> None:
        try:
            if hasattr(requests, "__aiter__"):
                async for request in requests:
                    await self.write(request)
            else:
                for request in requests:
                    await self.write(request)
            await self.done_writing()
        except (aio.AioRpcError, asyncio.InvalidStateError):
            pass  # the stream has ended, as whoever reads is told
        except Exception:
            _log.exception("the requests of an RPC failed, which is cancelled")
            self.cancel()

    def _close(self) -> None:
        if self._feeding is not None:
            self._feeding.cancel()
        if self._task is not None:
            self._task.cancel()
        if self._outcome is not None:
            self._outcome.close()
        self._call_back()


class RefusedCall(Call, aio.StreamStreamCall, aio.StreamUnaryCall):
    """A call of what the emulator does not have."""

    def __init__(self, status: Status) -> None:
        def refuse() -> None:
            raise status

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
