"""`run`: takes in a feed in order, on one process at a time."""

from __future__ import annotations

import logging
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from random import Random, SystemRandom
from typing import Any, Protocol, TypeVar

from opentelemetry.metrics import MeterProvider

from dsset.clock import Clock, SystemClock
from dsset.retry import Backoff, is_transient
from eventbox.errors import UnknownOutcomeError
from eventbox.sources.committer import MAX_POINTER_BYTES, Committer, Pointer, check_name, check_pointer
from eventbox.sources.errors import InvalidCommitError
from eventbox.sources.ingestion_metrics import IngestionMetrics
from eventbox.sources.ingestor import Ingestor, Result
from eventbox.sources.leader import Leader, Lock
from eventbox.sources.pipeline import BlockError, Pipeline

logger = logging.getLogger(__name__)

W = TypeVar("W")

RESTARTS = 5
"""How often the ingestor is restarted, without any progress, before the lock is given up."""

IDLE = timedelta(seconds=1)
"""How long an ingestor rests that had nothing to yield."""


class Progress(Protocol):
    """Is told how an ingestor gets on."""

    def began(self, ingestor: str, position: int | None) -> None:
        """It goes on from this position (`pointer_metric`), or from the first block."""
        ...

    def committed(self, ingestor: str, blocks: int, position: int) -> None:
        """So many more blocks are committed, up to this position."""
        ...


async def run(
    lock: Lock,
    committer: Committer,
    writer: W,
    ingestor: Ingestor[W],
    *,
    concurrency: int = 16,
    clock: Clock | None = None,
    progress: Progress | None = None,
    meter_provider: MeterProvider | None = None,
    rng: Random | None = None,
) -> None:
    """Take in the ingestor's blocks until cancelled, on one process at a time.

    Blocks are processed side by side and committed strictly in order; all that are ready, in order, are one commit.
    After a crash, at most the blocks that were under way are processed again, by whoever holds the lock next.

    A block that fails restarts the ingestor from the latest committed block, after a delay that grows from 100 ms to
    10 s; after 5 restarts without any progress the lock is given up, and all starts over. So it does, at once, when
    the lease is lost or a newer holder has claimed the ingestor. Every one of these is logged and counted.

    Args:
        lock: a lock that nothing else uses, one key for each ingestor.
        committer: keeps the ingestor's place.
        writer: is handed to the ingestor.
        ingestor: what to take in.
        concurrency: how many blocks are processed at once.
        clock: what the delays go by.
        progress: is told how it gets on; `eventbox.sources.backlog_bar.BacklogBar` shows it on a terminal.
        meter_provider: where metrics go; OpenTelemetry's global one by default.

    Raises:
        TypeError, ValueError: a bad argument, or the ingestor yields something else than awaitable `Result`s with
            pointers that are bytes.
        GoogleAPICallError: Firestore refuses, for want of a permission, say.

    Cost: 2 reads and 1 write for each time that the lock is taken, besides the lock's own; then 1 RPC and 1 write for
    each commit, however many blocks it has, and no read.
    """
    check_name(getattr(ingestor, "name", None))
    if not isinstance(concurrency, int) or isinstance(concurrency, bool):
        raise TypeError(f"concurrency must be an int, not {type(concurrency).__name__}")
    if concurrency <= 0:
        raise ValueError(f"concurrency must be positive, not {concurrency}")
    clock = clock or SystemClock()
    rng = rng or SystemRandom()
    metrics = IngestionMetrics(ingestor.name, meter_provider)
    leading = _Leading(committer, writer, ingestor, concurrency, clock, rng, progress, metrics)
    backoff = leading.new_backoff()
    while True:
        leading.progressed = False
        try:
            await Leader(lock).run(leading.run)
        except (InvalidCommitError, UnknownOutcomeError) as error:
            logger.warning("%s: starting over, with the lock taken anew: %s", ingestor.name, error)
        except BlockError as error:
            logger.error(
                "%s: gave up the lock after %d restarts, and starts over",
                ingestor.name,
                RESTARTS,
                exc_info=error,
            )
        if leading.progressed:
            backoff = leading.new_backoff()
        await backoff.wait()


class _Leading:
    """What the process does that holds the lock."""

    def __init__(
        self,
        committer: Committer,
        writer: Any,
        ingestor: Ingestor[Any],
        concurrency: int,
        clock: Clock,
        rng: Random,
        progress: Progress | None,
        metrics: IngestionMetrics,
    ) -> None:
        self.progressed = False
        self._led = False
        self._committer = committer
        self._writer = writer
        self._ingestor = ingestor
        self._concurrency = concurrency
        self._clock = clock
        self._rng = rng
        self._progress = progress
        self._metrics = metrics

    def new_backoff(self) -> Backoff:
        return Backoff(self._clock, self._rng, timedelta.max)

    async def run(self, token: int) -> None:
        """Claim the place, and go on from there; ends by an error only."""
        name = self._ingestor.name
        if self._led:
            self._metrics.restarted()
        self._led = True
        latest = await self._begin(token)
        if self._progress is not None:
            self._progress.began(name, None if latest is None else self._ingestor.pointer_metric(latest))
        restarts, backoff = 0, self.new_backoff()
        while True:
            reached = latest
            try:
                async with Pipeline(self._ingest(latest), self._concurrency) as pipeline:
                    while results := await pipeline.ready():
                        for part in _chains(results):
                            await self._commit(part, token)
                            latest = part[-1].block
                if latest == reached:
                    await self._clock.sleep(IDLE)
                restarts, backoff = 0, self.new_backoff()
            except BlockError as error:
                if latest != reached:
                    restarts, backoff = 0, self.new_backoff()
                if restarts == RESTARTS:
                    raise
                restarts += 1
                self._metrics.restarted()
                logger.warning(
                    "%s: restarting from the latest committed block (%d of %d): %s",
                    name, restarts, RESTARTS, error, exc_info=error.__cause__,
                )  # fmt: skip
                await backoff.wait()

    async def _begin(self, token: int) -> Pointer | None:
        with _restarting("the ingestor could not be claimed"):
            await self._committer.claim(self._ingestor.name, token)
            return await self._committer.latest(self._ingestor.name)

    def _ingest(self, latest: Pointer | None) -> AsyncIterator[Awaitable[Result]]:
        try:
            return self._ingestor.ingest(self._writer, latest)
        except Exception as error:
            raise BlockError(f"the ingestor failed: {error!r}") from error

    async def _commit(self, results: Sequence[Result], token: int) -> None:
        name, block = self._ingestor.name, results[-1].block
        with _restarting(f"a commit of {name!r} was not answered"):
            await self._committer.commit(name, results[0].parent, block, token=token)
        self.progressed = True
        position = self._ingestor.pointer_metric(block)
        self._metrics.committed(len(results), position)
        if self._progress is not None:
            self._progress.committed(name, len(results), position)


@contextmanager
def _restarting(what: str) -> Iterator[None]:
    """Take an outage for an unknown outcome: the lock is let go, and another process may have more luck."""
    try:
        yield
    except Exception as error:
        if is_transient(error):
            raise UnknownOutcomeError(what) from error
        raise


def _chains(results: Sequence[Result]) -> Iterator[list[Result]]:
    """The results, cut where one does not follow the one before it: what the committer then refuses is that one.

    Raises:
        TypeError, ValueError: a pointer is none; those before it were handed on.
    """
    chain: list[Result] = []
    for result in results:
        if not (chain and _follows(chain[-1], result)):
            if chain:
                yield chain
            chain = []
            if result.parent is not None:
                check_pointer("the parent of a Result", result.parent)
            check_pointer("the block of a Result", result.block)
        chain.append(result)
    if chain:
        yield chain


def _follows(one: Result, other: Result) -> bool:
    return (
        other.parent == one.block
        and isinstance(other.block, bytes)
        and len(other.block) <= MAX_POINTER_BYTES
        and other.block > one.block
    )
