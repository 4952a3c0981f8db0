"""What all ways into the engine have in common: counting, faults, waiting, and deadlines."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Iterator
from contextlib import suppress
from datetime import timedelta
from functools import partial
from typing import Any, TypeVar

from emulator.clock import Clock
from emulator.conversation import Conversation
from emulator.driver import Driver, Rest
from emulator.faults import Faults, Mishap
from emulator.rpcs import RpcService
from emulator.status import Status
from emulator.waiter import Waiter

T = TypeVar("T")
Start = Callable[[], Coroutine[Any, Any, T]]


class Front:
    """Calls a service's RPCs, from asyncio or from a thread.

    A timeout is in seconds of the emulator's clock; an RPC that takes longer fails with DEADLINE_EXCEEDED and gives up
    its place in every queue.
    """

    def __init__(self, service: RpcService, clock: Clock, faults: Faults[Any]) -> None:
        self.service = service
        self.rpcs = service.rpcs
        self._clock = clock
        self._faults = faults
        self._driver = Driver(service, clock)
        self._late: set[asyncio.Task[Any]] = set()

    def begin_unary(
        self, rpc: str, request: Any, timeout: float | None = None, received: int | None = None
    ) -> Any:
        """Begin an RPC at once, in the event loop: the response, or a `Rest` where it has to wait.

        `received` is the number of bytes that the request came in, if it did.

        Raises:
            Status: it has failed already.
        """
        if rpc not in self.rpcs.unary:
            raise self.rpcs.unimplemented(rpc)
        return self._begin(rpc, request, lambda: self.service.unary(rpc, request, received), timeout)

    def begin_stream(self, rpc: str, request: Any, timeout: float | None = None) -> Any:
        """As `begin_unary`, for the iterator of a streaming RPC's responses."""
        if rpc not in self.rpcs.streaming:
            raise self.rpcs.unimplemented(rpc)
        return self._begin(rpc, request, lambda: self.service.stream(rpc, request), timeout)

    def begin_bidi(self, rpc: str, timeout: float | None = None) -> Any:
        """As `begin_unary`, for a bidirectional stream: a `Conversation`."""
        if rpc not in self.rpcs.bidirectional:
            raise self.rpcs.unimplemented(rpc)
        return self._begin(rpc, None, lambda: self._open(rpc, timeout), timeout)

    def unary_in_thread(self, rpc: str, request: Any, timeout: float | None = None) -> Any:
        """The response, without an event loop; a Status where the RPC fails."""
        if rpc not in self.rpcs.unary:
            raise self.rpcs.unimplemented(rpc)
        return self._call_in_thread(rpc, request, lambda: self.service.unary(rpc, request), timeout)

    def stream_in_thread(self, rpc: str, request: Any, timeout: float | None = None) -> Iterator[Any]:
        """As `unary_in_thread`, for the responses of a streaming RPC."""
        if rpc not in self.rpcs.streaming:
            raise self.rpcs.unimplemented(rpc)
        return self._call_in_thread(rpc, request, lambda: self.service.stream(rpc, request), timeout)

    def bidi_in_thread(self, rpc: str, timeout: float | None = None) -> Conversation:
        """As `begin_bidi`, without an event loop; a Status where it cannot be opened."""
        if rpc not in self.rpcs.bidirectional:
            raise self.rpcs.unimplemented(rpc)
        return self._call_in_thread(rpc, None, lambda: self._open(rpc, timeout), timeout)

    async def _open(self, rpc: str, timeout: float | None) -> Conversation:
        stream, deadline = self.service.converse(rpc), self._driver.deadline(timeout)
        return Conversation(rpc, stream, self.service.lock, self._faults, self._driver, deadline)

    # In asyncio -------------------------------------------------------------------------------------------

    def _begin(self, rpc: str, request: Any, start: Start[T], timeout: float | None) -> T | Rest[T]:
        deadline = self._deadline(rpc, timeout)
        mishap = self._faults.take(rpc, request) if self._faults.pending else None
        if mishap is None:
            pause = self.service.pause_before(rpc, request)
            if pause is not None:
                return Rest(self._do_after(pause, start, deadline), _nothing)
            return self._driver.first_step(start(), deadline)
        return self._begin_amiss(rpc, request, mishap, start, deadline)

    def _begin_amiss(
        self, rpc: str, request: Any, mishap: Mishap, start: Start[T], deadline: int | None
    ) -> T | Rest[T]:
        match mishap.when:
            case "late":
                self._leave(self._do_late(start, mishap))
                raise mishap.status
            case "twice":
                return self._do_twice(rpc, mishap, start, deadline)
            case "cut":
                start = partial(_cut, start, mishap)
        if mishap.latency:
            return Rest(self._do_slowly(request, mishap, start, deadline), _nothing)
        if mishap.fails_before:
            raise self._refusal(request, mishap)
        outcome = self._driver.first_step(start(), deadline)
        if not mishap.fails_after:
            return outcome
        if isinstance(outcome, Rest):
            return Rest(_fail_after(outcome, mishap), outcome.close)
        raise mishap.status

    async def _do_after(self, pause: timedelta, start: Start[T], deadline: int | None) -> T:
        await self._clock.sleep(self._driver.cut(pause, deadline))
        self._driver.check(deadline)
        return await self._driver.drive(start(), deadline)

    async def _do_slowly(self, request: Any, mishap: Mishap, start: Start[T], deadline: int | None) -> T:
        await self._clock.sleep(self._driver.cut(mishap.latency, deadline))
        self._driver.check(deadline)
        if mishap.fails_before:
            raise self._refusal(request, mishap)
        result = await self._driver.drive(start(), deadline)
        if mishap.fails_after:
            raise mishap.status
        return result

    async def _do_late(self, start: Start[Any], mishap: Mishap) -> None:
        await self._clock.sleep(mishap.latency)
        with suppress(Status):  # whoever asked for it got another answer long ago
            await self._driver.drive(start(), None)

    def _do_twice(self, rpc: str, mishap: Mishap, start: Start[T], deadline: int | None) -> T | Rest[T]:
        try:
            outcome = self._driver.first_step(start(), deadline)
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
            outcome = self._driver.first_step(start(), None)
            if isinstance(outcome, Rest):
                self._leave(_until_it_ends(outcome))

    def _leave(self, work: Coroutine[Any, Any, None]) -> None:
        """Let work go on that nobody waits for."""
        task = asyncio.ensure_future(work)
        self._late.add(task)
        task.add_done_callback(self._late.discard)

    # In a thread ------------------------------------------------------------------------------------------

    def _call_in_thread(self, rpc: str, request: Any, start: Start[T], timeout: float | None) -> T:
        deadline = self._deadline(rpc, timeout)
        mishap = self._faults.take(rpc, request) if self._faults.pending else None
        if mishap is None:
            pause = self.service.pause_before(rpc, request)
            if pause is not None:
                self._driver.pause_in_thread(self._driver.cut(pause, deadline))
                self._driver.check(deadline)
            return self._driver.drive_in_thread(start(), deadline)
        return self._call_amiss_in_thread(rpc, request, mishap, start, deadline)

    def _call_amiss_in_thread(
        self, rpc: str, request: Any, mishap: Mishap, start: Start[T], deadline: int | None
    ) -> T:
        match mishap.when:
            case "late":
                self._leave_to_thread(self._do_late_in_thread, start, mishap)
                raise mishap.status
            case "twice":
                try:
                    return self._driver.drive_in_thread(start(), deadline)
                finally:
                    self._do_again_in_thread(rpc, mishap, start)
            case "cut":
                start = partial(_cut, start, mishap)
        if mishap.latency:
            self._driver.pause_in_thread(self._driver.cut(mishap.latency, deadline))
            self._driver.check(deadline)
        if mishap.fails_before:
            raise self._refusal(request, mishap)
        result = self._driver.drive_in_thread(start(), deadline)
        if mishap.fails_after:
            raise mishap.status
        return result

    def _do_late_in_thread(self, start: Start[Any], mishap: Mishap) -> None:
        self._driver.pause_in_thread(mishap.latency)
        with suppress(Status):  # whoever asked for it got another answer long ago
            self._driver.drive_in_thread(start(), None)

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
            self._driver.drive_in_thread(coroutine, None, waiter=waiter)

    @staticmethod
    def _leave_to_thread(work: Callable[..., None], *arguments: Any) -> None:
        threading.Thread(target=work, args=arguments, daemon=True).start()

    # Refusing, counting, and deadlines ------------------------------------------------------------------------------

    def _refusal(self, request: Any, mishap: Mishap) -> Status:
        """The error of an RPC that fails without anything done; what it means to the service becomes true."""
        status = mishap.status
        with self.service.lock:
            self.service.refused(request, status.code)
        return status

    def _deadline(self, rpc: str, timeout: float | None) -> int | None:
        """Count an RPC, and reckon when it has to be done, in microseconds of the clock: sums of floats drift."""
        with self.service.lock:
            self.service.called(rpc)
        return self._driver.deadline(timeout)


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
