"""What a run shows: how far it is and who was killed while it goes on, and what became of the promises."""

from __future__ import annotations

import time
from collections import Counter

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from tests.chaos.chaos import State

_TOLD = {
    "acknowledged": "acts acknowledged",
    "failed": "attempts failed",
    "batch": "batches prepared",
    "committed": "transitions committed",
    "taken in": "commits of blocks",
    "leading": "times that a leader began",
}
"""What records say, in words."""


class Display:
    """How far a run is."""

    def __init__(self, state: State, seconds: float) -> None:
        self._state = state
        self._seconds = seconds
        self._killing_since: float | None = None

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        state = self._state
        if state.phase == "killing" and self._killing_since is None:
            self._killing_since = time.monotonic()
        spent = 0.0 if self._killing_since is None else time.monotonic() - self._killing_since
        bar = ProgressBar(total=self._seconds, completed=min(spent, self._seconds), width=40)
        phase = Table.grid(padding=(0, 1))
        phase.add_row(f"{state.phase:<12}", bar, f"{min(spent, self._seconds):.0f} of {self._seconds:.0f} s")
        yield Group(phase, _crew(state), Text(_counts(state)))


def closing_table(state: State, seconds: float) -> RenderableType:
    """Who was killed, what was done, and each promise."""
    promises = Table("promise", "", title="Promises", title_justify="left")
    for finding in state.findings:
        broken = len(finding.violations)
        promises.add_row(finding.promise, f"[red]BROKEN ({broken})" if broken else "[green]kept")
    killed = sum(one.killed for one in state.crew)
    stopped = sum(one.stopped for one in state.crew)
    told = f"{killed} killed, {stopped} stopped for a while, in {seconds:.0f} s; {_counts(state)}"
    return Group(_crew(state), promises, Text(told))


def _crew(state: State) -> Table:
    table = Table("process", "lives", "killed", "stopped", title="Processes", title_justify="left")
    for one in state.crew:
        table.add_row(one.name, str(one.lives), str(one.killed), str(one.stopped))
    return table


def _counts(state: State) -> str:
    counts = Counter(record.what for record in state.records)
    return ", ".join(f"{counts[what]:,} {words}" for what, words in _TOLD.items())
