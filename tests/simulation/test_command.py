"""`python -m tests.simulation`: what it prints, its exit status, and how it ends."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tests.simulation.simulation import simulate

MUTANT = "post process is returned twice"


def test_the_story_of_a_history_says_who_did_what_when() -> None:
    told = _run("--seed", "1", "--trace")
    assert told.returncode == 0
    assert "starts, its clock" in told.stdout
    assert "> Commit #" in told.stdout
    assert "all faults stop" in told.stdout
    assert told.stdout.splitlines()[-1].startswith("all promises were kept")


def test_the_story_of_a_mutant_ends_with_the_promise_that_it_breaks() -> None:
    told = _run("--seed", str(_caught()), "--mutant", MUTANT, "--trace")
    assert told.returncode == 1
    assert "*** BROKEN" in told.stdout
    assert told.stdout.splitlines()[-1].startswith("BROKEN  ")
    assert "BROKEN  post-process at most once" in told.stdout


def test_telling_the_story_changes_nothing() -> None:
    assert simulate(1, trace=True).digest == simulate(1).digest


def test_a_seed_that_fails_prints_the_command_that_shows_it() -> None:
    seed = _caught()
    told = _run("--start", str(seed), "--seeds", "1", "--jobs", "1", "--mutant", MUTANT)
    assert told.returncode == 1
    assert f"python -m tests.simulation --seed {seed} --trace --mutant '{MUTANT}'" in told.stdout


def test_seeds_that_pass_end_with_status_0_and_what_was_checked() -> None:
    told = _run("--start", "0", "--seeds", "2", "--jobs", "1")
    assert told.returncode == 0
    assert "(START=0)" in told.stdout
    assert "2 histories" in told.stdout
    assert "promises checked: " in told.stdout


def test_without_a_start_it_takes_new_seeds_and_says_which() -> None:
    first, second = (_run("--seeds", "1", "--jobs", "1").stdout.splitlines()[0] for _ in range(2))
    assert first.startswith("seeds ")
    assert first != second


def test_a_story_without_a_seed_is_refused() -> None:
    told = _run("--trace")
    assert told.returncode == 2
    assert "give its --seed" in told.stderr


@pytest.mark.skipif(sys.platform == "win32", reason="there is no SIGINT to send")
def test_ctrl_c_ends_it_with_what_it_has_come_to() -> None:
    # a shell's background job ignores it, and hands that on: the command has to be as one of a terminal
    program = (
        "import signal; signal.signal(signal.SIGINT, signal.default_int_handler)\n"
        "from tests.simulation.__main__ import main; main()"
    )
    options = ["--seeds", "100000", "--start", "0", "--jobs", "1"]
    with subprocess.Popen(
        [sys.executable, "-c", program, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    ) as process:
        try:
            assert process.stdout is not None
            assert process.stdout.readline().startswith("seeds 0")  # it has begun
            process.send_signal(signal.SIGINT)
            output, _ = process.communicate(timeout=100)
        finally:
            process.kill()
    assert process.returncode == 130
    assert "interrupted" in output
    assert "Traceback" not in output


def _run(*arguments: str) -> subprocess.CompletedProcess[str]:
    """The command in a process of its own: it forks, which one that has had gRPC channels and threads must not."""
    command = [sys.executable, "-m", "tests.simulation", *arguments]
    return subprocess.run(command, capture_output=True, text=True, timeout=100, check=False)


def _caught() -> int:
    """A seed in which the mutant shows."""
    from tests.simulation.mutants.catching import caught

    _, seed, _ = caught(MUTANT, range(100))
    assert seed is not None
    return seed
