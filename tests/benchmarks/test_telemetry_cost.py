"""The benchmark of telemetry compares the same batches, with and without it."""

from __future__ import annotations

import pytest

from benchmarks.process_batch import Batches
from benchmarks.telemetry import Silent, boxes, measure
from emulator.firestore import Emulator
from eventbox.telemetry import Telemetry


async def test_each_kind_of_telemetry_has_a_row_for_each_size() -> None:
    results = await measure(Emulator().client(), (1, 3), lambda _: 1)
    assert [(one.telemetry, one.events) for one in results] == [
        (name, events) for events in (1, 3) for name in ("no SDK", "no exporters", "no readers")
    ]
    assert all(one.silent_cpu_ms > 0 for one in results)


async def test_a_run_that_is_to_be_quick_ends_in_time() -> None:
    started = 0

    def turns(_: int) -> int:
        nonlocal started
        started += 1
        return 1_000_000

    assert len(await measure(Emulator().client(), (1, 2), turns, 0.0)) == 6
    assert started == 2


@pytest.mark.parametrize("name", ["silent", "no SDK", "no exporters", "no readers"])
async def test_each_box_consumes_all_events_of_its_batch(name: str) -> None:
    emulator = Emulator()
    client = emulator.client()
    batches = Batches(client)
    batches.box = boxes(client)[name]
    work = await batches.ours(7)
    emulator.counts.reset()
    await work()
    assert emulator.counts.writes == 8


def test_what_is_silent_leaves_out_all_that_a_batch_tells() -> None:
    told = {"processed", "listed", "removed", "processing"}
    assert told == {name for name in vars(Silent) if callable(vars(Silent)[name])}
    assert told <= set(vars(Telemetry))
