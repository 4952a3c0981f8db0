"""What all ways into the engine have in common: counting, faults, waiting, and deadlines."""

from __future__ import annotations

import asyncio
import threading
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import wait as wait_for_future
from contextlib import suppress
from datetime import timedelta
from typing import Any, TypeVar

from grpc import StatusCode

from emulator.clock import Clock
from emulator.firestore.faults import Fault, Faults
from emulator.firestore.service import STREAMING, UNARY, Service
from emulator.firestore.status import Status
from emulator.firestore.waiter import Waiter

T = TypeVar("T")
Start = Callable[[], Coroutine[Any, Any, T]]

_POLL = 0.005  # s; how often a thread that waits looks at a clock that it cannot sleep on


class Front:
    """Calls a service's RPCs, from asyncio or from a thread."""

    def __init__(self, service: Service, clock: Clock, faults: Faults) -> None:
        self.service = service
        self._clock = clock
        self._faults = faults
        self._late: set[asyncio.Task[Any]] = set()

    async def unary(self, rpc: str, request: Any, timeout: float | None = None) -> Any:
        """The response; a Status where the RPC fails, or takes longer than `timeout` seconds of the clock."""
        if rpc not in UNARY:
            raise _unimplemented(rpc)
        return await self._call(rpc, lambda: self.service.unary(rpc, request), timeout)

    async def stream(self, rpc: str, request: Any, timeout: float | None = None) -> Iterator[Any]:
        """The responses of a streaming RPC."""
        if rpc not in STREAMING:
            raise _unimplemented(rpc)
        return await self._call(rpc, lambda: self.service.stream(rpc, request), timeout)

    def unary_in_thread(self, rpc: str, request: Any, timeout: float | None = None) -> Any:
        """As `unary`, without an event loop."""
        if rpc not in UNARY:
            raise _unimplemented(rpc)
        return self._call_in_thread(rpc, lambda: self.service.unary(rpc, request), timeout)

    def stream_in_thread(self, rpc: str, request: Any, timeout: float | None = None) -> Iterator[Any]:
        """As `stream`, without an event loop."""
        if rpc not in STREAMING:
            raise _unimplemented(rpc)
        return self._call_in_thread(rpc, lambda: self.service.stream(rpc, request), timeout)

    # In asyncio -------------------------------------------------------------------------------------------

    async def _call(self, rpc: str, start: Start[T], timeout: float | None) -> T:
        self.service.counts.rpcs[rpc] += 1
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        fault = self._faults.take(rpc)
        if fault is None:
            return await self._drive(start(), deadline)
        if fault.when == "late":
            task = asyncio.ensure_future(self._do_late(start, fault))
            self._late.add(task)
            task.add_done_callback(self._late.discard)
            raise fault.status
        if fault.latency:
            await self._clock.sleep(self._cut(fault.latency, deadline))
            self._check(deadline)
        if fault.error and fault.when == "before":
            raise fault.status
        result = await self._drive(start(), deadline)
        if fault.error:
            raise fault.status
        return result

    async def _do_late(self, start: Start[Any], fault: Fault) -> None:
        await self._clock.sleep(fault.latency)
        with suppress(Status):  # whoever asked for it got another error long ago
            await self._drive(start(), None)

    async def _drive(self, coroutine: Coroutine[Any, Any, T], deadline: float | None) -> T:
        lock = self.service.lock
        try:
            while True:
                with lock:
                    waiter: Waiter = coroutine.send(None)
                await self._wait(waiter, deadline)
        except StopIteration as stop:
            result: T = stop.value
            return result
        finally:
            with lock:
                coroutine.close()  # gives up its place in a queue, where it was not finished

    async def _wait(self, waiter: Waiter, deadline: float | None) -> None:
        woken = asyncio.wrap_future(waiter.future)
        try:
            while not woken.done():
                pause = self._cut(self.service.next_expiry(), deadline)
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

    def _call_in_thread(self, rpc: str, start: Start[T], timeout: float | None) -> T:
        with self.service.lock:
            self.service.counts.rpcs[rpc] += 1
        deadline = None if timeout is None else self._clock.monotonic() + timeout
        fault = self._faults.take(rpc)
        if fault is None:
            return self._drive_in_thread(start(), deadline)
        if fault.when == "late":
            threading.Thread(target=self._do_late_in_thread, args=(start, fault), daemon=True).start()
            raise fault.status
        if fault.latency:
            self._pause_in_thread(self._cut(fault.latency, deadline))
            self._check(deadline)
        if fault.error and fault.when == "before":
            raise fault.status
        result = self._drive_in_thread(start(), deadline)
        if fault.error:
            raise fault.status
        return result

    def _do_late_in_thread(self, start: Start[Any], fault: Fault) -> None:
        self._pause_in_thread(fault.latency)
        with suppress(Status):  # whoever asked for it got another error long ago
            self._drive_in_thread(start(), None)

    def _drive_in_thread(self, coroutine: Coroutine[Any, Any, T], deadline: float | None) -> T:
        lock = self.service.lock
        try:
            while True:
                with lock:
                    waiter: Waiter = coroutine.send(None)
                while not wait_for_future([waiter.future], timeout=_POLL).done:
                    with lock:
                        self.service.tick()
                    self._check(deadline)
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

    # Deadlines --------------------------------------------------------------------------------------------

    def _cut(self, pause: timedelta | None, deadline: float | None) -> Any:
        if deadline is None:
            return pause
        left = timedelta(seconds=max(0.0, deadline - self._clock.monotonic()))
        return left if pause is None else min(pause, left)

    def _check(self, deadline: float | None) -> None:
        if deadline is not None and self._clock.monotonic() >= deadline:
            raise Status(StatusCode.DEADLINE_EXCEEDED, "Deadline Exceeded")


def _unimplemented(rpc: str) -> Status:
    return Status(StatusCode.UNIMPLEMENTED, f"The emulator has no {rpc}.")
