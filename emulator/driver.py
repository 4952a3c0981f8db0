"""Driving the engine's coroutines, from asyncio or from a plain thread, until they are done or too late."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Generator
from concurrent.futures import wait as wait_for_future
from datetime import timedelta
from typing import Any, Generic, TypeVar

from grpc import StatusCode

from emulator.clock import Clock
from emulator.rpcs import RpcService
from emulator.status import Status
from emulator.waiter import Waiter

T = TypeVar("T")

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


class Driver:
    """Takes coroutines of a service from one Waiter to the next, holding the service's lock in between.

    A deadline is in microseconds of the clock: sums of floats drift. Past it, a coroutine fails with DEADLINE_EXCEEDED,
    and is closed, so that it gives up its place in every queue.
    """

    def __init__(self, service: RpcService, clock: Clock) -> None:
        self._service = service
        self._clock = clock

    async def drive(self, coroutine: Coroutine[Any, Any, T], deadline: int | None) -> T:
        """What the coroutine returns, in the event loop."""
        result = self.first_step(coroutine, deadline)
        return await result if isinstance(result, Rest) else result

    def first_step(self, coroutine: Coroutine[Any, Any, T], deadline: int | None) -> T | Rest[T]:
        """What the coroutine returns at once, or a `Rest` where it has to wait."""
        try:
            with self._service.lock:
                waiter: Waiter = coroutine.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        return Rest(self._go_on(coroutine, waiter, deadline), lambda: self._close(coroutine))

    async def _go_on(self, coroutine: Coroutine[Any, Any, T], waiter: Waiter, deadline: int | None) -> T:
        try:
            while True:
                await self._wait(waiter, deadline)
                with self._service.lock:
                    waiter = coroutine.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            self._close(coroutine)

    def _close(self, coroutine: Coroutine[Any, Any, Any]) -> None:
        """Give up its place in a queue, where it is not finished."""
        with self._service.lock:
            coroutine.close()

    async def _wait(self, waiter: Waiter, deadline: int | None) -> None:
        woken = asyncio.wrap_future(waiter.future)
        try:
            while not woken.done():
                pause = self.cut(self._service.next_expiry() if waiter.timed else None, deadline)
                if pause is None:
                    await asyncio.wait([woken])
                    return
                timer = asyncio.ensure_future(self._clock.sleep(pause))
                try:
                    await asyncio.wait([woken, timer], return_when=asyncio.FIRST_COMPLETED)
                finally:
                    timer.cancel()
                if not woken.done():
                    with self._service.lock:
                        self._service.tick()
                    self.check(deadline)
                    await asyncio.sleep(0)  # a wake-up from the tick arrives by the loop
        finally:
            woken.cancel()

    def drive_in_thread(
        self,
        coroutine: Coroutine[Any, Any, T],
        deadline: int | None,
        *,
        waiter: Waiter | None = None,
        given_up: threading.Event | None = None,
    ) -> T:
        """What the coroutine returns, without an event loop.

        Args:
            waiter: what it waits for already; None: it has not begun.
            given_up: makes it fail with CANCELLED, once set, while it waits.
        """
        lock = self._service.lock
        try:
            while True:
                if waiter is not None:
                    self._wait_in_thread(waiter, deadline, given_up)
                with lock:
                    waiter = coroutine.send(None)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            with lock:
                coroutine.close()

    def _wait_in_thread(self, waiter: Waiter, deadline: int | None, given_up: threading.Event | None) -> None:
        poll = _POLL if waiter.timed or deadline is not None else None
        while not wait_for_future([waiter.future], timeout=poll).done:
            with self._service.lock:
                self._service.tick()
            self.check(deadline)
            if given_up is not None and given_up.is_set():
                raise Status(StatusCode.CANCELLED, "Locally cancelled by application!")

    def pause_in_thread(self, duration: timedelta) -> None:
        """Return once the clock has moved on so far."""
        until = self._clock.monotonic() + duration.total_seconds()
        while self._clock.monotonic() < until:
            time.sleep(min(_POLL, duration.total_seconds()))

    def deadline(self, timeout: float | None) -> int | None:
        """When something has to be done that may take so many seconds from now; DEADLINE_EXCEEDED without any."""
        if timeout is None:
            return None
        if timeout <= 0:
            raise _too_late()
        return self.now_us() + max(1, round(timeout * 1e6))

    def now_us(self) -> int:
        """The clock's monotonic time, in microseconds."""
        return round(self._clock.monotonic() * 1e6)

    def cut(self, pause: timedelta | None, deadline: int | None) -> Any:
        """A pause, made shorter where it would go beyond the deadline; None where neither ends it."""
        if deadline is None:
            return pause
        left = timedelta(microseconds=max(0, deadline - self.now_us()))
        return left if pause is None else min(pause, left)

    def check(self, deadline: int | None) -> None:
        """DEADLINE_EXCEEDED where the deadline has passed."""
        if deadline is not None and self.now_us() >= deadline:
            raise _too_late()


def _too_late() -> Status:
    return Status(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")
