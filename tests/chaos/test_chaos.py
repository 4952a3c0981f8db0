"""A few seconds of chaos break nothing, and what a mistake breaks is found out."""

from __future__ import annotations

from pathlib import Path

import pytest
from click.testing import CliRunner

from tests.chaos.__main__ import main
from tests.chaos.chaos import Plan, State, run
from tests.chaos.mistakes import FORGETFUL_EMULATOR

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]

_SEED = 5


async def test_a_few_seconds_of_chaos_break_no_promise(tmp_path: Path) -> None:
    state = State()
    await run(Plan(8, _SEED, small=True), tmp_path / "run", state)
    assert state.violations == []
    assert sum(one.killed for one in state.crew) >= 3
    assert len({record["id"] for record in state.records if record.what == "acknowledged"}) >= 5


async def test_an_emulator_that_acknowledges_before_it_writes_is_found_out(tmp_path: Path) -> None:
    state = State()
    plan = Plan(4, _SEED, small=True, mistake=FORGETFUL_EMULATOR, only=["firestore"], patience=2)
    await run(plan, tmp_path / "run", state)
    assert "nothing lost" in {one.promise for one in state.findings if one.violations}


def test_a_producer_that_acknowledges_before_the_commit_is_found_out_and_the_command_fails(
    tmp_path: Path,
) -> None:
    folder = tmp_path / "run"
    arguments = [
        "--seconds",
        "4",
        "--small",
        "--seed",
        str(_SEED),
        "--only",
        "producer-1",
        "--folder",
        str(folder),
    ]
    done = CliRunner().invoke(main, [*arguments, "--mistake", "a producer acknowledges before the commit"])
    assert done.exit_code == 1, done.output
    assert "BROKEN  nothing lost: " in done.output
    assert f"Look into {folder}" in done.output.replace("\n", "")
    assert list((folder / "journals").glob("producer-1.*.jsonl"))
