"""`run`: side by side, in order, and by one at a time."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from emulator.firestore import Emulator
from eventbox.sources import Committer, DistributedLock, InvalidCommitError, Result, Writer, run
from eventbox.testing import ManualClock
from tests.eventbox.sources.feeds import Numbers, Written, nothing, pointer
from tests.eventbox.sources.running import HEARTBEAT, recorded, running


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


async def test_the_place_is_claimed_before_any_block_is_processed(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    feed = Numbers(0)
    async with running(local_client, clock, feed) as one:
        await one.until(lambda: bool(feed.starts))
        for token in (None, one.lock.token - 1):
            with pytest.raises(InvalidCommitError, match=f"token {one.lock.token}"):
                await Committer(local_client).commit("numbers", None, pointer(1), token=token)


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
    await asyncio.wait_for(lock.lock(), 60)
    await lock.unlock()


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
    metrics = recorded(reader)
    assert "eventbox.ingestion.restarts" not in metrics
    assert metrics["eventbox.ingestion.blocks"].value == 5
    assert metrics["eventbox.ingestion.commits"].value == len(told) - 1
    assert metrics["eventbox.ingestion.last_committed"].value == 5
    assert metrics["eventbox.ingestion.last_committed"].attributes == {"eventbox.ingestor": "numbers"}
    assert told[0] == ("numbers", None)
    assert sum(one[1] for one in told[1:]) == 5
    provider.shutdown()
    assert await nothing(1) is None  # type: ignore[func-returns-value]
