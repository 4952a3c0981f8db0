"""The command that compares costs with the table: they agree, and it says so where they would not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from click.testing import CliRunner

from benchmarks import cost, cost_rows
from benchmarks.wire_cost import Cost


@pytest.mark.slow
def test_everything_costs_what_the_table_says() -> None:
    done = CliRunner().invoke(cost.main, ["--json"])
    rows = json.loads(done.stdout)
    assert [row["row"] for row in rows if not row["agrees"]] == []
    assert done.exit_code == 0
    batch = next(row for row in rows if row["row"].startswith("process_batch") and row["events"] == 10)
    assert batch["measured"] == {"round_trips": 2, "rpcs": 3, "reads": 11, "writes": 11}
    assert [plain["round_trips"] for plain in batch["plain"].values()] == [4, 3]


async def test_a_batch_costs_what_the_table_says() -> None:
    rows = [replace(row, sizes=(1, 10)) for row in cost_rows.rows() if row.name.startswith("process_batch")]
    assert all(one.agrees for one in await cost.measure(rows))


def test_a_cost_that_differs_is_shown_and_makes_the_command_fail(monkeypatch: pytest.MonkeyPatch) -> None:
    emit = replace(cost_rows.rows()[0], table=lambda n: Cost(1, 1, 0, 77))
    monkeypatch.setattr(cost, "rows", lambda: [emit])
    (row,) = json.loads(CliRunner().invoke(cost.main, ["--json"]).stdout)
    assert row["agrees"] is False
    assert {"benchmark", "latency_ms", "events", "floor_ms", "ours_ms", "plain_ms"} <= set(row)
    done = CliRunner().invoke(cost.main, [])
    assert done.exit_code == 1
    assert "NO" in done.stdout
    assert "77" in done.stdout
