"""What the demo shows: a progress bar, tables, rates, and whether the totals are git's."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

from google.cloud.firestore import AsyncClient
from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, Progress as Bars, TextColumn, TimeElapsedColumn
from rich.table import Table

from emulator.firestore import Counts
from eventbox.demo.git import Totals
from eventbox.demo.history_log import LogTotals
from eventbox.demo.progress import Progress

_TOP = 8
_REFRESH_S = 0.1
_LINE_EVERY_S = 5.0


@asynccontextmanager
async def shown(progress: Progress, console: Console) -> AsyncIterator[None]:
    """Show the progress while inside: bars on a terminal, a line now and then elsewhere."""
    show = _show_bars if console.is_terminal else _show_lines
    task = asyncio.create_task(show(progress, console))
    try:
        yield
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task


async def top_table(client: AsyncClient, collection: str, title: str, heading: str) -> Table:
    """The documents of a collection that have most changes; `heading` is that of their names."""
    table = Table(title=title, title_justify="left", header_style="bold", box=None, pad_edge=False)
    table.add_column(heading, overflow="ellipsis", no_wrap=True, max_width=44)
    for number, width in (("Commits", 7), ("Changes", 7), ("Added", 9), ("Removed", 9)):
        table.add_column(number, justify="right", no_wrap=True, min_width=width)
    for day in ("First", "Last"):
        table.add_column(day, no_wrap=True, min_width=len("2000-01-01"))
    top = client.collection(collection).order_by("changes", direction="DESCENDING").limit(_TOP)
    async for snapshot in top.stream():
        tally: dict[str, Any] = snapshot.to_dict() or {}
        numbers = (f"{tally[key]:,}" for key in ("commits", "changes", "added", "removed"))
        table.add_row(escape(tally["name"]), *numbers, tally["first_day"], tally["last_day"])
    return table


def rates(progress: Progress, counts: Counts) -> str:
    """Events a second, and RPCs and billed operations an event, as the emulator counted them."""
    events = max(progress.processed, 1)
    rpcs = sum(counts.rpcs.values())
    deaths = _deaths(progress.dead_workers, "workers") + _deaths(
        progress.dead_ingestors, "ingesting processes"
    )
    return (
        f"{progress.processed:,} events in {progress.seconds:.1f} s: {progress.processed / progress.seconds:,.0f} "
        f"events/s; an event: {rpcs / events:.2f} RPCs, {counts.reads / events:.2f} reads, "
        f"{counts.writes / events:.2f} writes, {counts.deletes / events:.2f} deletes; "
        f"{progress.contended:,} contended batches{deaths}"
    )


def difference(expected: Totals, commits: int, authors: Totals, files: Totals, log: LogTotals) -> str | None:
    """What differs from git's totals, and from its number of commits; None where nothing does."""
    problems = []
    if authors != expected:
        problems.append(f"the authors' {_told(authors)} where git has {_told(expected)}")
    # a file's commits are counted for each file, so they add up to the changes
    whole = Totals(expected.changes, expected.changes, expected.added, expected.removed)
    if files != whole:
        problems.append(f"the files' {_told(files)} where git has {_told(whole)}")
    if log != LogTotals(commits, expected.changes, expected.added, expected.removed):
        problems.append(
            f"the log's {log.entries:,} entries, {log.changes:,} changes, +{log.added:,} -{log.removed:,} lines where "
            f"git has {commits:,} commits, and {_told(expected)}"
        )
    return "; ".join(problems) or None


def _deaths(number: int, of: str) -> str:
    return f"; {number:,} {of} died, and were begun anew" if number else ""


def _told(totals: Totals) -> str:
    return (
        f"{totals.commits:,} commits, {totals.changes:,} changes, +{totals.added:,} -{totals.removed:,} lines"
    )


async def _show_bars(progress: Progress, console: Console) -> None:
    columns = (
        TextColumn("{task.description:<10}"),
        BarColumn(bar_width=None),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
    )
    with Bars(*columns, console=console) as bars:
        taken_in = bars.add_task("taken in", total=progress.commits)
        processed = bars.add_task("processed", total=progress.events)
        logged = bars.add_task("logged", total=progress.commits)
        contended = bars.add_task("contended", total=None)

        def show(total: int | None = None) -> None:
            bars.update(taken_in, completed=progress.taken_in)
            bars.update(processed, completed=min(progress.processed, progress.events))
            bars.update(logged, completed=progress.logged)
            bars.update(contended, completed=progress.contended, total=total)

        try:
            while True:
                show()
                await asyncio.sleep(_REFRESH_S)
        finally:
            show(progress.contended)


async def _show_lines(progress: Progress, console: Console) -> None:
    def show() -> None:
        console.print(
            f"taken in {progress.taken_in:,} of {progress.commits:,} commits, "
            f"processed {min(progress.processed, progress.events):,} of {progress.events:,} events, "
            f"logged {progress.logged:,}, contended {progress.contended:,}",
            soft_wrap=True,
        )

    try:
        while True:
            await asyncio.sleep(_LINE_EVERY_S)
            show()
    finally:
        show()
