"""Dispatching what is due: all of it in `drain`, or by and by, as the queues' rates have it, in `running`."""

from __future__ import annotations

import asyncio
import heapq
import logging
import threading
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from contextlib import asynccontextmanager, suppress
from contextvars import ContextVar
from datetime import timedelta
from functools import partial
from itertools import count
from typing import Any, NamedTuple

from grpc import StatusCode

from emulator.clock import Clock
from emulator.faults import Faults, Mishap
from emulator.status import Status
from emulator.tasks.counts import Counts
from emulator.tasks.deliveries import TokenSigner, delivery_of
from emulator.tasks.dispatch import Attempt, Delivery, Dispatcher
from emulator.tasks.engine import Engine
from emulator.tasks.faults import DISPATCH, Fault
from emulator.tasks.stored_queue import StoredQueue
from emulator.tasks.stored_task import StoredTask

_log = logging.getLogger(__name__)

_MICROSECOND = timedelta(microseconds=1)
_US_PER_S = 1_000_000

Running = set[asyncio.Task[Attempt]]

_INSIDE: ContextVar[asyncio.Task[Any] | None] = ContextVar("inside", default=None)
"""The dispatch that an application in this process runs in."""


class _Stray(NamedTuple):
    """What a fault delivers once more, or too late; nobody waits for its answer."""

    due_us: int
    order: int
    delivery: Delivery
    counts: bool


class _Held(NamedTuple):
    """What RunTask wants dispatched, and a fault holds up."""

    due_us: int
    order: int
    queue: StoredQueue
    task: StoredTask


class Dispatching:
    """Takes due tasks from an engine to their workers.

    Dispatches run as tasks of the event loop in which they were begun. A queue never has more of them under way than
    it allows, but for those that RunTask forces.

    Args:
        engine: whose tasks.
        clock: what due times go by.
        dispatcher: what carries them.
        signer: makes the tokens that tasks carry.
        faults: what goes wrong.
        counts: where dispatches are counted.
    """

    def __init__(
        self,
        engine: Engine,
        clock: Clock,
        dispatcher: Dispatcher,
        signer: TokenSigner,
        faults: Faults[Fault],
        counts: Counts,
    ) -> None:
        self._engine = engine
        self._clock = clock
        self._dispatcher = dispatcher
        self._signer = signer
        self._faults = faults
        self._counts = counts
        self._ended = 0  # dispatches, ever
        self._under_way: dict[asyncio.Task[Attempt], Callable[[asyncio.Task[Attempt]], None]] = {}
        self._strays: list[_Stray] = []
        self._held: list[_Held] = []
        self._order = count()
        self._listeners: dict[asyncio.Event, tuple[int, asyncio.AbstractEventLoop]] = {}
        engine.on_change = self._tell

    async def drain(self) -> int:
        """Dispatch all that is due, whatever the rates are, until nothing is due or under way; how many that were.

        What workers create meanwhile is dispatched too, once it is due. A retry is due when its backoff has passed on
        the clock, which this does not move. Paused queues stay as they are. Cancelled, it gives back what is under way.

        Raises:
            RuntimeError: an application calls it whose own dispatch it would wait for.
        """
        if _INSIDE.get() in self._under_way:
            raise RuntimeError(
                "drain() was called by an application that is being called: it would wait for its own answer for "
                "ever. Drain where the application is not; what it creates is dispatched by the drain that called it."
            )
        before, own = self._ended, Running()
        news = self._listen()
        try:
            while True:
                news.clear()
                self._give_up_lost()
                own |= self._start(limited=False)[0]
                if not self._under_way:
                    return self._ended - before
                await news.wait()
                own.intersection_update(self._under_way)
        except asyncio.CancelledError:
            await _cancel(self._still_under_way(own))
            raise
        finally:
            del self._listeners[news]

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """Dispatch what is due while inside, by the queues' rates; at the end, what is under way is given back."""
        own = Running()
        background = asyncio.get_running_loop().create_task(self._run(own))
        try:
            yield
        finally:
            await _cancel([background])
            await _cancel(self._still_under_way(own))

    def forget(self) -> None:
        """Deliver nothing any more that a fault has held up."""
        self._strays.clear()
        self._held.clear()

    async def _run(self, own: Running) -> None:
        news = self._listen()
        try:
            while True:
                news.clear()
                begun, pause = self._start(limited=True)
                own |= begun
                await self._wait(news, pause)
                own.intersection_update(self._under_way)
        finally:
            del self._listeners[news]

    async def _wait(self, news: asyncio.Event, pause: float | None) -> None:
        """Return when there is news, or, at the latest, after so many seconds of the clock."""
        if pause is None:
            await news.wait()
            return
        waits = [
            asyncio.ensure_future(news.wait()),
            asyncio.ensure_future(
                self._clock.sleep(timedelta(microseconds=max(1, round(pause * _US_PER_S))))
            ),
        ]
        try:
            await asyncio.wait(waits, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for wait in waits:
                wait.cancel()

    def _still_under_way(self, own: Running) -> list[asyncio.Task[Attempt]]:
        """Those of one's own, in the order in which they were begun."""
        return [task for task in self._under_way if task in own]

    # News ---------------------------------------------------------------------------------------------------

    def _listen(self) -> asyncio.Event:
        news = asyncio.Event()
        self._listeners[news] = threading.get_ident(), asyncio.get_running_loop()
        return news

    def _tell(self) -> None:
        """Tell whoever dispatches that there may be more to do; from any thread."""
        for news, (thread, loop) in list(self._listeners.items()):
            if thread == threading.get_ident():
                news.set()
            else:
                with suppress(RuntimeError):  # the loop has ended
                    loop.call_soon_threadsafe(news.set)
        if self._engine.forced and not self._listeners:
            with suppress(RuntimeError):  # there is no loop here: whoever dispatches next will find it
                asyncio.get_running_loop().call_soon(self._start_forced)

    # Starting -----------------------------------------------------------------------------------------------

    def _start(self, *, limited: bool) -> tuple[Running, float | None]:
        """Begin what may begin, one of each queue in turn.

        Returns the dispatches, and after how many seconds there may be more to begin; None: not by time alone.
        """
        with self._engine.lock:
            self._engine.tick()
            now = self._engine.now_us()
            while self._held and self._held[0].due_us <= now:
                held = heapq.heappop(self._held)
                self._engine.forced.append((held.queue, held.task))
            begun = self._start_forced()
            while self._strays and self._strays[0].due_us <= now:
                self._begin_stray(heapq.heappop(self._strays))
            later: list[list[Any]] = [self._held, self._strays]
            pauses = [(heap[0].due_us - now) / _US_PER_S for heap in later if heap]
            queues: Iterable[StoredQueue] = list(self._engine.queues.values())
            while queues:
                queues = [queue for queue in queues if self._start_one(queue, now, limited, begun, pauses)]
        return begun, min(pauses, default=None)

    def _start_one(
        self, queue: StoredQueue, now: int, limited: bool, begun: Running, pauses: list[float]
    ) -> bool:
        """Begin one dispatch of a queue; whether it may have more."""
        due = queue.next_due()
        if due is None or queue.paused:
            return False
        if due > now:
            pauses.append((due - now) / _US_PER_S)
            return False
        if queue.full:
            return False  # until a dispatch ends, which is news
        if limited:
            pause = queue.rate.acquire()
            if pause:
                pauses.append(pause)
                return False
        else:
            queue.rate.force()
        task = queue.take_due(now)
        assert task is not None
        mishap = self._mishap(queue, task)
        if mishap is not None and mishap.when == "reordered":
            following = queue.take_due(now)
            if following is not None:
                task.spared = True
                queue.await_turn(task, task.due_us, first=True)
                task = following
            mishap = None
        elif mishap is not None and _holds_up(mishap):
            _spare(task, mishap)
            queue.await_turn(task, now + mishap.latency // _MICROSECOND)
            queue.rate.abandon()
            return True
        begun.add(self._begin(queue, task, mishap))
        return True

    def _mishap(self, queue: StoredQueue, task: StoredTask) -> Mishap | None:
        """What goes wrong with a dispatch; one that a fault has held up meets no other."""
        if task.spared:
            mishap: Mishap | None = task.mishap
            task.spared, task.mishap = False, None
            return mishap
        return self._faults.take(DISPATCH, queue.name) if self._faults.pending else None

    def _start_forced(self) -> Running:
        """Begin what RunTask wants dispatched."""
        begun = Running()
        with self._engine.lock:
            while self._engine.forced:
                queue, task = self._engine.forced.popleft()
                if task.gone:
                    continue
                queue.wait_no_more(task)
                mishap = self._mishap(queue, task)
                if mishap is not None and _holds_up(mishap):
                    _spare(task, mishap)
                    due_us = self._engine.now_us() + mishap.latency // _MICROSECOND
                    heapq.heappush(self._held, _Held(due_us, next(self._order), queue, task))
                    continue
                queue.rate.force()
                begun.add(self._begin(queue, task, mishap))
        return begun

    # One dispatch -------------------------------------------------------------------------------------------

    def _begin(self, queue: StoredQueue, task: StoredTask, mishap: Mishap | None) -> asyncio.Task[Attempt]:
        self._engine.begin_attempt(task)
        delivery = delivery_of(queue, task, self._signer)
        self._counts.dispatches += 1
        attempt = self._deliver(delivery) if mishap is None else self._deliver_amiss(delivery, mishap)
        return self._follow(attempt, partial(self._end, queue, task))

    def _end(self, queue: StoredQueue, task: StoredTask, running: asyncio.Task[Attempt]) -> None:
        if self._under_way.pop(running, None) is None:
            return  # it was given up
        self._ended += 1
        with self._engine.lock:
            if running.cancelled() or not running.done():
                queue.rate.abandon()
                self._engine.give_back(queue, task)
            else:
                attempt = running.result()
                queue.rate.release(attempt.status)
                try:
                    self._engine.end_attempt(queue, task, attempt)
                except Status:
                    _log.exception("the end of a dispatch cannot be kept, so it will take place again")
                    queue.await_turn(task, self._engine.now_us() + _US_PER_S)
        self._tell()

    async def _deliver(self, delivery: Delivery) -> Attempt:
        _INSIDE.set(asyncio.current_task())
        try:
            return await self._dispatcher.dispatch(delivery)
        except Exception as error:
            _log.exception("the dispatcher failed")
            return Attempt(None, StatusCode.INTERNAL, repr(error))

    async def _deliver_amiss(self, delivery: Delivery, mishap: Mishap) -> Attempt:
        error = mishap.fault.error
        if error is not None and mishap.when == "late":
            self._stray(delivery, mishap.latency, counts=False)
        if error is None or mishap.when == "after":
            attempt = await self._deliver(delivery)
            if mishap.when == "twice":
                self._stray(delivery, mishap.latency, counts=True)
            if error is None:
                return attempt
        return Attempt(None, mishap.status.code, mishap.status.message)

    def _stray(self, delivery: Delivery, latency: timedelta, *, counts: bool) -> None:
        with self._engine.lock:
            due_us = self._engine.now_us() + latency // _MICROSECOND
            heapq.heappush(self._strays, _Stray(due_us, next(self._order), delivery, counts))

    def _begin_stray(self, stray: _Stray) -> None:
        self._counts.dispatches += stray.counts
        self._follow(self._deliver(stray.delivery), partial(self._end_stray, stray))

    def _end_stray(self, stray: _Stray, running: asyncio.Task[Attempt]) -> None:
        self._under_way.pop(running, None)
        self._ended += stray.counts
        self._tell()

    def _follow(
        self, attempt: Coroutine[Any, Any, Attempt], end: Callable[[asyncio.Task[Attempt]], None]
    ) -> asyncio.Task[Attempt]:
        running = asyncio.get_running_loop().create_task(attempt)
        self._under_way[running] = end
        running.add_done_callback(end)
        return running

    def _give_up_lost(self) -> None:
        """Give back what was under way in an event loop that was closed meanwhile: it will never end."""
        for running, end in list(self._under_way.items()):
            if running.get_loop().is_closed():
                end(running)


def _holds_up(mishap: Mishap) -> bool:
    """Whether the attempt begins only once its latency has passed."""
    fails_now = mishap.when == "late" and mishap.fault.error is not None
    return bool(mishap.latency) and mishap.when != "twice" and not fails_now


def _spare(task: StoredTask, mishap: Mishap) -> None:
    """Let the task, once the latency is behind it, meet the rest of this mishap, and no other."""
    task.spared = True
    task.mishap = None if mishap.fault.error is None else Mishap(mishap.fault, timedelta(0))


async def _cancel(tasks: Iterable[asyncio.Task[Any]]) -> None:
    """End them, and raise what one of them has failed with."""
    ended = list(tasks)
    for task in ended:
        task.cancel()
    for outcome in await asyncio.gather(*ended, return_exceptions=True):
        if isinstance(outcome, Exception):
            raise outcome
