"""Draining an inbox: batch after batch, until nothing is outstanding or a bound is reached.

A batch that fails for one of its events is run again in halves, and those again, down to the events that fail by
themselves. These are held back for the rest of the drain while their neighbours are processed, and at its end their
attempts are counted; those that have failed often enough are set aside.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial
from random import Random
from typing import Any

from dsset.clock import Clock
from dsset.items import check_moment
from eventbox.arguments import check_positive
from eventbox.batch import Batch, Bounds
from eventbox.batch_result import BatchResult
from eventbox.errors import ContentionError
from eventbox.events import Event
from eventbox.failure import Failure
from eventbox.kept import Kept
from eventbox.processor import PostProcessFn
from eventbox.quarantine import Quarantine
from eventbox.recipient import Recipient
from eventbox.suspicion import Suspicion
from eventbox.telemetry import Telemetry

logger = logging.getLogger("eventbox")

_MAX_FRUITLESS = 500
"""So many events may fail by themselves before the first batch succeeds: then the processor fails on everything."""

_SET_ASIDE_AT_ONCE = 8

_WITHOUT_END = 2**62
"""Batches that are left where nothing bounds them."""


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a drain did.

    `batches` counts the batches that were prepared (one that failed and was run again in parts counts as one, or not at
    all where every part failed), `events` the events that they consumed or deleted as garbage, `quarantined` those that
    were set aside. `contended` tells that
    a concurrent writer won, which ended the drain. `drained` is True where nothing that was due was left; False after a
    bound, a stop, contention, or a batch that moved nothing.
    """

    batches: int
    events: int
    contended: bool
    drained: bool
    quarantined: int = 0


@dataclass(frozen=True, slots=True)
class DrainBounds:
    """Where a drain ends, and how often an event may fail; TypeError or ValueError where that cannot be."""

    max_batches: int | None
    deadline: datetime | None
    stop: Callable[[], bool] | None
    quarantine_after: int

    def __post_init__(self) -> None:
        if self.max_batches is not None:
            check_positive("max_batches", self.max_batches)
        check_moment(self.deadline, "deadline")
        if self.stop is not None and not callable(self.stop):
            raise TypeError(
                f"stop must be a function that tells whether to stop, not {type(self.stop).__name__}"
            )


class _UnresolvedError(Exception):
    """A batch failed, and no event of it was found to be to blame; `error` is what it raised."""

    def __init__(self, error: Exception) -> None:
        super().__init__(error)
        self.error = error


class Drain:
    """One drain of one recipient. Run it once."""

    def __init__(
        self,
        new_batch: Callable[[], Batch[Any]],
        batch_bounds: Bounds,
        bounds: DrainBounds,
        *,
        recipient: Recipient,
        quarantine: Quarantine,
        clock: Clock,
        rng: Random,
        telemetry: Telemetry,
    ) -> None:
        self._new_batch = new_batch
        self._batch_bounds = batch_bounds
        self._bounds = bounds
        self._recipient = recipient
        self._attempts = quarantine.attempts
        self._quarantine = quarantine
        self._clock = clock
        self._rng = rng
        self._telemetry = telemetry
        self._longest = timedelta(0)
        self._batches = self._events = self._quarantined = 0
        self._contended = False
        self._works = False  # whether a batch has shown that the processor does not fail on everything
        self._kept: Kept[Any] | None = None  # what the next batch goes on from
        self._held: dict[str, Failure] = {}  # events that fail by themselves
        self._suspects: frozenset[str] | None = (
            None  # where the attempts of earlier ones lie; None: not asked yet
        )

    async def run(self) -> DrainReport:
        """Run batches, and the post-process callbacks of each after its commit; then count what fails by itself.

        Raises the error of such an event, unless it was set aside.
        """
        drained = False
        unresolved: Exception | None = None
        try:
            drained = await self._run_batches()
        except ContentionError:
            self._contended = True
        except _UnresolvedError as end:
            unresolved = end.error
        if self._held:
            unresolved = await self._settle() or unresolved
        if unresolved is not None:
            raise unresolved
        return DrainReport(self._batches, self._events, self._contended, drained, self._quarantined)

    async def _run_batches(self) -> bool:
        """Whether nothing that was due is left, but for what is held back."""
        try:
            return await self._run_until_drained()
        finally:
            if self._kept is not None:
                await self._kept.discard()

    async def _run_until_drained(self) -> bool:
        skipped: frozenset[str] | None = None
        while self._batches_left > 0:
            if not self._may_begin():
                return False
            skip_if_empty = self._batches > 0 or bool(self._held)
            self._batches += 1
            kept, self._kept = self._kept, None
            behind = kept is not None and kept.listing is not None
            result = await self._try(
                partial(
                    Batch.run,
                    bounds=self._batch_bounds,
                    skip_if_empty=skip_if_empty,
                    without=frozenset(self._held),
                    kept=kept,
                    ahead=self._batches_left,
                )
            )
            if isinstance(result, Suspicion):
                if (
                    await self._isolate(result, kept is None)
                    and not behind
                    and await self._settles_without_events()
                ):
                    return True
                continue
            self._kept = result.kept
            if not result.prepared:
                self._batches -= 1
                # nothing lies behind the events of the batch before; before them there may be new ones
                if not behind and await self._settles_without_events():
                    return True
                continue
            if not behind and result.quiet and result.complete and len(result.removed) == len(result.listed):
                return True  # else it may have emitted to its own recipient: look again
            left = _left(result)
            if result.listed and not result.removed and (not result.skipped or left == skipped):
                return False
            skipped = left if result.skipped else None
        return False

    @property
    def _batches_left(self) -> int:
        most = self._bounds.max_batches
        return _WITHOUT_END if most is None else most - self._batches

    def _may_begin(self) -> bool:
        """Whether another batch may be begun: not one that would, by the longest one so far, end too late."""
        if self._bounds.stop is not None and self._bounds.stop():
            return False
        deadline = self._bounds.deadline
        return deadline is None or self._clock.now() + self._longest <= deadline

    async def _try(self, run: Callable[[Batch[Any]], Awaitable[BatchResult]]) -> BatchResult | Suspicion:
        """Run a batch and its callbacks; what it did, or why one of its events may be to blame for its failing."""
        batch = self._new_batch()
        began = self._clock.now()
        try:
            result = await run(batch)
            try:
                await _run_callbacks(result.post_process, self._recipient, self._telemetry)
            except BaseException:  # cancelled
                if result.kept is not None:
                    await result.kept.discard()
                raise
        except ContentionError:
            raise
        except Exception:
            if batch.suspicion is None:
                raise
            self._events += batch.suspicion.removed
            return batch.suspicion
        finally:
            self._longest = max(self._longest, self._clock.now() - began)
        self._events += len(result.removed)
        self._works = self._works or bool(result.listed)
        return result

    async def _isolate(self, failed: Suspicion, loaded: bool) -> bool:
        """Process all events of a batch that failed but those that fail by themselves; whether nothing else was due.

        `loaded`: it had loaded its state. One that was kept may be out of date, and that to blame.
        """
        if not failed.events:
            raise _UnresolvedError(failed.error)  # it fails without any event
        if loaded and len(failed.listing.items) == 1:
            self._batches -= 1  # so that `max_batches` lets it get past those that fail
            self._hold(failed)
            return failed.listing.complete
        held, events = len(self._held), self._events - failed.removed
        largest = 0
        groups = await self._first_groups(failed)
        while groups:
            if not self._may_begin():
                raise _UnresolvedError(failed.error)
            group = groups.pop()
            result = await self._try(
                partial(Batch.run_on, listing=failed.listing.only({event.id for event in group}))
            )
            if isinstance(result, BatchResult):
                largest = max(largest, len(group))
            elif len(group) > 1:
                groups += _halves(result.events)
            elif result.events:
                self._hold(result)
        if not largest:
            self._batches -= 1
        if len(self._held) == held:
            # they fail together only: for what they are together, and where nothing moves they would for ever; or for
            # how many they are
            if self._events == events:
                raise _UnresolvedError(failed.error)
            self._batch_bounds = replace(self._batch_bounds, max_events=max(1, largest))
        return False

    async def _first_groups(self, failed: Suspicion) -> list[Sequence[Event]]:
        """What to run apart, the last first: those that have failed in an earlier drain, or else each half."""
        if self._suspects is None:
            self._suspects = await self._attempts.known()
        events = list(failed.events)
        self._rng.shuffle(events)  # so that where it gives up it does not always try the same ones
        apart = [event for event in events if self._attempts.document_name(event) in self._suspects]
        if not apart:
            return _halves(events)
        rest = [event for event in events if event not in apart]
        return [*([event] for event in apart), *([rest] if rest else [])]

    def _hold(self, failed: Suspicion) -> None:
        (event,) = failed.events
        self._held[event.id] = Failure(event, failed.error, failed.listing.only({event.id}))
        if not self._works and len(self._held) >= _MAX_FRUITLESS:
            raise _UnresolvedError(failed.error)

    async def _settles_without_events(self) -> bool:
        """Whether there is nothing more to do, where no event is due but what is held back.

        Where a single event was due, no other tells whether the processor works: a batch without any does.
        """
        if self._works or len(self._held) != 1 or not self._may_begin():
            return True
        (failure,) = self._held.values()
        result = await self._try(partial(Batch.run_on, listing=failure.listing.only(())))
        if isinstance(result, Suspicion):
            return True
        self._works = True
        self._batches += 1
        return result.quiet

    async def _settle(self) -> Exception | None:
        """Count the attempts of what is held back and set aside what has failed often enough; the error of one left.

        Nothing is counted where nothing has shown that the processor works.
        """
        failures = list(self._held.values())
        attempts = await self._attempts.count(failures) if self._works else {}
        slots = asyncio.Semaphore(_SET_ASIDE_AT_ONCE)

        async def set_aside(failure: Failure) -> None:
            async with slots:
                if self._bounds.stop is not None and self._bounds.stop():
                    return
                if await self._quarantine.set_aside(failure, attempts[failure.event.id]):
                    self._quarantined += 1
                else:
                    self._contended = True
                del self._held[failure.event.id]

        ripe = [one for one in failures if attempts.get(one.event.id, 0) >= self._bounds.quarantine_after]
        for result in await asyncio.gather(*map(set_aside, ripe), return_exceptions=True):
            if isinstance(result, BaseException):
                raise result
        return self._report_held(attempts)

    def _report_held(self, attempts: Mapping[str, int]) -> Exception | None:
        """Log what is left of the events that fail by themselves; the error of the first."""
        for event_id, failure in self._held.items():
            count = attempts.get(event_id)
            logger.warning(
                "event %r of %s fails by itself (%s): %s",
                event_id,
                self._recipient,
                "not counted" if count is None else f"attempt {count} of {self._bounds.quarantine_after}",
                failure.summary,
                extra={"recipient": self._recipient.path, "event_id": event_id, "attempts": count},
            )
        first = next(iter(self._held.values()), None)
        if first is None:
            return None
        note = f"raised for event {first.event.id!r} of {self._recipient}"
        if len(self._held) > 1:
            note += f"; {len(self._held) - 1} more of its events fail by themselves"
        first.error.add_note(note)
        return first.error


def _halves(events: Sequence[Event]) -> list[Sequence[Event]]:
    """Both halves of events, or what there is of them."""
    middle = len(events) // 2
    return [half for half in (events[middle:], events[:middle]) if half]


def _left(result: BatchResult) -> frozenset[str]:
    """The events that a batch has left outstanding."""
    return frozenset(event.id for event in result.listed) - result.removed


async def _run_callbacks(
    callbacks: Iterable[PostProcessFn], recipient: Recipient, telemetry: Telemetry
) -> None:
    for callback in callbacks:
        try:
            await callback()
        except Exception:
            telemetry.post_process_failed(recipient)
            logger.exception("a post-process callback of %s failed; its batch stands", recipient)
