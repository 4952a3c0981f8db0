"""What a worker does with a wake-up: it drains the recipient, and sees to it that what is left is come back to."""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from dsset.retry import is_transient
from dsset.server_time import ServerTime
from eventbox.box import EventBox
from eventbox.drain import DrainReport
from eventbox.errors import ContentionError, EmitError, UnknownOutcomeError
from eventbox.tasks.errors import EnqueueError
from eventbox.tasks.outcomes import Answer, Outcome
from eventbox.tasks.recipient_kinds import Match, RecipientKinds
from eventbox.tasks.recipient_turns import NoTurnError, RecipientTurns
from eventbox.tasks.run_scope import RunScope
from eventbox.tasks.stopping import Stopping
from eventbox.tasks.task_queue import TaskQueue
from eventbox.tasks.wakeups import WakeUp

LATE_AFTER = timedelta(seconds=60)
"""A wake-up that comes so long after its second makes room for a fresh one, which those that are as late share."""

EARLY_BY = timedelta(seconds=1)
"""A wake-up that comes so long before its second was run by hand: more than the server's time is known to lag by."""

FARTHEST = timedelta(days=31)
"""Nobody has made a wake-up that is so far ahead: Cloud Tasks takes none beyond 30 days, and keeps none for longer."""

_PATIENCE = 0.25
_BEGIN_BATCHES_UNTIL = 0.67
_LET_GO_AT = 0.9
"""Parts of the time that a request has: to wait for its turn; to begin batches; after which all is let go of."""

_FOLLOW_UP = timedelta(seconds=15)
_FOLLOW_UP_STOPPING = timedelta(seconds=1.5)
"""What the making of the next wake-up may take; less where the process is about to be killed."""

_NOTABLY_IDLE = 5
"""Runs in a row that moved nothing, from which on the log warns."""


@dataclass(frozen=True, slots=True)
class WakingLimits:
    """What bounds a run: its request's time, the events of a batch, and the longest pause while nothing moves."""

    request: timedelta
    max_events: int
    longest_pause: timedelta


class Waking:
    """Answers the wake-ups of one worker."""

    def __init__(
        self,
        box: EventBox,
        queue: TaskQueue,
        kinds: RecipientKinds,
        turns: RecipientTurns,
        stopping: Stopping,
        limits: WakingLimits,
    ) -> None:
        self._box = box
        self._queue = queue
        self._kinds = kinds
        self._turns = turns
        self._stopping = stopping
        self._limits = limits

    async def answer(self, body: bytes) -> Answer:
        """Do what this wake-up is for."""
        try:
            wakeup = WakeUp.decode(body)
        except ValueError as error:
            return Answer(Outcome.DROPPED, f"the wake-up cannot be decoded: {error}")
        match = self._kinds.find(wakeup.recipient)
        if match is None:
            return Answer(
                Outcome.DROPPED, f"no recipient of this worker has the name {wakeup.recipient[:500]!r}"
            )
        return await _WakeUpRun(self, wakeup, match).answer()


class _WakeUpRun:
    """One wake-up, from its arrival to its answer."""

    def __init__(self, waking: Waking, wakeup: WakeUp, match: Match) -> None:
        self._box = waking._box
        self._queue = waking._queue
        self._turns = waking._turns
        self._stopping = waking._stopping
        self._limits = waking._limits
        self._wakeup = wakeup
        self._match = match
        self._arrived = asyncio.get_running_loop().time()
        self._came = waking._box.clock.monotonic()
        self._server_time = ServerTime.of(self._box.client, self._box.clock)

    async def answer(self) -> Answer:
        lateness = self._now() - self._wakeup.at
        if -lateness > FARTHEST:
            # it could not be kept, so it would be tried again for ever
            return self._answer(
                Outcome.DROPPED, f"no wake-up can be for {self._wakeup.at:%Y-%m-%d %H:%M:%S}Z"
            )
        if -lateness > LATE_AFTER:
            # somebody had it run by hand: what is due by now is done now, and what is due then needs a wake-up then
            kept = await self._keep()
            return await self._in_turn(as_of=None) if kept.outcome is Outcome.DONE else kept
        with RunScope(self._wakeup.second).entered():
            if lateness > LATE_AFTER and not self._wakeup.fresh:
                reason = f"the wake-up came {lateness.total_seconds():.0f} s late"
                return await self._again(Outcome.LATE, reason, fresh=True)
            answer = await self._in_turn(as_of=self._wakeup.at)
            if answer.outcome.status != 200 or not self._came_early():
                return answer
            kept = await self._keep()
            return answer if kept.outcome is Outcome.DONE else kept

    async def _keep(self) -> Answer:
        """Make a wake-up for this one's second anew: whatever bears its name has run."""
        return await self._again(Outcome.DONE, "kept", not_before=self._wakeup.at)

    def _came_early(self) -> bool:
        """Whether it came before its second by what the server has told by now, whatever the clock says."""
        heard = self._server_time.lower_bound()
        if heard is None:
            return False
        since = timedelta(seconds=self._box.clock.monotonic() - self._came)
        return self._wakeup.at - (heard - since) > EARLY_BY

    async def _in_turn(self, as_of: datetime | None) -> Answer:
        if self._stopping.begun:
            return await self._again(Outcome.LEFT, "the worker is stopping")
        try:
            async with self._turns.turn(
                self._wakeup.recipient, patience_s=self._limits.request.total_seconds() * _PATIENCE
            ) as turn:
                looks_until = max(self._box.clock.now(), as_of or self._box.clock.now())
                if turn.is_settled(as_of or looks_until):
                    return self._answer(Outcome.DONE, "the run of another wake-up has done its work")
                answer = await self._run(as_of)
                if answer.outcome.status == 200:
                    turn.settle(looks_until)
                return answer
        except NoTurnError:
            return await self._again(Outcome.CONTENDED, "other runs took all the time that there was to wait")

    async def _run(self, as_of: datetime | None) -> Answer:
        spent = timedelta(seconds=asyncio.get_running_loop().time() - self._arrived)
        let_go_at = self._arrived + self._limits.request.total_seconds() * _LET_GO_AT
        try:
            async with asyncio.timeout_at(let_go_at) as timeout:
                with self._stopping.running(timeout):
                    processor = self._match.factory(self._match.recipient, self._match.params)
                    report = await self._box.drain(
                        self._match.recipient,
                        processor,
                        max_events=self._limits.max_events,
                        deadline=self._box.clock.now() + self._limits.request * _BEGIN_BATCHES_UNTIL - spent,
                        as_of=as_of,
                        stop=lambda: self._stopping.begun,
                    )
        except ContentionError as error:
            return await self._contended(str(error))
        except TimeoutError as error:
            if timeout.expired() and self._stopping.begun:
                return await self._again(Outcome.LEFT, "the batch was let go of: the worker is stopping")
            reason = "the run took too long" if timeout.expired() else "the run failed"
            return self._answer(Outcome.UNAVAILABLE, reason, error)
        except Exception as error:
            return self._answer(failure(error), "the run failed", error)
        return await self._reported(report)

    async def _reported(self, report: DrainReport) -> Answer:
        moved = report.events + report.quarantined > 0
        done = f"batches: {report.batches}, events: {report.events}"
        if report.contended:
            return await self._contended(done, moved=moved)
        if report.drained:
            if report.quarantined:
                return self._answer(Outcome.QUARANTINED, f"{done}, set aside: {report.quarantined}")
            return self._answer(Outcome.DONE, done)
        if moved or not report.batches:
            return await self._again(Outcome.LEFT, done, idle=0 if moved else None)
        answer = await self._again(Outcome.STUCK, f"{done}: nothing moved", idle=self._wakeup.idle + 1)
        notable = answer.outcome is Outcome.STUCK and self._wakeup.idle + 1 >= _NOTABLY_IDLE
        return replace(answer, level=logging.WARNING) if notable else answer

    async def _contended(self, reason: str, *, moved: bool = False) -> Answer:
        return await self._again(Outcome.CONTENDED, reason, idle=0 if moved else self._wakeup.idle + 1)

    async def _again(
        self,
        outcome: Outcome,
        reason: str,
        *,
        idle: int | None = None,
        fresh: bool = False,
        not_before: datetime | None = None,
    ) -> Answer:
        """Make the next wake-up, and answer with this outcome; where that fails, let Cloud Tasks try this one again.

        `idle` says how many runs have moved nothing now, and with it how long to wait; None: nothing was tried.
        """
        if not_before is None:
            not_before = self._now() + (timedelta(0) if idle is None else self._pause(idle))
        idle = self._wakeup.idle if idle is None else idle
        allowed = _FOLLOW_UP_STOPPING if self._stopping.begun else _FOLLOW_UP
        try:
            async with asyncio.timeout(allowed.total_seconds()) as timeout:
                with self._stopping.running(timeout):
                    await self._queue.wake(
                        self._wakeup.recipient, not_before=not_before, fresh=fresh, idle=idle, timeout=allowed
                    )
        except Exception as error:
            return self._answer(
                failure(error), f"{reason}; the next wake-up could not be made, so this one is kept", error
            )
        return self._answer(outcome, reason)

    def _answer(self, outcome: Outcome, reason: str, error: Exception | None = None) -> Answer:
        return Answer(outcome, reason, error, self._match.recipient)

    def _pause(self, idle: int) -> timedelta:
        """What to wait besides the second that every wake-up waits: with it 1 s, 2 s, 4 s and so on."""
        return min(timedelta(seconds=2 ** min(max(idle - 1, 0), 30) - 1), self._limits.longest_pause)

    def _now(self) -> datetime:
        """The server's time as far as it is known, for clocks differ; else this machine's."""
        return self._server_time.lower_bound() or self._box.clock.now()


def failure(error: BaseException) -> Outcome:
    """What an error makes of a request: transient, or not known to be."""
    if isinstance(error, EnqueueError):
        return Outcome.UNAVAILABLE if error.transient else Outcome.FAILED
    transient = (TimeoutError, ConnectionError, ContentionError, UnknownOutcomeError, EmitError)
    return Outcome.UNAVAILABLE if isinstance(error, transient) or is_transient(error) else Outcome.FAILED
