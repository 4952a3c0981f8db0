"""What `benchmarks.peers` compares does one and the same job, and does it right; how fast belongs to no test."""

from __future__ import annotations

import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from click.testing import CliRunner

from benchmarks import peers
from benchmarks.peers import __main__ as command, postgres
from benchmarks.peers.job import Job, timed
from benchmarks.peers.on_eventbox import EventboxJob
from emulator.firestore import Emulator

JOB = Job(events=12, recipients=5)
LONG_S = 30.0


def test_events_are_dealt_out_in_turn() -> None:
    assert JOB.expected == {
        "recipient-0": 3,
        "recipient-1": 3,
        "recipient-2": 2,
        "recipient-3": 2,
        "recipient-4": 2,
    }


async def test_ours_counts_each_event_once() -> None:
    work = EventboxJob(JOB, Emulator().client())
    rates = await timed(JOB, work, 3, LONG_S)
    assert rates.all_done
    await work.emit()  # again: consumed IDs add nothing
    assert await work.process(3, LONG_S) == 0
    assert await work.counts() == JOB.expected


@pytest.mark.slow
async def test_procrastinate_counts_each_event_once() -> None:
    on_procrastinate = available()
    async with on_procrastinate.served(sync=True) as peer, peer(JOB) as work:
        rates = await timed(JOB, work, 3, LONG_S)
        assert rates.all_done
        await work._count(
            "event-0", "recipient-0", "v"
        )  # as after a worker's death between effect and completion
        assert await work.counts() == JOB.expected


@pytest.mark.slow
async def test_procrastinate_is_stopped_when_time_is_up() -> None:
    on_procrastinate = available()
    async with on_procrastinate.served(sync=False) as peer, peer(JOB) as work:
        assert not (await timed(JOB, work, 1, 0.0)).all_done


async def test_a_lost_event_fails_the_run() -> None:
    class Forgetful(EventboxJob):
        async def emit(self) -> None:
            self._job, job = Job(JOB.events - 1, JOB.recipients), self._job
            await super().emit()
            self._job = job

        async def process(self, concurrency: int, seconds: float) -> int:
            await super().process(concurrency, seconds)
            return JOB.events

    with pytest.raises(RuntimeError, match="11 events were counted, after 12 of 12"):
        await timed(JOB, Forgetful(JOB, Emulator().client()), 3, LONG_S)


@pytest.fixture
def _signals() -> Iterator[None]:
    """The command handles SIGTERM for as long as its process lives, which is that of all tests here."""
    before = signal.getsignal(signal.SIGTERM)
    yield
    signal.signal(signal.SIGTERM, before)


@pytest.mark.usefixtures("_signals")
def test_without_procrastinate_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "procrastinate", None)
    monkeypatch.delitem(sys.modules, "benchmarks.peers.on_procrastinate", raising=False)
    monkeypatch.delattr(peers, "on_procrastinate", raising=False)
    result = CliRunner().invoke(command.main, ["--quick"])
    assert result.exit_code == peers.EXIT_MISSING
    assert "no procrastinate here" in result.output
    assert "--group peers" in result.output


def test_without_postgresql_it_says_what_to_install(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(postgres, "_PACKAGES", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(postgres.PostgresMissingError, match="apt-get install postgresql"):
        postgres.find_binaries()


def test_the_newest_postgresql_is_taken(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for version in ("9.6", "15", "17"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        (folder / "initdb").touch()
    monkeypatch.setattr(postgres, "_PACKAGES", tmp_path)
    assert postgres.find_binaries() == tmp_path / "17" / "bin"


def available() -> object:
    """Procrastinate's contender, where this machine has what it takes."""
    pytest.importorskip("procrastinate")
    pytest.importorskip("psycopg_pool")
    try:
        postgres.find_binaries()
    except postgres.PostgresMissingError as missing:
        pytest.skip(str(missing))
    from benchmarks.peers import on_procrastinate

    return on_procrastinate
