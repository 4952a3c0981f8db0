"""`run` through blocks that fail, leases that are lost, and outages."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import AsyncIterator, Awaitable
from datetime import timedelta

import pytest
from google.api_core.exceptions import PermissionDenied
from google.cloud.firestore import AsyncClient
from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader

from emulator.firestore import Emulator, Fault
from eventbox.sources import Committer, Result, Writer
from eventbox.testing import ManualClock
from tests.eventbox.sources.feeds import Numbers, pointer
from tests.eventbox.sources.running import recorded, running


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
    tries: Counter[int] = Counter()

    class Flaky(Numbers):
        async def _block(self, writer: Writer, n: int) -> Result:
            tries[n] += 1
            if tries[n] <= 4:  # the fifth try of each block is good
                raise OSError("flaky")
            return await super()._block(writer, n)

    feed = Flaky(3, endless=False)
    async with running(local_client, clock, feed, concurrency=1) as one:
        await one.until(lambda: one.lock.held)
        token = one.lock.token
        await one.committed(3)
        assert one.lock.token == token
        assert len(feed.starts) >= 1 + 3 * 4


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


async def test_the_delay_before_starting_over_begins_anew_after_progress(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    gates = [asyncio.Event() for _ in range(11)]

    async def process(n: int) -> None:
        await gates[n].wait()

    async with running(local_client, clock, Numbers(10, process)) as one:
        begin = clock.now()
        for n in range(1, 11):
            gates[n].set()
            await one.committed(n)
            await Committer(local_client, clock=clock).claim("numbers", one.lock.token + 1)
        assert clock.now() - begin < timedelta(seconds=10)  # and over 20 if the delays grew all the time


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


async def test_an_outage_while_it_looks_who_has_committed_is_waited_out(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    gate = asyncio.Event()

    async def process(n: int) -> None:
        if n == 4:
            await gate.wait()

    lease = timedelta(minutes=10)  # longer than what is tried
    async with running(local_client, clock, Numbers(10, process), lease=lease) as one:
        await one.committed(3)
        token = one.lock.token
        await Committer(local_client).commit("numbers", pointer(3), pointer(7), token=token)
        emulator.faults.add(
            Fault(rpc="BatchGetDocuments", error="UNAVAILABLE", times=25, path="eventbox_commits/*")
        )
        gate.set()
        await one.committed(10)


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

    feed, reader = Numbers(10, process), InMemoryMetricReader()
    provider = MeterProvider([reader])
    async with running(local_client, clock, feed, meter_provider=provider) as one:
        await one.committed(10)
    assert cancelled
    assert recorded(reader)["eventbox.ingestion.restarts"].value == 1
    provider.shutdown()
    assert feed.starts == [None, pointer(3)]
    assert "was lost" in caplog.text


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
