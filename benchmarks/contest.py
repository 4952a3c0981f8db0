"""Measuring contenders side by side: on the same data, in one run, in turns."""

from __future__ import annotations

import gc
import json
import statistics
import sys
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, nullcontext
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypedDict

import click
from google.cloud.firestore import AsyncClient
from rich.console import Console
from rich.table import Table

from benchmarks.goals import Goal, goal
from benchmarks.pinning import connected, latency, pinned_emulator

Prepare = Callable[[int], Awaitable[Callable[[], Awaitable[Any]]]]
"""Makes the data for a turn (numbered), outside the measurement; what to measure."""


@dataclass(frozen=True)
class Result:
    """Medians of one setting, in milliseconds. `plain_ms` is that of the fastest plain contender."""

    benchmark: str
    latency_ms: int
    events: int
    floor_ms: float
    ours_ms: float
    plain_ms: float

    @property
    def goal(self) -> Goal:
        """What it is to reach."""
        return goal(self.benchmark, self.latency_ms, self.events)


class Bounds(TypedDict):
    """How much a contest may do."""

    passes: int
    seconds: float | None


class Budget:
    """So many seconds for so many settings, so that a run ends in time on a busy machine too.

    A setting may take an even share of what is left when it begins. None: all the time that it takes.
    """

    def __init__(self, seconds: float | None, settings: int) -> None:
        self._until = None if seconds is None else time.monotonic() + seconds
        self._settings = settings

    def next(self) -> float | None:
        """When the next setting has to have ended, by the monotonic clock."""
        settings, self._settings = self._settings, self._settings - 1
        if self._until is None:
            return None
        now = time.monotonic()
        return now + (self._until - now) / max(1, settings)


async def medians(
    contenders: Mapping[str, Prepare],
    turns: int,
    around: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    until: float | None = None,
) -> dict[str, float]:
    """The median of each contender's times, in milliseconds: as `turn_times`."""
    times = await turn_times(contenders, turns, around, until)
    return {name: statistics.median(values) for name, values in times.items()}


async def turn_times(
    contenders: Mapping[str, Prepare],
    turns: int,
    around: Callable[[], AbstractAsyncContextManager[None]] = nullcontext,
    until: float | None = None,
    *,
    warm_up: bool = True,
) -> dict[str, list[float]]:
    """Each contender's times, in milliseconds; they take turns, so that what disturbs, disturbs all.

    `around` is entered for what is measured, and not for its preparation: a latency, say. After `until`, by the
    monotonic clock, no further turn begins, but for the first that counts. The one before it is for warming up.
    """
    times: dict[str, list[float]] = {name: [] for name in contenders}
    names = list(contenders)
    for turn in range(0 if warm_up else 1, turns + 1):
        if turn > 1 and until is not None and time.monotonic() > until:
            break
        for offset in range(len(names)):
            name = names[(turn + offset) % len(names)]
            work = await contenders[name](turn)
            gc.collect()
            async with around():
                began = time.perf_counter()
                await work()
                took = time.perf_counter() - began
            if turn:
                times[name].append(took * 1_000)
    return times


@dataclass(frozen=True)
class Setting:
    """What makes one row: contenders of the same data, "floor", "ours", and one or more plain ones."""

    benchmark: str
    latency_ms: int
    events: int
    contenders: Mapping[str, Prepare]
    turns: int  # a pass
    times_of: int = 1  # how many of what the row's times are of, a turn has
    warm_up: bool = True

    def result(self, times: Mapping[str, Sequence[float]]) -> Result:
        """The row, of all times."""
        found = {name: statistics.median(values) / self.times_of for name, values in times.items()}
        floor, ours = found.pop("floor"), found.pop("ours")
        return Result(self.benchmark, self.latency_ms, self.events, floor, ours, min(found.values()))


async def contest(
    settings: Callable[[AsyncClient], Sequence[Setting]], *, passes: int = 1, seconds: float | None = None
) -> list[Result]:
    """A row for each setting.

    All settings are gone through several times, each time against an emulator of its own, and a median is of the times
    of all passes: what disturbs a while touches a part of each row then, and not the whole of one.
    """
    times: dict[int, dict[str, list[float]]] = {}
    budget: Budget | None = None
    for _ in range(passes):
        async with pinned_emulator() as process, connected(process.address) as client:
            rows = settings(client)
            budget = budget or Budget(seconds, passes * len(rows))
            for row, setting in enumerate(rows):
                more = await turn_times(
                    setting.contenders,
                    setting.turns,
                    partial(latency, process, setting.latency_ms),
                    budget.next(),
                    warm_up=setting.warm_up,
                )
                mine = times.setdefault(row, {name: [] for name in more})
                for name, values in more.items():
                    mine[name] += values
    return [setting.result(times[row]) for row, setting in enumerate(rows)]


NO_TIMES = {"latency_ms": 0, "floor_ms": None, "ours_ms": None, "plain_ms": None}
"""The fields of a `Result`, for the rows of a benchmark that measures no times."""

QUICK_S = 45.0
"""Seconds that a quick run takes at most, but for its last turns."""

FULL_PASSES, FULL_S = 3, 240.0
"""How often a full run of a contest goes through its settings, and the seconds that it takes at most."""


def bounds(*, quick: bool) -> Bounds:
    """Of a quick run of a contest, or a full one."""
    return Bounds(passes=1, seconds=QUICK_S) if quick else Bounds(passes=FULL_PASSES, seconds=FULL_S)


def report(results: list[Result], *, as_json: bool) -> None:
    """Print a table, with the goals of the ratios, or one JSON list."""
    if as_json:
        json.dump([asdict(result) for result in results], sys.stdout)
        click.echo()
        return
    table = Table()
    for column in (
        "benchmark",
        "latency",
        "events",
        "floor",
        "ours",
        "plain",
        "ours / floor",
        "plain / ours",
    ):
        table.add_column(column, justify="left" if column == "benchmark" else "right")
    for one in results:
        table.add_row(
            one.benchmark,
            f"{one.latency_ms} ms",
            f"{one.events:,}",
            f"{one.floor_ms:.2f} ms",
            f"{one.ours_ms:.2f} ms",
            f"{one.plain_ms:.2f} ms",
            one.goal.floor_cell(one.ours_ms / one.floor_ms),
            one.goal.plain_cell(one.plain_ms / one.ours_ms),
        )
    Console(width=120).print(table)
