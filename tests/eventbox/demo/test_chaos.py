"""The demo while its processes are killed all the time, and its log while somebody looks at it."""

from __future__ import annotations

import json
import os
import re
import signal
import sys
from pathlib import Path

import pytest

from tests.eventbox.demo.running import command, demo, line_with, make_history


@pytest.mark.slow
@pytest.mark.timeout(300)
async def test_with_chaos_every_process_dies_again_and_again_and_totals_are_gits(tmp_path: Path) -> None:
    make_history(tmp_path, 1_500)
    code, output = await demo(tmp_path, "--workers", "2", "--chaos")
    assert output.splitlines()[-1] == "demo: ok: 6000 events, totals equal to git's"
    assert output.splitlines()[-2] == "The log has 1500 entries, one for each commit."
    assert code == 0
    assert re.search(r"; \d+ workers died, and were begun anew", output)
    deaths = re.search(r"; (\d+) ingesting processes died, and were begun anew", output)
    assert deaths is not None
    assert int(deaths[1]) >= 2


@pytest.mark.skipif(sys.platform == "win32", reason="stops a process by a signal")
async def test_the_log_can_be_watched_beside_the_demo_while_it_writes(tmp_path: Path) -> None:
    make_history(tmp_path, 400)
    async with command(tmp_path, "demo") as running:
        line = await line_with("eventbox log tail", running)
        variable, _, *arguments = line.split("meanwhile: ")[1].split()
        # its processes write, while it cannot end and take the emulator away
        os.kill(running.pid, signal.SIGSTOP)
        name, _, value = variable.partition("=")
        async with command(tmp_path, *arguments, "--from", "0", "--json", variables={name: value}) as tail:
            assert tail.stdout is not None
            entries = [json.loads(await tail.stdout.readline()) for _ in range(400)]
        os.kill(running.pid, signal.SIGCONT)
        output, _ = await running.communicate()
    assert [entry["id"] for entry in entries] == list(range(400))
    assert len({json.loads(entry["payload"])["commit"] for entry in entries}) == 400
    assert output.decode().splitlines()[-1] == "demo: ok: 1600 events, totals equal to git's"
