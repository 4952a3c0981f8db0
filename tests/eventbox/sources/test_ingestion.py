"""`run`: side by side, in order, by one at a time, and through failures."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import Any

import pytest
from google.api_core.exceptions import PermissionDenied
from google.cloud.firestore import AsyncClient
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from emulator.firestore import Emulator, Fault
from eventbox.sources import Committer, DistributedLock, InvalidCommitError, Result, Writer, run
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.eventbox.sources.feeds import Numbers, Written, nothing, pointer

HEARTBEAT = timedelta(seconds=5)


class Running:
    """A run on a manual clock, which moves on whenever nothing else can go on."""

    def __init__(self, client: AsyncClient, clock: ManualClock, ingestor: Any, **kwargs: Any) -> None:
        self.clock = clock
        self.written = Written()
        self.committer = Committer(client, clock=clock)
        self.lock = DistributedLock(client, "numbers", heartbeat=HEARTBEAT, clock=clock)
        self.task = asyncio.create_task(
            run(self.lock, self.committer, self.written.writer, ingestor, clock=clock, **kwargs)
        )

    async def until(self, condition: Callable[[], bool], *, turns: int = 20_000) -> None:
        for turn in range(turns):
            if condition() or self.task.done():
                break
            await asyncio.sleep(0)
            wake = self.clock.next_wake
            if turn % 50 == 49 and wake is not None:
                self.clock.advance(wake - self.clock.now())
        if self.task.done():
            self.task.result()
        assert condition()

    async def committed(self, n: int) -> None:
        await self.until(lambda: self._latest() == n)

    def _latest(self) -> int | None:
        place = self.committer._places.get("numbers")
        return None if place is None or place.latest is None else int.from_bytes(place.latest, "big")


@asynccontextmanager
async def running(
    client: AsyncClient, clock: ManualClock, ingestor: Any, **kwargs: Any
) -> AsyncIterator[Running]:
    one = Running(client, clock, ingestor, **kwargs)
    try:
        yield one
    finally:
        one.task.cancel()
        await while_advancing(clock, asyncio.wait([one.task]))


async def test_all_blocks_are_committed_in_order_and_processed_so_many_at_once(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    async def process(n: int) -> None:
        await clock.sleep(timedelta(seconds=7 * n % 5))  # they end in another order than they began in

    feed = Numbers(200, process)
    async with running(local_client, clock, feed, concurrency=8) as one:
        await one.committed(200)
        assert sorted(one.written.blocks) == list(range(1, 201))
        assert feed.most_at_once == 8
        assert feed.starts == [None]


async def test_what_is_ready_behind_a_block_that_is_not_waits_for_it(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    gate = asyncio.Event()

    async def process(n: int) -> None:
        if n == 3:
            await gate.wait()

    async with running(local_client, clock, Numbers(10, process)) as one:
        await one.until(lambda: len(one.written.blocks) == 9)
        await one.committed(2)
        gate.set()
        await one.committed(10)


async def test_all_that_are_ready_are_one_commit_without_a_read(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    gate = asyncio.Event()

    async def process(n: int) -> None:
        if n == 1:
            await gate.wait()

    async with running(local_client, clock, Numbers(100, process)) as one:
        await one.until(lambda: len(one.written.blocks) == 99)
        emulator.counts.reset()
        gate.set()
        await one.committed(100)
        assert dict(emulator.counts.rpcs) == {"Commit": 1}
        assert emulator.counts.reads == 0


async def test_it_goes_on_where_another_ended(local_client: AsyncClient, clock: ManualClock) -> None:
    async with running(local_client, clock, Numbers(10)) as one:
        await one.committed(10)
    feed = Numbers(20)
    async with running(local_client, clock, feed) as one:
        await one.committed(20)
        assert feed.starts == [pointer(10)]
        assert feed.begun == list(range(11, 21))


async def test_of_two_runs_one_works_and_the_other_takes_over(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    first, second = Numbers(10), Numbers(20)
    async with running(local_client, clock, first) as one:
        await one.committed(10)
        async with running(local_client, clock, second) as other:
            for _ in range(500):
                await asyncio.sleep(0)
            assert not second.starts
            one.task.cancel()
            await asyncio.wait([one.task])
            await other.committed(20)
            assert second.begun == list(range(11, 21))


@pytest.mark.parametrize("how", ["raises", "error", "iterator", "cancelled"])
async def test_a_failing_block_restarts_from_the_last_commit_five_times_and_then_gives_up_the_lock(
    local_client: AsyncClient, clock: ManualClock, caplog: pytest.LogCaptureFixture, how: str
) -> None:
    class Failing(Numbers):
        mended = False

        async def ingest(self, writer: Writer, parent: bytes | None) -> AsyncIterator[Awaitable[Result]]:
            async for block in super().ingest(writer, parent):
                if how == "iterator" and not self.mended and len(self.begun) % 10 == 9:
                    block.close()  # type: ignore[attr-defined]
                    raise ValueError("broken")
                yield block

        async def _block(self, writer: Writer, n: int) -> Result:
            if n == 4 and not self.mended and how != "iterator":
                await asyncio.sleep(0)
                if how == "error":
                    return Result(pointer(3), pointer(4), ValueError("broken"))
                raise asyncio.CancelledError if how == "cancelled" else ValueError("broken")
            return await super()._block(writer, n)

    feed = Failing(20)
    caplog.set_level(logging.WARNING, "eventbox.sources")
    tokens = set()
    async with running(local_client, clock, feed, concurrency=1) as one:
        await one.until(lambda: len(feed.starts) == 6)
        begin = clock.now()
        tokens.add(one.lock.token)
        await one.until(lambda: len(feed.starts) == 7)
        assert one.lock.token not in tokens  # it was let go and taken anew
        assert clock.now() - begin >= timedelta(milliseconds=50)
        if how != "iterator":
            assert set(feed.starts) == {None, pointer(3)}
            assert 5 not in one.written.blocks or one.committer._places["numbers"].latest == pointer(3)
        feed.mended = True
        await one.committed(20)
    assert [record.levelname for record in caplog.records].count("ERROR") == 1
    assert "gave up the lock after 5 restarts" in caplog.text
    assert how == "cancelled" or "ValueError: broken" in caplog.text  # with its traceback


async def test_progress_makes_the_restarts_count_anew(local_client: AsyncClient, clock: ManualClock) -> None:
    class Flaky(Numbers):
        async def _block(self, writer: Writer, n: int) -> Result:
            if self.starts.count(self.starts[-1]) <= 4:  # the fifth try of each block is good
                raise OSError("flaky")
            return await super()._block(writer, n)

    feed = Flaky(3, endless=False)
    async with running(local_client, clock, feed, concurrency=1) as one:
        await one.until(lambda: one.lock.held)
        token = one.lock.token
        await one.committed(3)
        assert one.lock.token == token


async def test_a_feed_that_ends_is_asked_again(local_client: AsyncClient, clock: ManualClock) -> None:
    feed = Numbers(3, endless=False)
    async with running(local_client, clock, feed) as one:
        await one.committed(3)
        for _ in range(500):
            await asyncio.sleep(0)
        assert len(feed.starts) <= 2  # it rests, while the clock stands
        feed.count = 5
        await one.committed(5)
        assert feed.begun == [1, 2, 3, 4, 5]


async def test_a_newer_holder_makes_it_take_the_lock_again(
    local_client: AsyncClient, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    gate = asyncio.Event()

    async def process(n: int) -> None:
        if n == 4:
            await gate.wait()

    feed = Numbers(6, process)
    async with running(local_client, clock, feed) as one:
        await one.committed(3)
        token = one.lock.token
        await Committer(local_client, clock=clock).claim("numbers", token + 1)
        gate.set()
        await one.committed(6)
        assert one.lock.token > token + 1
        assert feed.starts == [None, pointer(3)]
    assert f"token {token + 1}" in caplog.text


async def test_the_place_is_claimed_before_any_block_is_processed(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    feed = Numbers(0)
    async with running(local_client, clock, feed) as one:
        await one.until(lambda: bool(feed.starts))
        for token in (None, one.lock.token - 1):
            with pytest.raises(InvalidCommitError, match=f"token {one.lock.token}"):
                await Committer(local_client).commit("numbers", None, pointer(1), token=token)


async def test_it_takes_the_lock_again_after_an_invalid_commit(
    local_client: AsyncClient, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    gate = asyncio.Event()

    async def process(n: int) -> None:
        if n == 4:
            await gate.wait()

    feed = Numbers(10, process)
    async with running(local_client, clock, feed) as one:
        await one.committed(3)
        token = one.lock.token
        await Committer(local_client).commit("numbers", pointer(3), pointer(7), token=token)
        gate.set()
        await one.committed(10)
        assert feed.starts == [None, pointer(7)]
        assert one.lock.token > token
    assert "starting over" in caplog.text


async def test_a_chain_with_a_gap_is_committed_up_to_it(
    local_client: AsyncClient, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Gap(Numbers):
        async def _block(self, writer: Writer, n: int) -> Result:
            result = await super()._block(writer, n)
            return Result(pointer(77), result.block) if n == 5 and len(self.starts) < 3 else result

    feed = Gap(9)
    async with running(local_client, clock, feed) as one:
        await one.committed(9)
        assert feed.starts == [None, pointer(4), pointer(4)]


async def test_a_lost_lease_ends_the_work_and_it_goes_on_once_the_lock_is_back(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    cancelled = []

    async def process(n: int) -> None:
        if n == 4 and not cancelled:
            await clock.sleep(timedelta(seconds=1))  # till the others are committed
            emulator.faults.add(Fault(rpc="*", error="UNAVAILABLE", times=1_000))
            try:
                await asyncio.Event().wait()
            finally:
                cancelled.append(clock.now())
                emulator.faults.clear()

    feed = Numbers(10, process)
    async with running(local_client, clock, feed) as one:
        await one.committed(10)
    assert cancelled
    assert feed.starts == [None, pointer(3)]
    assert "was lost" in caplog.text


@pytest.mark.parametrize("turns", range(0, 400, 13))
async def test_cancelling_it_at_any_moment_leaves_no_task_and_lets_go_of_the_lock(
    local_client: AsyncClient, clock: ManualClock, turns: int
) -> None:
    async def process(n: int) -> None:
        await asyncio.sleep(0)

    feed = Numbers(10_000, process)
    async with running(local_client, clock, feed, concurrency=4) as one:
        for _ in range(turns):
            await asyncio.sleep(0)
    assert asyncio.all_tasks() == {asyncio.current_task()}
    assert feed.closed == len(feed.starts)
    assert feed.at_once == 0
    assert one.task.cancelled()
    lock = DistributedLock(local_client, "numbers", heartbeat=HEARTBEAT, clock=clock)
    await asyncio.wait_for(lock.lock(), 5)
    await lock.unlock()


async def test_lost_answers_neither_lose_nor_repeat_a_block(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    for when in ("before", "after", "late"):
        emulator.faults.add(
            Fault(rpc="Commit", error="UNAVAILABLE", when=when, times=20, probability=0.5,
                  latency=timedelta(milliseconds=100 if when == "late" else 0)),
        )  # fmt: skip

    async def process(n: int) -> None:
        await clock.sleep(timedelta(milliseconds=n % 7))

    feed = Numbers(300, process)
    async with running(local_client, clock, feed) as one:
        await one.committed(300)
        assert feed.begun == list(range(1, 301))


@pytest.mark.parametrize(
    ("yielded", "error", "message"),
    [
        (Result("0", b"1"), TypeError, "parent of a Result must be a pointer"),  # type: ignore[arg-type]
        (Result(None, "1"), TypeError, "block of a Result must be a pointer"),  # type: ignore[arg-type]
        (Result(None, b"x" * 1_025), ValueError, "1,024"),
        (None, TypeError, "must come to a Result"),
    ],
)
async def test_results_that_are_none_are_errors_of_run(
    local_client: AsyncClient, clock: ManualClock, yielded: Any, error: type[Exception], message: str
) -> None:
    class Odd(Numbers):
        async def _block(self, writer: Writer, n: int) -> Result:
            return Result(None, pointer(1)) if n == 1 else yielded  # type: ignore[no-any-return]

    async with running(local_client, clock, Odd(9)) as one:
        with pytest.raises(error, match=message):
            await one.until(one.task.done)
        assert await one.committer.latest("numbers") == pointer(1)
        assert not one.lock.held


async def test_other_bad_arguments_are_refused(local_client: AsyncClient, clock: ManualClock) -> None:
    lock = DistributedLock(local_client, "a", heartbeat=HEARTBEAT)
    committer, writer = Committer(local_client), Written().writer
    for concurrency in (0, -1):
        with pytest.raises(ValueError, match="concurrency"):
            await run(lock, committer, writer, Numbers(1), concurrency=concurrency)
    with pytest.raises(TypeError, match="concurrency"):
        await run(lock, committer, writer, Numbers(1), concurrency="2")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="name"):
        await run(lock, committer, writer, Numbers(1, name=""))
    with pytest.raises(TypeError, match="name"):
        await run(lock, committer, writer, object())  # type: ignore[arg-type]

    class Coroutine(Numbers):
        async def ingest(self, writer: Writer, parent: bytes | None) -> Any:  # type: ignore[override]
            return []

    class Plain(Numbers):
        async def ingest(self, writer: Writer, parent: bytes | None) -> Any:  # type: ignore[override]
            yield Result(None, b"1")

    for ingestor, message in ((Coroutine(1), "asynchronous iterator"), (Plain(1), "must yield awaitables")):
        with pytest.raises(TypeError, match=message):
            await run(lock, committer, writer, ingestor)
        assert not lock.held


async def test_an_ingestor_that_cannot_begin_is_tried_again(
    local_client: AsyncClient, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    class Unwilling(Numbers):
        tries = 0

        def ingest(self, writer: Writer, parent: bytes | None) -> AsyncIterator[Awaitable[Result]]:
            self.tries += 1
            if self.tries < 4:
                raise OSError("no connection")
            return super().ingest(writer, parent)

    async with running(local_client, clock, Unwilling(3)) as one:
        await one.committed(3)
    assert "no connection" in caplog.text


async def test_an_outage_while_the_place_is_claimed_makes_it_let_go_of_the_lock(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    emulator.faults.add(
        Fault(rpc="BatchGetDocuments", error="UNAVAILABLE", times=25, path="eventbox_commits/*")
    )
    async with running(local_client, clock, Numbers(3)) as one:
        await one.committed(3)
    assert "could not be claimed" in caplog.text


async def test_what_firestore_refuses_is_raised_and_an_outage_is_waited_out(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    emulator.faults.add(
        Fault(rpc="BatchGetDocuments", error="UNAVAILABLE", times=40, latency=timedelta(seconds=1))
    )
    async with running(local_client, clock, Numbers(5)) as one:
        await one.committed(5)
    emulator.faults.add(Fault(rpc="Commit", error="PERMISSION_DENIED", times=5))
    async with running(local_client, clock, Numbers(5)) as one:
        with pytest.raises(PermissionDenied):
            await one.until(lambda: False)


async def test_it_counts_and_tells_how_it_gets_on(local_client: AsyncClient, clock: ManualClock) -> None:
    reader = InMemoryMetricReader()
    told: list[tuple[Any, ...]] = []

    class Told:
        def began(self, ingestor: str, position: int | None) -> None:
            told.append((ingestor, position))

        def committed(self, ingestor: str, blocks: int, position: int) -> None:
            told.append((ingestor, blocks, position))

    provider = MeterProvider([reader])
    async with running(local_client, clock, Numbers(5), meter_provider=provider, progress=Told()) as one:
        await one.committed(5)
    data: Any = reader.get_metrics_data()
    metrics = {
        metric.name: metric.data.data_points[0]
        for resource in data.resource_metrics
        for scope in resource.scope_metrics
        for metric in scope.metrics
    }
    assert metrics["eventbox.ingestion.blocks"].value == 5
    assert metrics["eventbox.ingestion.commits"].value == len(told) - 1
    assert metrics["eventbox.ingestion.last_committed"].value == 5
    assert metrics["eventbox.ingestion.last_committed"].attributes == {"eventbox.ingestor": "numbers"}
    assert told[0] == ("numbers", None)
    assert sum(one[1] for one in told[1:]) == 5
    provider.shutdown()
    assert await nothing(1) is None  # type: ignore[func-returns-value]
