"""The benchmarks that measure contenders side by side run, and say what they measure; how fast belongs to no test."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from click.testing import CliRunner

from benchmarks import drain, emit, process_batch
from benchmarks.contest import Result, report


async def test_a_batch_is_measured_beside_its_floor_and_the_plain_ways() -> None:
    rows = await process_batch.measure((0, 1), (1, 3), lambda events: 1)
    check(rows, "process_batch", [(1, 0), (1, 1), (3, 0), (3, 1)])


async def test_a_drain_is_measured_beside_its_floor_and_the_plain_ways() -> None:
    check(await drain.measure((0,), (2,), lambda events: 1), "drain", [(2, 0)])


async def test_emitting_is_measured_beside_its_floor_and_the_plain_way() -> None:
    rows = await emit.measure((0,), 1, each=1)
    assert [row.benchmark for row in rows] == ["emit", "emit_concurrent", "emit_shared"]
    assert all(row.floor_ms > 0 and row.ours_ms > 0 and row.plain_ms > 0 for row in rows)


def check(rows: Sequence[Result], benchmark: str, settings: list[tuple[int, int]]) -> None:
    assert [(row.benchmark, row.events, row.latency_ms) for row in rows] == [
        (benchmark, events, latency) for events, latency in settings
    ]
    for row in rows:
        # a batch has two round trips at least; a drain's take one
        floor = row.latency_ms * (2 if benchmark == "process_batch" else 1)
        assert min(row.floor_ms, row.ours_ms, row.plain_ms) >= floor


def test_json_is_one_list_of_the_named_fields(capsys: pytest.CaptureFixture[str]) -> None:
    report([Result("drain", 10, 100, 1.0, 2.0, 3.0)], as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {
            "benchmark": "drain",
            "latency_ms": 10,
            "events": 100,
            "floor_ms": 1.0,
            "ours_ms": 2.0,
            "plain_ms": 3.0,
        }
    ]


@pytest.mark.parametrize("command", [process_batch.main, drain.main, emit.main])
def test_each_says_what_it_takes(command: object) -> None:
    help_text = CliRunner().invoke(command, ["--help"]).output  # type: ignore[arg-type]
    assert "--json" in help_text
    assert "--quick" in help_text
