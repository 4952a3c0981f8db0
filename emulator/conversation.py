"""A bidirectional stream, as a channel or the server holds it."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Any

from emulator.bidi_stream import BidiStream
from emulator.driver import Driver
from emulator.faults import Faults
from emulator.status import Status


class Conversation:
    """One bidirectional stream, from asyncio or from threads: one of them reads, any may send.

    It fails with DEADLINE_EXCEEDED past its deadline, in microseconds of the clock.
    """

    def __init__(
        self,
        rpc: str,
        stream: BidiStream,
        lock: Any,
        faults: Faults[Any],
        driver: Driver,
        deadline: int | None = None,
    ) -> None:
        self._rpc = rpc
        self._stream = stream
        self._lock = lock
        self._faults = faults
        self._driver = driver
        self._deadline = deadline
        self._closed = threading.Event()
        self._failure: Status | None = None
        self._left: int | None = None  # responses, before it breaks
        self._break: Status | None = None

    @property
    def backlog(self) -> int:
        """How many requests were sent and not dealt with."""
        return self._stream.backlog

    def send(self, request: Any) -> None:
        """Send a request; what becomes of it is told to whoever reads."""
        mishap = self._faults.take(self._rpc, request) if self._faults.pending else None
        if mishap is not None and mishap.fails_before:
            self.fail(mishap.status)
            return
        with self._lock:
            self._stream.receive(request)
        if mishap is not None:
            self.break_after(mishap.fault.after_messages, mishap.status)

    def done_writing(self) -> None:
        """Send no more."""
        with self._lock:
            self._stream.end_requests()

    def fail(self, status: Status) -> None:
        """End the stream with an error."""
        self._failure = status
        self.close()

    def break_after(self, responses: int, status: Status) -> None:
        """Let the stream fail once there were so many more responses, or where it would have ended."""
        self._left, self._break = responses, status
        if not responses:
            self.fail(status)

    async def read(self) -> Sequence[Any] | None:
        """The next responses; None: the stream has ended. A Status where it fails."""
        self._check_broken()
        return self._heard(await self._driver.drive(self._stream.next(), self._deadline))

    def read_in_thread(self) -> Sequence[Any] | None:
        """As `read`, without an event loop."""
        self._check_broken()
        coroutine = self._stream.next()
        return self._heard(self._driver.drive_in_thread(coroutine, self._deadline, given_up=self._closed))

    def _check_broken(self) -> None:
        if self._left == 0 and self._break is not None:
            self.fail(self._break)
        if self._failure is not None:
            raise self._failure

    def _heard(self, responses: Sequence[Any] | None) -> Sequence[Any] | None:
        if self._failure is not None:
            raise self._failure
        if self._left is None or self._break is None:
            return responses
        if responses is None:
            raise self._break
        responses = responses[: self._left]
        self._left -= len(responses)
        return responses

    def close(self) -> None:
        """Give the stream up: whoever reads is told that it has ended."""
        self._closed.set()
        with self._lock:
            self._stream.close()
