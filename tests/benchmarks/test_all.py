"""Running all benchmarks: one that fails is told of, one that has not got what it takes is left out."""

from __future__ import annotations

import subprocess
from typing import Any

import pytest
from click.testing import CliRunner, Result

from benchmarks import all as command
from benchmarks.peers import EXIT_MISSING


@pytest.fixture
def kept(monkeypatch: pytest.MonkeyPatch) -> dict[str, Any]:
    """What the command writes, instead of the folder."""
    kept: dict[str, Any] = {}
    monkeypatch.setattr(command, "write_result", kept.__setitem__)
    monkeypatch.setattr(command, "read_result", kept.get)
    monkeypatch.setattr(command, "refresh", list)
    monkeypatch.setattr(command, "missed_goals", list)
    return kept


def ran(monkeypatch: pytest.MonkeyPatch, exit_code: int, *arguments: str) -> Result:
    """The command, where what it runs ends with this exit code."""

    def run(benchmark: str, *, quick: bool) -> Any:
        if exit_code:
            raise subprocess.CalledProcessError(exit_code, benchmark)
        return [benchmark]

    monkeypatch.setattr(command, "run", run)
    return CliRunner().invoke(command.main, arguments)


@pytest.mark.usefixtures("kept")
def test_what_has_not_got_what_it_takes_is_left_out(monkeypatch: pytest.MonkeyPatch) -> None:
    done = ran(monkeypatch, EXIT_MISSING, "peers")
    assert done.exit_code == 0
    assert "left out" in done.output


def test_what_fails_is_told_of_and_keeps_its_figures(
    monkeypatch: pytest.MonkeyPatch, kept: dict[str, Any]
) -> None:
    done = ran(monkeypatch, 1, "peers")
    assert done.exit_code == 1
    assert "failed" in done.output
    assert kept == {}


def test_what_was_measured_quickly_is_known_until_it_is_measured_again(
    monkeypatch: pytest.MonkeyPatch, kept: dict[str, Any]
) -> None:
    ran(monkeypatch, 0, "--quick", "drain", "emit")
    assert kept["drain"] == ["drain"]
    assert kept["machine"]["by_quick"] == ["drain", "emit"]
    ran(monkeypatch, 0, "drain", "cost")
    assert kept["machine"]["by_quick"] == ["emit"]


def test_one_that_prints_nothing_has_failed() -> None:
    with pytest.raises(subprocess.CalledProcessError):
        command.run("none", quick=True)
