"""The runs of `benchmarks.emulator` that look at the size of a process; each prints its figures."""

from __future__ import annotations

import os
import statistics
import time
from datetime import UTC, datetime, timedelta
from typing import Any

from benchmarks.emulator_runs import DATABASE, ROOT, SERVICE, document
from emulator.firestore import Emulator, protos
from emulator.manual_clock import ManualClock

_AN_HOURS_WRITES = 10_000


async def large_store(count: int) -> None:
    """Print bytes of memory per document, its index included, and milliseconds of a query that finds ten."""
    channel = _channel(Emulator())
    before = _resident_bytes()
    await _fill(channel, count)
    query = protos.StructuredQuery()
    query.from_.add(collection_id="large")
    query.order_by.add().field.field_path = "n"
    query.limit.value = 10
    run_query = channel.unary_stream(SERVICE + "RunQuery", None, None)

    async def ask(n: int) -> float:
        query.start_at.CopyFrom(protos.Cursor(values=[protos.Value(integer_value=n)], before=True))
        request = protos.RunQueryRequest(parent=ROOT, structured_query=query).SerializeToString()
        begin = time.perf_counter()
        found = [one async for one in run_query(request)]
        took = time.perf_counter() - begin
        assert len(found) == 10
        return took

    await ask(0)  # which makes the index
    times = [await ask(n) for n in range(0, count - 10, count // 100)]
    print((_resident_bytes() - before) / count, statistics.median(times) * 1_000)


async def overwriting(count: int) -> None:
    """Print by how many bytes the process grows for each overwrite of one of `count` documents, over hours."""
    clock = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
    channel = _channel(Emulator(clock=clock))
    await _fill(channel, count)
    commit = channel.unary_unary(SERVICE + "Commit", None, None)
    sizes = []
    for hour in range(2 * count // _AN_HOURS_WRITES + 20):
        for n in range(_AN_HOURS_WRITES):
            writes = [protos.Write(update=document(f"{ROOT}/large/{n % count:08}", hour))]
            await commit(protos.CommitRequest(database=DATABASE, writes=writes).SerializeToString())
            clock.advance(timedelta(hours=1) / _AN_HOURS_WRITES)
        sizes.append(_resident_bytes())
    print((sizes[-1] - sizes[-11]) / (10 * _AN_HOURS_WRITES))


def _channel(emulator: Emulator) -> Any:
    return emulator.client()._firestore_api.transport.grpc_channel


async def _fill(channel: Any, count: int) -> None:
    commit = channel.unary_unary(SERVICE + "Commit", None, None)
    for begin in range(0, count, 500):
        numbers = range(begin, min(begin + 500, count))
        writes = [protos.Write(update=document(f"{ROOT}/large/{n:08}", n)) for n in numbers]
        await commit(protos.CommitRequest(database=DATABASE, writes=writes).SerializeToString())


def _resident_bytes() -> int:
    with open("/proc/self/statm") as statm:
        return int(statm.read().split()[1]) * os.sysconf("SC_PAGESIZE")
