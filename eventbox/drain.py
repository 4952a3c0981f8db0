"""Draining an inbox: batch after batch, until nothing is outstanding or a bound is reached."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from dsset.clock import Clock
from eventbox.batch import Batch, BatchResult, Bounds
from eventbox.errors import ContentionError
from eventbox.processor import PostProcessFn
from eventbox.recipient import Recipient
from eventbox.telemetry import Telemetry

logger = logging.getLogger("eventbox")


@dataclass(frozen=True, slots=True)
class DrainReport:
    """What a drain did.

    `batches` counts the batches that were prepared, `events` the events that they consumed or deleted as garbage.
    `contended` tells that a concurrent writer won, which ended the drain. `drained` is True where nothing that was due
    was left; False after a bound, a stop, contention, or a batch that moved nothing.
    """

    batches: int
    events: int
    contended: bool
    drained: bool


async def drain(
    new_batch: Callable[[], Batch[Any]],
    bounds: Bounds,
    *,
    recipient: Recipient,
    max_batches: int | None,
    deadline: datetime | None,
    stop: Callable[[], bool] | None,
    clock: Clock,
    telemetry: Telemetry,
) -> DrainReport:
    """Run batches, and the post-process callbacks of each after its commit."""
    batches = events = 0
    longest = timedelta(0)
    skipped: frozenset[str] | None = None

    def report(*, contended: bool = False, drained: bool = False) -> DrainReport:
        return DrainReport(batches, events, contended, drained)

    while max_batches is None or batches < max_batches:
        if stop is not None and stop():
            return report()
        began = clock.now()
        # a batch is not begun that would, by the longest one so far, end too late
        if deadline is not None and began + longest > deadline:
            return report()
        try:
            result = await new_batch().run(bounds, skip_if_empty=batches > 0)
        except ContentionError:
            batches += 1
            return report(contended=True)
        if not result.prepared:
            return report(drained=True)
        batches += 1
        events += len(result.removed)
        await _run_callbacks(result.post_process, recipient, telemetry)
        longest = max(longest, clock.now() - began)
        if result.quiet and result.complete and len(result.removed) == len(result.listed):
            return report(drained=True)  # else it may have emitted to its own recipient: look again
        left = _left(result)
        if result.listed and not result.removed and (not result.skipped or left == skipped):
            return report()
        skipped = left if result.skipped else None
    return report()


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
