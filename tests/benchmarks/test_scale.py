"""The benchmark of growth runs, and tells what rises; how fast it is belongs to no test."""

from __future__ import annotations

import json
import sys

import pytest
from click.testing import CliRunner

from benchmarks import scale
from benchmarks.growth import Growth
from benchmarks.scale import Memory, Sizes


@pytest.mark.slow
async def test_each_growth_is_measured_at_its_sizes() -> None:
    sizes = Sizes(events_per_batch=(1, 20), recipients=(1, 3), tombstones=(0, 20), outstanding=(10, 30))
    found = await scale.measure(sizes, 1)
    assert [(one.figure, one.sizes) for one in found] == [
        ("events a batch", (1, 20)),
        ("recipients", (1, 3)),
        ("tombstones", (0, 20)),
        ("outstanding", (10, 30)),
    ]
    assert all(took > 0 for one in found for took in one.us_per_event)


@pytest.mark.slow
@pytest.mark.skipif(sys.platform != "linux", reason="what a process takes is read as Linux tells it")
async def test_what_a_batch_takes_of_memory_is_measured() -> None:
    memory = await scale.measure_memory(events=100, event_bytes=100_000)
    assert memory.mb > 5  # the values are 10 MB


@pytest.mark.parametrize(("times", "within"), [((1.0, 1.3, 0.9), True), ((1.0, 1.4, 0.9), False)])
def test_the_worst_of_the_larger_sizes_tells(times: tuple[float, ...], within: bool) -> None:
    growth = Growth("recipients", (1, 10, 100), (10, 10, 10), times)
    assert growth.ratios == times
    assert growth.within is within


def test_json_holds_the_ratios_and_the_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    async def measured(*_: object) -> list[Growth]:
        return [Growth("tombstones", (0, 10), (100, 100), (2.0, 3.0))]

    async def memory() -> Memory:
        return Memory(10, 20, 61.0)

    monkeypatch.setattr(scale, "measure", measured)
    monkeypatch.setattr(scale, "measure_memory", memory)
    found = json.loads(CliRunner().invoke(scale.main, ["--json", "--quick"]).stdout)
    smaller, larger, batch = found
    assert (smaller["size"], smaller["ratio"], smaller["within"]) == (0, 1.0, True)
    assert larger == {
        "benchmark": "scale",
        "figure": "tombstones",
        "size": 10,
        "latency_ms": 0,
        "events": 100,
        "floor_ms": None,
        "ours_ms": 0.3,
        "plain_ms": None,
        "us_per_event": 3.0,
        "ratio": 1.5,
        "limit": 1.3,
        "within": False,
    }
    assert batch == {
        "benchmark": "scale",
        "figure": "memory",
        "latency_ms": 0,
        "floor_ms": None,
        "ours_ms": None,
        "plain_ms": None,
        "events": 10,
        "event_bytes": 20,
        "mb": 61.0,
        "limit": 60,
        "within": False,
    }
