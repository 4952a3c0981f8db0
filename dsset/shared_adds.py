"""`SharedAdds`: adds of many callers at once, in few RPCs.

An add that finds nobody under way goes out at once. What comes meanwhile is gathered, and goes together as soon as
there is room: so one caller alone waits for nobody, and a thousand at once share a few RPCs. Each item stands alone in
a BatchWrite, so nobody's item can make another's fail; nor wait, for each is told of its own as soon as it is known, or
as its time is up.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Sequence
from contextvars import Context
from dataclasses import dataclass, field
from datetime import timedelta
from random import Random
from weakref import WeakKeyDictionary, ref

from google.api_core.exceptions import DeadlineExceeded
from google.cloud.firestore_v1.async_client import AsyncClient

from dsset.adding import MAX_REQUEST_BYTES, MAX_WRITES, Adding, Outcome, add_chunk
from dsset.clock import Clock
from dsset.items import Item
from dsset.retry import Backoff
from dsset.wire import Wire

_IN_FLIGHT = 2
"""Rounds without any answer at a time: while the server works on one, the next is made; more would only be smaller."""

_PATIENCE_S = 1.0
"""Seconds for which a round without any answer keeps others from being sent: it hangs, or is being tried again."""

_SMALLEST_PART = 16
"""Callers for whom a round of their own is worth an RPC, where all that waits could go in one."""

_ALIKE = 0.1
"""By how much of the time that its first item has left a round may be too long, or too short, for another."""

_LEAST_S = 0.001
"""Seconds that one may wait to be sent at least: whatever its time-out, it is tried once."""


@dataclass(slots=True, eq=False)
class _Waiting(Adding):
    """An item that somebody wants added, and where the outcome goes."""

    timeout: timedelta
    since: float  # by the clock's monotonic time, as all times here
    give_up_at: float
    told: asyncio.Future[Outcome]
    call: object  # the same for all items of one call
    round: _Round | None = field(default=None, init=False)  # with which it was sent

    def remaining(self, now: float) -> timedelta:
        """What it has left of its time."""
        return max(self.timeout - timedelta(seconds=now - self.since), timedelta(0))

    def finish(self, outcome: Outcome) -> None:
        """Tell whoever waits, unless they have given up, and the round."""
        Adding.finish(self, outcome)  # not `super()`: for its slots the class is made anew
        if not self.told.done():
            self.told.set_result(outcome)
        if self.round is not None:
            self.round.answered()


class SharedAdds:
    """Gathers the adds of one client's sets, outside transactions.

    Args:
        client: whose database the items go to.
        tombstones_delay, clock, rng: as those of each set that shares.
    """

    def __init__(
        self, client: AsyncClient, *, tombstones_delay: timedelta, clock: Clock, rng: Random
    ) -> None:
        self._client = client
        self._tombstones_delay = tombstones_delay
        self.clock = clock
        self._rng = rng
        self._rounds: WeakKeyDictionary[asyncio.AbstractEventLoop, _Rounds] = WeakKeyDictionary()
        self._latest: _Rounds | None = None  # that were asked for: looking them up takes a while

    async def add_each(self, named: Sequence[tuple[str, Item]], timeout: timedelta) -> list[Outcome]:
        """As `adding.add_each`: for each (document name, item) whether it was new, or why it could not be added.

        Whoever is cancelled while it waits takes back what has not been sent yet.
        """
        call, now = object(), self.clock.monotonic()
        waiting = [self._wait(name, item, timeout, now, call) for name, item in named]
        try:
            return [await one.told for one in waiting]
        except BaseException:
            for one in waiting:
                give_up(one.told)
            raise

    def add(self, name: str, item: Item, timeout: timedelta) -> asyncio.Future[Outcome]:
        """The same for one item. Whoever awaits it, and fails to, must `give_up`."""
        return self._wait(name, item, timeout, self.clock.monotonic()).told

    def _wait(self, name: str, item: Item, timeout: timedelta, now: float, call: object = None) -> _Waiting:
        loop = asyncio.get_running_loop()
        rounds = self._latest
        if rounds is None or rounds.loop() is not loop:
            rounds = self._rounds.get(loop)
            if rounds is None:
                rounds = self._rounds[loop] = _Rounds(self, loop)
            self._latest = rounds
        give_up_at = now + max(timeout.total_seconds(), _LEAST_S)
        told = loop.create_future()
        waiting = _Waiting(name, item, timeout, now, give_up_at, told, told if call is None else call)
        rounds.add(waiting)
        return waiting

    async def send(self, sending: list[_Waiting]) -> None:
        """Add one round's items, which fit one RPC."""
        left = sending[0].remaining(self.clock.monotonic())
        await add_chunk(
            Wire.of(self._client),
            list[Adding](sending),
            self._rng.randbytes(16),
            self._tombstones_delay,
            Backoff(self.clock, self._rng, left),
        )


def give_up(told: asyncio.Future[Outcome]) -> None:
    """Take back an add whose outcome nobody waits for any more, if it has not been sent."""
    if not told.cancel() and not told.cancelled():
        told.exception()  # it has been told, though whoever waited has gone


class _Rounds:
    """What waits in one event loop, and the rounds that are under way there."""

    def __init__(self, adds: SharedAdds, loop: asyncio.AbstractEventLoop) -> None:
        self._adds = adds
        self.loop = ref(loop)  # which must not be kept alive
        self._waiting: deque[_Waiting] = deque()
        self._under_way: set[asyncio.Task[None]] = set()
        # those of them that others wait for, and since when; the rest have only some items left to do, or hang
        self._unanswered: dict[asyncio.Task[None], float] = {}
        self._called = False
        self._watching: asyncio.Task[None] | None = None
        self._watched_until = 0.0

    def add(self, waiting: _Waiting) -> None:
        self._waiting.append(waiting)
        self._begin_soon()

    def _begin_soon(self) -> None:
        if not self._called:
            self._called = True
            # not now: others that are ready to run may want to come along
            asyncio.get_running_loop().call_soon(self._begin, context=Context())

    def _begin(self) -> None:
        self._called = False
        while self._waiting and (free := _IN_FLIGHT - len(self._unanswered)) > 0:
            parts = 1
            if free > 1:  # in parts: one is made while the server works on another
                callers = len({one.call for one in self._waiting})
                parts = max(1, min(free, callers // _SMALLEST_PART))
            sending = self._next(-(-len(self._waiting) // parts))
            if not sending:
                break
            # a context of its own: a round belongs to none of those whose items it sends
            task = asyncio.get_running_loop().create_task(self._send(sending), context=Context())
            self._under_way.add(task)
            self._unanswered[task] = self._adds.clock.monotonic()
            task.add_done_callback(self._ended)
        self._watch()

    def _watch(self) -> None:
        """Be there when those who wait are to be told that their time is up, or need not wait any more."""
        until = math.inf
        if self._waiting:
            until = min(one.give_up_at for one in self._waiting)
            until = min(until, min(self._unanswered.values(), default=math.inf) + _PATIENCE_S)
        if self._watching is not None:
            if self._watched_until <= until < math.inf:
                return
            self._watching.cancel()
            self._watching = None
        if until < math.inf:
            self._watched_until = until
            self._watching = asyncio.get_running_loop().create_task(self._look_on(until), context=Context())
            self._watching.add_done_callback(self._watched)

    def _watched(self, task: asyncio.Task[None]) -> None:
        if self._watching is task:  # cancelled with its loop, which it must not keep alive
            self._watching = None

    async def _look_on(self, until: float) -> None:
        clock = self._adds.clock
        while (left := until - clock.monotonic()) > 0:
            await clock.sleep(timedelta(seconds=left, microseconds=1))
        now = clock.monotonic()
        self._waiting = deque(one for one in self._waiting if not one.told.done() and not _expired(one, now))
        self._unanswered = {
            task: since for task, since in self._unanswered.items() if since + _PATIENCE_S > now
        }
        self._watching = None
        self._begin()

    def _next(self, most: int) -> list[_Waiting]:
        """What goes together: so many at most, up to an RPC's limits, with as much time, and no document twice."""
        taken: dict[str, _Waiting] = {}
        left: list[_Waiting] = []
        size = 0
        now = self._adds.clock.monotonic()
        most = min(most, MAX_WRITES)
        until: float | None = None  # when the time of the first is up
        while self._waiting and len(taken) < most:
            one = self._waiting.popleft()
            if one.told.done() or (one.give_up_at <= now and _expired(one, now)):  # given up
                continue
            if until is None:
                until = one.give_up_at
            if one.name in taken or abs(one.give_up_at - until) > _ALIKE * (until - now):
                left.append(one)
                continue
            size += len(one.name) + len(one.item.value) + 1_024
            if taken and size > MAX_REQUEST_BYTES:
                left.append(one)
                break
            taken[one.name] = one
        self._waiting.extendleft(reversed(left))
        return list(taken.values())

    async def _send(self, sending: list[_Waiting]) -> None:
        sent = _Round(self, asyncio.current_task())
        for one in sending:
            one.round = sent
        try:
            await self._adds.send(sending)
        except BaseException as error:
            for one in sending:
                if not one.told.done():
                    if isinstance(error, asyncio.CancelledError):
                        one.told.cancel()
                    else:
                        one.told.set_exception(error)
            raise

    def answered(self, task: asyncio.Task[None]) -> None:
        """Take a round for answered, of which one item is known: others need not wait for what is left of it.

        That is duplicates to look at, and items to try again.
        """
        if self._unanswered.pop(task, None) is not None:
            # not before all who are told now have run: what they add next is to come along
            asyncio.get_running_loop().call_soon(self._begin_soon, context=Context())

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._under_way.discard(task)
        self._unanswered.pop(task, None)
        if not task.cancelled():
            task.exception()  # those who wait have been told
        self._begin_soon()


class _Round:
    """A round that is under way."""

    __slots__ = ("_rounds", "_task")

    def __init__(self, rounds: _Rounds, task: asyncio.Task[None] | None) -> None:
        self._rounds = rounds
        self._task = task

    def answered(self) -> None:
        """Something is known of one of its items; only the first time counts."""
        task, self._task = self._task, None
        if task is not None:
            self._rounds.answered(task)


def _expired(waiting: _Waiting, now: float) -> bool:
    """Whether its time is up; then it is told so. Those under way have taken all of it, as in an outage."""
    if waiting.give_up_at > now:
        return False
    waiting.told.set_result(DeadlineExceeded("other adds under way took all the time; not sent"))
    return True
