"""`python -m tests.simulation`: many seeds on all cores, or the story of one."""

from __future__ import annotations

import multiprocessing
import os
import secrets
import signal
import sys
import time
from collections import Counter
from collections.abc import Generator
from concurrent.futures import ProcessPoolExecutor, wait
from contextlib import ExitStack, closing, nullcontext
from itertools import islice
from typing import Self

import click
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from tests.simulation.mutants import MUTANTS
from tests.simulation.simulation import Result, simulate
from tests.simulation.workloads import NAMES

_CHUNK = 5
_INTERRUPTED = 130
_LOOK_S = 0.1  # how often it is looked for a Ctrl-C


class _Tally:
    """What many histories have come to."""

    def __init__(self) -> None:
        self.seeds = self.rpcs = self.broken = 0
        self.checks: Counter[str] = Counter()
        self.faults: Counter[str] = Counter()
        self._began = time.monotonic()

    def add(self, result: Result) -> None:
        self.seeds += 1
        self.rpcs += result.rpcs
        self.broken += bool(result.violations)
        self.checks.update(result.checks)
        self.faults.update(result.faults)

    def __str__(self) -> str:
        seconds = time.monotonic() - self._began
        lines = [
            _listed("faults", self.faults),
            _listed("promises checked", self.checks),
            f"{self.seeds:,} histories, {self.rpcs:,} RPCs, {self.rpcs / seconds:,.0f} RPCs/s: {self.broken} broken",
        ]
        return "\n".join(lines)


def _listed(what: str, counts: Counter[str]) -> str:
    return f"{what}: " + ", ".join(f"{name} {count:,}" for name, count in sorted(counts.items()))


def _run(seeds: range, workload: str | None, mutant: str | None) -> list[Result]:
    with MUTANTS[mutant].applied() if mutant is not None else nullcontext():
        return [_simulate(seed, workload) for seed in seeds]


def _simulate(seed: int, workload: str | None) -> Result:
    try:
        return simulate(seed, workload=workload)
    except Exception as error:  # the simulation's own: no other history is to be lost for that
        return Result.failed(seed, f"the simulation itself fails: {error!r}")


def _results(
    seeds: range, workload: str | None, mutant: str | None, jobs: int, ctrl_c: _CtrlC
) -> Generator[list[Result], None, None]:
    """The results in the seeds' order; first none, once the processes are there. KeyboardInterrupt after a Ctrl-C."""
    chunks = (seeds[place : place + _CHUNK] for place in range(0, len(seeds), _CHUNK))
    # Ctrl-C reaches all processes of the terminal: this one alone deals with it
    with ProcessPoolExecutor(
        jobs, initializer=signal.signal, initargs=(signal.SIGINT, signal.SIG_IGN)
    ) as pool:
        try:
            under_way = [pool.submit(_run, chunk, workload, mutant) for chunk in islice(chunks, jobs * 4)]
            yield []  # before the progress bar has a thread: where they are forked, nobody may hold a lock
            while under_way:
                while not wait(under_way[:1], timeout=_LOOK_S).done:
                    ctrl_c.check()
                ctrl_c.check()
                yield under_way.pop(0).result()
                under_way.extend(pool.submit(_run, chunk, workload, mutant) for chunk in islice(chunks, 1))
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            for child in multiprocessing.active_children():
                child.terminate()
            raise


class _CtrlC:
    """Notes a Ctrl-C until it is asked for: an exception is lost where Python calls back, as for a weak reference."""

    def __init__(self) -> None:
        self._noted = False

    def __enter__(self) -> Self:
        self._before = signal.signal(signal.SIGINT, self._note)
        return self

    def __exit__(self, *exc_info: object) -> None:
        signal.signal(signal.SIGINT, self._before)

    def _note(self, *_: object) -> None:
        self._noted = True

    def check(self) -> None:
        """KeyboardInterrupt where there was one."""
        if self._noted:
            raise KeyboardInterrupt


def _command(seed: int, workload: str | None, mutant: str | None) -> str:
    """What shows a history again."""
    parts = [f"python -m tests.simulation --seed {seed} --trace"]
    if workload is not None:
        parts.append(f"--workload {workload}")
    if mutant is not None:
        parts.append(f"--mutant {mutant!r}")
    return " ".join(parts)


def _show(seed: int, workload: str | None, mutant: str | None, *, trace: bool) -> bool:
    """Tell of one history; whether a promise was broken."""
    with MUTANTS[mutant].applied() if mutant is not None else nullcontext():
        result = simulate(seed, workload=workload, trace=trace)
    for line in result.lines or ():
        click.echo(line)
    click.echo(
        f"seed {seed}, {result.workload}: {result.digest}, {result.rpcs} RPCs, {result.deaths} deaths"
        + "".join(f", {count} {name}" for name, count in result.figures.items())
    )
    click.echo(_listed("faults", Counter(result.faults)))
    for violation in result.violations:
        click.echo(f"BROKEN  {violation}")
    if not result.violations:
        click.echo(f"all promises were kept, compared {sum(result.checks.values()):,} times")
    return bool(result.violations)


@click.command()
@click.option("--seeds", default=1_000, show_default=True, help="How many seeds.")
@click.option("--start", type=int, help="The first seed; any by default.")
@click.option("--seed", type=int, help="This one alone.")
@click.option(
    "--workload", type=click.Choice(sorted(NAMES)), help="This one alone; each seed has its own by default."
)
@click.option("--mutant", type=click.Choice(sorted(MUTANTS)), help="With this mistake in the library.")
@click.option("--trace", is_flag=True, help="With --seed: tell what each process did.")
@click.option("--jobs", default=os.cpu_count() or 1, show_default=True, help="How many at once.")
def main(
    seeds: int,
    start: int | None,
    seed: int | None,
    workload: str | None,
    mutant: str | None,
    trace: bool,
    jobs: int,
) -> None:
    """Simulate histories with faults, and tell which promises were broken; exit status 1 where any was."""
    if trace and seed is None:
        raise click.UsageError("--trace tells the story of one history: give its --seed")
    if seed is not None:
        sys.exit(_show(seed, workload, mutant, trace=trace))
    start = secrets.randbelow(1 << 40) if start is None else start
    tally = _Tally()
    console = Console()
    columns = (
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[broken]} broken"),
        TimeRemainingColumn(),
    )
    try:
        chosen = range(start, start + seeds)
        with ExitStack() as stack:
            ctrl_c = stack.enter_context(_CtrlC())
            click.echo(f"seeds {start} to {start + seeds - 1} (START={start}), {jobs} at once")
            simulated = stack.enter_context(closing(_results(chosen, workload, mutant, jobs, ctrl_c)))
            next(simulated)
            progress = stack.enter_context(Progress(*columns, console=console))
            bar = progress.add_task("", total=seeds, broken=0)
            for results in simulated:
                for result in results:
                    tally.add(result)
                    if result.violations:
                        told = f"seed {result.seed}, {result.workload}: {result.violations[0]}"
                        console.print(told, markup=False, highlight=False, soft_wrap=True)
                        again = f"    {_command(result.seed, workload, mutant)}"
                        console.print(again, markup=False, highlight=False, soft_wrap=True)
                progress.update(bar, advance=len(results), broken=tally.broken)
    except KeyboardInterrupt:
        click.echo(f"interrupted\n{tally}")
        sys.exit(_INTERRUPTED)
    click.echo(tally)
    sys.exit(bool(tally.broken))


if __name__ == "__main__":
    main()
