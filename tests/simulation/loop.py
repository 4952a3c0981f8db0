"""An asyncio event loop in which time is virtual and a seed decides who runs next.

Nothing here looks at the machine: when nobody can run, the time jumps to the next timer. Of those who can run, any may
be next, so an order that the code only happens to rely on breaks sooner or later.
"""

from __future__ import annotations

import asyncio
import heapq
import itertools
from collections.abc import Callable, Coroutine, Generator, Iterator
from contextlib import contextmanager
from contextvars import Context, copy_context
from datetime import timedelta
from random import Random
from typing import Any, TypeVar

from tests.simulation.process import PROCESS, Process

T = TypeVar("T")


class StuckError(Exception):
    """Nobody can run, and nobody ever will; or the simulation does not come to an end."""


class _Task(asyncio.Task[Any]):
    """Has a hash that is the same in each interpreter: sets of tasks are iterated in the order that it makes."""

    def __init__(self, number: int, coro: Any, **options: Any) -> None:
        self._number = number  # first: asyncio's own set of all tasks takes it in while it is made
        super().__init__(coro, **options)

    def __hash__(self) -> int:
        return self._number


class _Future(asyncio.Future[Any]):
    def __hash__(self) -> int:
        return self._number

    _number = 0


class SimulatedLoop(asyncio.AbstractEventLoop):
    """The loop. What belongs to a process that has died is never run again, nor does it clean up.

    Args:
        rng: who runs next.
        disorder: how often that is anybody; otherwise it is the one who has waited longest, as in asyncio's own loops.
        max_steps: after so many it is taken for stuck.
    """

    def __init__(self, rng: Random, *, disorder: float = 0.5, max_steps: int = 300_000) -> None:
        self._random = rng.random
        self._disorder = disorder
        self._left = max_steps
        self._ready: list[asyncio.Handle] = []
        self._timers: list[tuple[int, int, asyncio.TimerHandle]] = []
        self._numbers = itertools.count(1)
        self._now_us = 0
        self.failures: list[dict[str, Any]] = []
        """What the exception handler was called with."""

    def run_until_complete(self, future: Generator[Any, None, T] | Coroutine[Any, Any, T] | Any) -> T:
        """Run until it is done; its result.

        Raises:
            StuckError: it never will be.
        """
        with self.running():
            task = asyncio.ensure_future(future, loop=self)
            while not task.done():
                self._step()
            return task.result()  # type: ignore[no-any-return]

    @contextmanager
    def running(self) -> Iterator[None]:
        """Be the loop that runs, for those who ask it the time."""
        asyncio.events._set_running_loop(self)
        try:
            yield
        finally:
            asyncio.events._set_running_loop(None)

    def _step(self) -> None:
        self._left -= 1
        if self._left < 0:
            raise StuckError("it does not come to an end")
        ready = self._ready
        if not ready:
            self._advance()
        count = len(ready)
        place = int(self._random() * count) if count > 1 and self._random() < self._disorder else 0
        handle = ready.pop(place)
        if handle._cancelled:  # type: ignore[attr-defined]
            return
        process = handle._context.get(PROCESS, None)  # type: ignore[attr-defined]
        if process is not None and not process.may_run():
            process.limbo.append(handle)
            return
        handle._run()  # type: ignore[attr-defined]

    def _advance(self) -> None:
        """Move on to the next timer, and let all run whose time has come."""
        timers = self._timers
        while timers:
            when, _, handle = heapq.heappop(timers)
            if handle._cancelled:  # type: ignore[attr-defined]
                continue
            self._now_us = max(self._now_us, when)
            self._ready.append(handle)
            while timers and timers[0][0] <= self._now_us:
                self._ready.append(heapq.heappop(timers)[2])
            return
        raise StuckError("nobody can run any more, and something is still awaited")

    def allow(self, steps: int) -> None:
        """Let it take so many steps from now on."""
        self._left = steps

    def bring_back(self, process: Process) -> None:
        """Let run what was held back of a process that is dead no longer, or stands still no longer."""
        handles, process.limbo = process.limbo, []
        self._ready.extend(handles)

    # What asyncio calls -----------------------------------------------------------------------------------

    def time(self) -> float:
        return self._now_us / 1e6

    @property
    def elapsed(self) -> timedelta:
        """The virtual time, exactly: it passes in whole microseconds, as the services' clocks show it."""
        return timedelta(microseconds=self._now_us)

    def call_soon(
        self, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.Handle:
        handle = asyncio.Handle(callback, args, self, context)
        self._ready.append(handle)
        return handle

    call_soon_threadsafe = call_soon

    def call_later(
        self, delay: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        return self.call_at(self._now_us / 1e6 + max(0.0, delay), callback, *args, context=context)

    def call_at(
        self, when: float, callback: Callable[..., Any], *args: Any, context: Context | None = None
    ) -> asyncio.TimerHandle:
        handle = asyncio.TimerHandle(when, callback, args, self, context)
        heapq.heappush(self._timers, (round(when * 1e6), next(self._numbers), handle))
        return handle

    def create_future(self) -> asyncio.Future[Any]:
        future = _Future(loop=self)
        future._number = next(self._numbers)
        return future

    def create_task(
        self, coro: Any, *, name: str | None = None, context: Context | None = None, **_: Any
    ) -> asyncio.Task[Any]:
        number = next(self._numbers)
        task = _Task(number, coro, loop=self, name=name or f"task {number}", context=context)
        process = (context or copy_context()).get(PROCESS, None)
        if process is not None:
            process.tasks.append(task)  # one that is let go of would be closed, and clean up
        return task

    def get_debug(self) -> bool:
        return False

    def is_running(self) -> bool:
        return asyncio._get_running_loop() is self

    def is_closed(self) -> bool:
        return False

    def close(self) -> None:
        self._ready.clear()
        self._timers.clear()

    def call_exception_handler(self, context: dict[str, Any]) -> None:
        self.failures.append(context)

    def _timer_handle_cancelled(self, handle: asyncio.TimerHandle) -> None:
        """It is passed over when its time has come."""
