"""The benchmark of the log runs, and its counts are what the log promises; how fast it is belongs to no test."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from benchmarks import log_runs as runs
from benchmarks.pinning import connect, pinned_emulator

ROOT = Path(__file__).parents[2]


async def test_following_reads_less_than_a_tenth_of_the_plain_way() -> None:
    async with pinned_emulator() as process:
        client = connect(process.address)
        figures = await runs.following(client, process, 0, 1, 500)
        assert figures["reads_per_1000"] * 10 <= figures["plain_reads_per_1000"]
        assert figures["followed_per_s"] > 0
        assert (await runs.ordering(client, process, 0, 1))["ordering_rpcs_per_1000"] == 3
        assert (await runs.appending(client, process, 0, 1))["appends_per_s"] > 0
        assert (await runs.live(client, process, 5))["live_reads_per_step"] <= 2
        await client._firestore_api.transport.close()


async def test_the_cost_of_an_entry_stays_as_the_log_grows() -> None:
    first, second = await runs.growing(4_000, factor=4)
    for name in ("reads_per_1000", "writes_per_1000", "rpcs_per_1000", "reads_at_random"):
        assert second[name] <= first[name] + 1, name


def test_the_command_says_what_it_takes() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.log", "--help"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "--quick" in done.stdout
