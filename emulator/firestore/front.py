"""What all ways into the engine have in common: counting, faults, waiting, and deadlines."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Generator, Iterator, Sequence
from concurrent.futures import wait as wait_for_future
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, Generic, TypeVar

from grpc import StatusCode

from emulator.clock import Clock, SystemClock
from emulator.firestore.bidi_stream import BidiStream
from emulator.firestore.faults import Faults, Mishap
from emulator.firestore.server_time import until_server_time
from emulator.firestore.service import BIDIRECTIONAL, STREAMING, UNARY, Service
from emulator.firestore.status import Status
from emulator.firestore.waiter import Waiter

T = TypeVar("T")
Start = Callable[[], Coroutine[Any, Any, T]]

_POLL = 0.005  # s; how often a thread that waits looks at a clock that it cannot sleep on


class Rest(Generic[T]):
    """What is left of an RPC that has to wait: await it once, or close it."""

    __slots__ = ("_close", "_coroutine")

    def __init__(self, coroutine: Coroutine[Any, Any, T], close: Callable[[], None]) -> None:
        self._coroutine = coroutine
        self._close = close

    def __await__(self) -> Generator[Any, None, T]:
        return self._coroutine.__await__()

    def close(self) -> None:
        """Give up what is not done yet; once it is done, this changes nothing."""
        self._coroutine.close()
        self._close()


class Conversation:
    """One bidirectional stream, from asyncio or from threads: one of them reads, any may send."""

    def __init__(self, front: Front, rpc: str, stream: BidiStream) -> None:
        self._front = front
        self._rpc = rpc
        self._stream = stream
        self._lock = front.service.lock
        self._failure: Status | None = None
        self._left: int | None = None  # responses, before it breaks
        self._break: Status | None = None

    def send(self, request: Any) -> None:
        """Send a request; what becomes of it is told to whoever reads."""
        faults = self._front._faults
        mishap = faults.take(self._rpc, request) if faults.pending else None
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
        return self._heard(await self._front._drive(self._stream.next(), None))

    def read_in_thread(self) -> Sequence[Any] | None:
        """As `read`, without an event loop."""
        self._check_broken()
        return self._heard(self._front._drive_in_thread(self._stream.next(), None))

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
        with self._lock:
            self._stream.close()


class Front:
    """Calls a service's RPCs, from asyncio or from a thread.

    A timeout is in seconds of the emulator's clock; an RPC that takes longer fails with DEADLINE_EXCEEDED and gives up
    its place in every queue.
    """

    def __init__(self, service: Service, clock: Clock, faults: Faults) -> None:
        self.service = service
        self._clock = clock
        self._faults = faults
        self._clock_runs = isinstance(clock, SystemClock)  # one that a test moves by hand is never waited for
        self._late: set[asyncio.Task[Any]] = set()

    def begin_unary(self, rpc: str, request: Any, timeout: float | None = None) -> Any:
        """Begin an RPC at once, in the event loop: the response, or a `Rest` where it has to wait.

        Raises:
            Status: it has failed already.
        """
        if rpc not in UNARY:
            raise unimplemented(rpc)
        return self._begin(rpc, request, lambda: self.service.unary(rpc, request), timeout)

    def begin_stream(self, rpc: str, request: Any, timeout: float | None = None) -> Any:
        """As `begin_unary`, for the iterator of a streaming RPC's responses."""
        if rpc not in STREAMING:
            raise unimplemented(rpc)
        return self._begin(rpc, request, lambda: self.service.stream(rpc, request), timeout)

    def begin_bidi(self, rpc: str, timeout: float | None = None) -> Any:
        """As `begin_unary`, for a bidirectional stream: a `Conversation`."""
        if rpc not in BIDIRECTIONAL:
            raise unimplemented(rpc)
        return self._begin(rpc, None, lambda: self._open(rpc), timeout)

    def unary_in_thread(self, rpc: str, request: Any, timeout: float | None = None) -> Any:
        """The response, without an event loop; a Status where the RPC fails."""
        if rpc not in UNARY:
            raise unimplemented(rpc)
        return self._call_in_thread(rpc, request, lambda: self.service.unary(rpc, request), timeout)

    def stream_in_thread(self, rpc: str, request: Any, timeout: float | None = None) -> Iterator[Any]:
        """As `unary_in_thread`, for the responses of a streaming RPC."""
        if rpc not in STREAMING:
            raise unimplemented(rpc)
        return self._call_in_thread(rpc, request, lambda: self.service.stream(rpc, request), timeout)

    def bidi_in_thread(self, rpc: str, timeout: float | None = None) -> Conversation:
        """As `begin_bidi`, without an event loop; a Status where it cannot be opened."""
        if rpc not in BIDIRECTIONAL:
            raise unimplemented(rpc)
        return self._call_in_thread(rpc, None, lambda: self._open(rpc), timeout)

    async def _open(self, rpc: str) -> Conversation:
        return Conversation(self, rpc, self.service.converse(rpc))

    # In asyncio -------------------------------------------------------------------------------------------

    def _begin(self, rpc: str, request: Any, start: Start[T], timeout: float | None) -> T | Rest[T]:
        deadline = self._deadline(rpc, timeout)
        mishap = self._faults.take(rpc, request) if self._faults.pending else None
        if mishap is None:
            pause = self._until_server_time(rpc, request)
            if pause is not None:
                return Rest(self._do_after(pause, start, deadline), _nothing)
            return self._first_step(start(), deadline)
        return self._begin_amiss(rpc, mishap, start, deadline)

    def _begin_amiss(self, rpc: str, mishap: Mishap, start: Start[T], deadline: int | None) -> T | Rest[T]:
        match mishap.when:
            case "late":
                self._leave(self._do_late(start, mishap))
                raise mishap.status
            case "twice":
                return self._do_twice(rpc, mishap, start, deadline)
            case "cut":
                start = partial(_cut, start, mishap)
        if mishap.latency:
            return Rest(self._do_slowly(mishap, start, deadline), _nothing)
        if mishap.fails_before:
            raise mishap.status
        outcome = self._first_step(start(), deadline)
        if not mishap.fails_after:
            return outcome
        if isinstance(outcome, Rest):
            return Rest(_fail_after(outcome, mishap), outcome.close)
        raise mishap.status

    async def _do_after(self, pause: timedelta, start: Start[T], deadline: int | None) -> T:
        await self._clock.sleep(self._cut(pause, deadline))
        self._check(deadline)
        return await self._drive(start(), deadline)

    async def _do_slowly(self, mishap: Mishap, start: Start[T], deadline: int | None) -> T:
        await self._clock.sleep(self._cut(mishap.latency, deadline))
        self._check(deadline)
        if mishap.fails_before:
            raise mishap.status
        result = await self._drive(start(), deadline)
        if mishap.fails_after:
            raise mishap.status
        return result

    async def _do_late(self, start: Start[Any], mishap: Mishap) -> None:
        await self._clock.sleep(mishap.latency)
        with suppress(Status):  # whoever asked for it got another answer long ago
            await self._drive(start(), None)

    def _do_twice(self, rpc: str, mishap: Mishap, start: Start[T], deadline: int | None) -> T | Rest[T]:
        try:
            outcome = self._first_step(start(), deadline)
        except Status:
            self._do_again(rpc, mishap, start)
            raise
        if isinstance(outcome, Rest):
            return Rest(self._go_on_twice(rpc, mishap, start, outcome), outcome.close)
        self._do_again(rpc, mishap, start)
        return outcome

    async def _go_on_twice(self, rpc: str, mishap: Mishap, start: Start[T], first: Rest[T]) -> T:
        try:
            result = await first
        except Status:
            self._do_again(rpc, mishap, start)
            raise
        self._do_again(rpc, mishap, start)
        return result

    def _do_again(self, rpc: str, mishap: Mishap, start: Start[Any]) -> None:
        """Do it as if nobody were there to hear the answer: at once, as far as that goes, where it has no latency."""
        self._deadline(rpc, None)
        if mishap.latency:
            self._leave(self._do_late(start, mishap))
            return
        with suppress(Status):
            outcome = self._first_step(start(), None)
            if isinstance(outcome, Rest):
                self._leave(_until_it_ends(outcome))

    def _leave(self, work: Coroutine[Any, Any, None]) -> None:
        """Let work go on that nobody waits for."""
        task = asyncio.ensure_future(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    async def _drive(self, coroutine: Coroutine[Any, Any, T], deadline: int | None) -> T:
        result = self._first_step(coroutine, deadline)
        return await result if isinstance(result, Rest) else result

    def _first_step(self, coroutine: Coroutine[Any, Any, T], deadline: int | None) -> T | Rest[T]:
        try:
            with self.service.lock:
                waiter: Waiter = coroutine.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        return Rest(self._go_on(coroutine, waiter, deadline), lambda: self._close(coroutine))

    async def _go_on(self, coroutine: Coroutine[Any, Any, T], waiter: Waiter, deadline: int | None) -> T:
        try:
            while True:
                await self._wait(waiter, deadline)
                with self.service.lock:
                    waiter = coroutine.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            self._close(coroutine)

    def _close(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Give up its place in a queue, where it is not finished."""
        with self.service.lock:
            coroutine.close()

    async def _wait(self, waiter: Waiter, deadline: int | None) -> None:
        woken = asyncio.wrap_future(waiter.future)
        try:
            while not woken.done():
                pause = self._cut(self.service.next_expiry() if waiter.timed else None, deadline)
                if pause is None:
                    await asyncio.wait([woken])
                    return
                timer = asyncio.ensure_future(self._clock.sleep(pause))
                try:
                    await asyncio.wait([woken, timer], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    timer.cancel()
                if not woken.done():
                    with self.service.lock:
                        self.service.tick()
                    self._check(deadline)
                    await asyncio.sleep(0)  # a wake-up from the tick arrives by the loop
        finally:
            woken.cancel()

    # In a thread ------------------------------------------------------------------------------------------

    def _call_in_thread(self, rpc: str, request: Any, start: Start[T], timeout: float | None) -> T:
        deadline = self._deadline(rpc, timeout)
        mishap = self._faults.take(rpc, request) if self._faults.pending else None
        if mishap is None:
            pause = self._until_server_time(rpc, request)
            if pause is not None:
                self._pause_in_thread(self._cut(pause, deadline))
                self._check(deadline)
            return self._drive_in_thread(start(), deadline)
        return self._call_amiss_in_thread(rpc, mishap, start, deadline)

    def _call_amiss_in_thread(self, rpc: str, mishap: Mishap, start: Start[T], deadline: int | None) -> T:
        match mishap.when:
            case "late":
                self._leave_to_thread(self._do_late_in_thread, start, mishap)
                raise mishap.status
            case "twice":
                try:
                    return self._drive_in_thread(start(), deadline)
                finally:
                    self._do_again_in_thread(rpc, mishap, start)
            case "cut":
                start = partial(_cut, start, mishap)
        if mishap.latency:
            self._pause_in_thread(self._cut(mishap.latency, deadline))
            self._check(deadline)
        if mishap.fails_before:
            raise mishap.status
        result = self._drive_in_thread(start(), deadline)
        if mishap.fails_after:
            raise mishap.status
        return result

    def _do_late_in_thread(self, start: Start[Any], mishap: Mishap) -> None:
        self._pause_in_thread(mishap.latency)
        with suppress(Status):  # whoever asked for it got another answer long ago
            self._drive_in_thread(start(), None)

    def _do_again_in_thread(self, rpc: str, mishap: Mishap, start: Start[Any]) -> None:
        """As `_do_again`."""
        self._deadline(rpc, None)
        if mishap.latency:
            self._leave_to_thread(self._do_late_in_thread, start, mishap)
            return
        coroutine = start()
        with suppress(Status, StopIteration):
            with self.service.lock:
                waiter = coroutine.send(None)
            self._leave_to_thread(self._go_on_alone_in_thread, coroutine, waiter)

    def _go_on_alone_in_thread(self, coroutine: Coroutine[Any, Any, Any], waiter: Waiter) -> None:
        with suppress(Status):
            self._go_on_in_thread(coroutine, waiter, None)

    @staticmethod
    def _leave_to_thread(work: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    def _drive_in_thread(self, coroutine: Coroutine[Any, Any, T], deadline: int | None) -> T:
        try:
            with self.service.lock:
                waiter: Waiter = coroutine.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        return self._go_on_in_thread(coroutine, waiter, deadline)

    def _go_on_in_thread(self, coroutine: Coroutine[Any, Any, T], waiter: Waiter, deadline: int | None) -> T:
        lock = self.service.lock
        try:
            while True:
                poll = _POLL if waiter.timed or deadline is not None else None
                while not wait_for_future([waiter.future], timeout=poll).done:
                    with lock:
                        self.service.tick()
                    self._check(deadline)
                with lock:
                    waiter = coroutine.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            with lock:
                coroutine.close()

    def _pause_in_thread(self, duration: timedelta) -> None:
        until = self._clock.monotonic() + duration.total_seconds()
        while self._clock.monotonic() < until:
            time.sleep(min(_POLL, duration.total_seconds()))

    def _until_server_time(self, rpc: str, request: Any) -> timedelta | None:
        return until_server_time(rpc, request, self._clock.now()) if self._clock_runs else None

    # Counting, and deadlines ------------------------------------------------------------------------------

    def _deadline(self, rpc: str, timeout: float | None) -> int | None:
        """Count an RPC, and reckon when it has to be done, in microseconds of the clock: sums of floats drift."""
        with self.service.lock:
            self.service.counts.rpcs[rpc] += 1
        if timeout is None:
            return None
        if timeout <= 0:
            raise _too_late()
        return self._now_us() + max(1, round(timeout * 1e6))

    def _now_us(self) -> int:
        return round(self._clock.monotonic() * 1e6)

    def _cut(self, pause: timedelta | None, deadline: int | None) -> Any:
        if deadline is None:
            return pause
        left = timedelta(microseconds=max(0, deadline - self._now_us()))
        return left if pause is None else min(pause, left)

    def _check(self, deadline: int | None) -> None:
        if deadline is not None and self._now_us() >= deadline:
            raise _too_late()


def unimplemented(rpc: str) -> Status:
    """What an RPC gets that the emulator does not have."""
    return Status(StatusCode.UNIMPLEMENTED, f"The emulator has no {rpc}.")


def _too_late() -> Status:
    return Status(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


async def _fail_after(rest: Rest[Any], mishap: Mishap) -> Any:
    await rest
    raise mishap.status


async def _until_it_ends(rest: Rest[Any]) -> None:
    with suppress(Status):
        await rest


async def _cut(start: Start[Any], mishap: Mishap) -> Any:
    outcome = await start()
    if isinstance(outcome, Conversation):
        outcome.break_after(mishap.fault.after_messages, mishap.status)
        return outcome
    if not mishap.fault.after_messages:
        raise mishap.status  # where the stream's very first error belongs, so that retries see it
    return mishap.cut(outcome)


def _nothing() -> None:
    """Nothing is held that would have to be given up."""
