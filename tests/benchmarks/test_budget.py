"""A benchmark that is to be quick ends in time, on a busy machine too; a full one is made of several passes."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest
from google.cloud.firestore import AsyncClient

import benchmarks.contest
from benchmarks.contest import Budget, Prepare, Result, Setting, contest, medians
from benchmarks.pinning import pinned_emulator
from emulator.process import EmulatorProcess


async def test_after_its_time_one_turn_counts_and_no_more() -> None:
    done = 0

    async def work() -> None:
        nonlocal done
        done += 1

    async def prepare(turn: int) -> Callable[[], Awaitable[None]]:
        return work

    await medians({"one": prepare}, 100, until=time.monotonic() - 1)
    assert done == 2  # the first warms up


def test_a_setting_may_take_an_even_share_of_what_is_left() -> None:
    budget = Budget(1_000.0, 2)
    first, second = budget.next(), budget.next()
    assert first is not None
    assert second is not None
    assert 490 < second - first < 510  # the first took no time, so the second has all the rest


def test_without_a_bound_there_is_none() -> None:
    assert Budget(None, 3).next() is None


async def test_a_row_is_of_the_times_of_all_passes(monkeypatch: pytest.MonkeyPatch) -> None:
    emulators: list[EmulatorProcess] = []
    clients: list[AsyncClient] = []
    pooled: list[Mapping[str, Sequence[float]]] = []

    class Watched(Setting):
        def result(self, times: Mapping[str, Sequence[float]]) -> Result:
            pooled.append(times)
            return super().result(times)

    @asynccontextmanager
    async def emulator() -> AsyncIterator[EmulatorProcess]:
        async with pinned_emulator() as process:
            emulators.append(process)
            yield process

    async def work() -> None:
        pass

    async def prepare(turn: int) -> Callable[[], Awaitable[None]]:
        return work

    def settings(client: AsyncClient) -> list[Setting]:
        clients.append(client)
        contenders: dict[str, Prepare] = {"floor": prepare, "ours": prepare, "one": prepare, "two": prepare}
        return [Watched("process_batch", 0, events, contenders, turns=2) for events in (1, 10)]

    monkeypatch.setattr(benchmarks.contest, "pinned_emulator", emulator)
    rows = await contest(settings, passes=3, seconds=60)
    assert [(row.benchmark, row.events) for row in rows] == [("process_batch", 1), ("process_batch", 10)]
    assert [{name: len(values) for name, values in times.items()} for times in pooled] == 2 * [
        {"floor": 6, "ours": 6, "one": 6, "two": 6}
    ]
    assert (len(set(map(id, clients))), len(emulators)) == (3, 3)  # each pass has its own


def test_a_rows_times_are_of_one_and_plain_is_the_faster_way() -> None:
    setting = Setting("drain", 10, 100, {}, turns=1, times_of=10)
    times = {"floor": [10.0, 30.0, 20.0], "ours": [40.0], "outside": [70.0, 90.0], "in_one": [60.0, 500.0]}
    assert setting.result(times) == Result("drain", 10, 100, 2.0, 4.0, 8.0)
