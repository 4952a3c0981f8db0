"""`BacklogBar`: a progress bar for what is taken in."""

from __future__ import annotations

from types import TracebackType

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeRemainingColumn


class BacklogBar:
    """Shows on a terminal how far ingestors have come, for the `progress` of `run`.

        from eventbox.sources.backlog_bar import BacklogBar

        with BacklogBar({"history": commits}) as bar:
            await run(lock, committer, writer, ingestor, progress=bar)

    Where the output is no terminal, it prints nothing while it goes on, and one line for each ingestor at the end.

    Args:
        totals: how far each ingestor is to come, by `pointer_metric`, where that is known.
        console: where to show it.
    """

    def __init__(self, totals: dict[str, int] | None = None, *, console: Console | None = None) -> None:
        self._totals = dict(totals or {})
        self._progress = Progress(
            TextColumn("{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TextColumn("{task.fields[blocks]} blocks"),
            TimeRemainingColumn(),
            console=console,
        )
        self._tasks: dict[str, TaskID] = {}
        self._blocks: dict[str, int] = {}

    def __enter__(self) -> BacklogBar:
        self._progress.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._progress.stop()

    def began(self, ingestor: str, position: int | None) -> None:
        """An ingestor goes on from this position."""
        if ingestor not in self._tasks:
            self._blocks[ingestor] = 0
            self._tasks[ingestor] = self._progress.add_task(
                ingestor, total=self._totals.get(ingestor), completed=position or 0, blocks=0
            )
        self._progress.update(self._tasks[ingestor], completed=position or 0)

    def committed(self, ingestor: str, blocks: int, position: int) -> None:
        """An ingestor has come to this position."""
        self._blocks[ingestor] += blocks
        self._progress.update(self._tasks[ingestor], completed=position, blocks=self._blocks[ingestor])

    def extend(self, ingestor: str, total: int) -> None:
        """The feed has grown, up to this position."""
        self._totals[ingestor] = total
        if ingestor in self._tasks:
            self._progress.update(self._tasks[ingestor], total=total)
