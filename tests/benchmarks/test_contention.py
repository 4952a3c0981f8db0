"""What `benchmarks.contention` measures, in virtual time: what it tells is round trips and locks alone."""

from __future__ import annotations

import json
from datetime import timedelta

import pytest
from click.testing import CliRunner

from benchmarks import contention
from benchmarks.contention_runs import CONTENDERS, EMITTERS, Load, Run, measure_run, summed_up
from emulator.firestore import Emulator, Fault
from eventbox.testing import ManualClock
from tests.advancing import while_advancing

ROUND_TRIP_S = 0.01
LOAD = Load(interval_s=0.05, seconds=0.2)
EMITS = EMITTERS * 4


async def ran(name: str, *, worker: bool = True) -> Run:
    """A run of this contender, where each RPC takes a round trip and nothing else takes time."""
    clock = ManualClock()
    emulator = Emulator(clock=clock)
    emulator.faults.add(Fault(times=None, latency=timedelta(seconds=ROUND_TRIP_S)))
    contender = CONTENDERS[name](emulator.client(), clock)
    return await while_advancing(clock, measure_run(contender, LOAD, worker=worker, clock=clock))


@pytest.mark.parametrize("name", ["ours", "ours, drain", "plain, listed outside"])
async def test_batches_that_list_outside_their_transaction_slow_no_emit(name: str) -> None:
    run = await ran(name)
    assert run.emit_s == pytest.approx([ROUND_TRIP_S] * EMITS)
    assert run.batches >= 4
    assert (run.emits_failed, run.batches_lost) == (0, 0)


async def test_batches_that_list_in_their_transaction_make_emits_wait() -> None:
    run = await ran("plain, all in one")
    assert max(run.emit_s) > 1.5 * ROUND_TRIP_S
    assert run.batches >= 4


@pytest.mark.parametrize("name", CONTENDERS)
async def test_emitters_alone_wait_for_nothing(name: str) -> None:
    run = await ran(name, worker=False)
    assert run.emit_s == pytest.approx([ROUND_TRIP_S] * EMITS)
    assert (run.batches, run.left) == (0, EMITS)


async def test_an_event_that_is_lost_fails_the_run() -> None:
    clock = ManualClock()
    contender = CONTENDERS["ours"](Emulator(clock=clock).client(), clock)
    contender.emit = forget  # type: ignore[method-assign]
    with pytest.raises(RuntimeError, match=f"{EMITS} events were emitted, and 0 counted"):
        await while_advancing(clock, measure_run(contender, LOAD, worker=False, clock=clock))


async def forget(event_id: str) -> None:
    pass


async def test_a_row_sums_up_all_turns(capsys: pytest.CaptureFixture[str]) -> None:
    beside = Run(2.0, emit_s=[0.02] * 100, emits_failed=10, batches=30, batches_lost=1, left=3)
    row = summed_up("ours", 10, [Run(2.0, emit_s=[0.01] * 100)], [beside, beside])
    contention.report([row], as_json=True)
    assert json.loads(capsys.readouterr().out) == [
        {
            "benchmark": "contention",
            "latency_ms": 10,
            "contender": "ours",
            "emits_per_s": 45.0,
            "emits_failed": 20,
            "emit_p50_ms": 20.0,
            "emit_p99_ms": 20.0,
            "alone_p50_ms": 10.0,
            "alone_p99_ms": 10.0,
            "batches_per_s": 15.0,
            "batches_lost": 2,
            "events_left": 6,
        }
    ]


async def test_it_measures_over_grpc() -> None:
    rows = await contention.measure((1,), Load(interval_s=0.02, seconds=0.06), 1)
    assert [(row.latency_ms, row.contender) for row in rows] == [(1, name) for name in CONTENDERS]
    assert all(row.emits_per_s > 0 and row.emit_p50_ms >= row.latency_ms for row in rows)


def test_it_says_what_it_takes() -> None:
    help_text = CliRunner().invoke(contention.main, ["--help"]).output
    assert "--json" in help_text
    assert "--quick" in help_text
