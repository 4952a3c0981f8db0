"""`kill -9` at any moment: every acknowledged commit is there, and none by half."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from random import Random

import pytest

from emulator.process import EmulatorProcess
from tests.emulator import journal_killer
from tests.emulator.killed_world import World
from tests.fronts import connect

_KILLS = 200
_PARTS = 8  # for xdist


@pytest.mark.slow
@pytest.mark.parametrize("part", range(_PARTS))
async def test_a_killed_emulator_has_every_acknowledged_commit_and_none_by_half(
    tmp_path: Path, part: int
) -> None:
    world, rng = World(part), Random(part)
    for _ in range(_KILLS // _PARTS):
        async with (
            EmulatorProcess(data_dir=tmp_path) as process,
            connect(process.address, project="demo") as client,
        ):
            await world.check(client)
            await world.write(client, rng.randint(1, 60), process.kill)
    async with (
        EmulatorProcess(data_dir=tmp_path) as process,
        connect(process.address, project="demo") as client,
    ):
        await world.check(client)


@pytest.mark.slow
@pytest.mark.parametrize(("mode", "kills"), [("start", 150), ("checkpoint", 50)])
async def test_a_folder_outlives_kills_at_its_first_start_and_in_checkpoints(
    tmp_path: Path, mode: str, kills: int
) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, journal_killer.__file__, mode, str(tmp_path), str(kills), "1",
        env={**os.environ, "PYTHONPATH": os.pathsep.join(sys.path)},
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    output, _ = await process.communicate()
    process._transport.close()  # type: ignore[attr-defined]
    assert process.returncode == 0, output.decode()
