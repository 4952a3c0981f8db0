"""`BacklogBar`: what it shows."""

from __future__ import annotations

import io

from rich.console import Console

from eventbox.sources.backlog_bar import BacklogBar
from eventbox.sources.ingestion import Progress


def test_it_shows_how_far_each_ingestor_has_come() -> None:
    output = io.StringIO()
    bar = BacklogBar({"history": 100}, console=Console(file=output, force_terminal=False, width=110))
    progress: Progress = bar
    with bar:
        progress.began("history", None)
        progress.committed("history", 3, 40)
        progress.began("events", 7)
        progress.began("history", 40)  # once more, by another holder
        progress.committed("history", 2, 42)
        bar.extend("history", 120)
        bar.extend("other", 1)
    shown = output.getvalue()
    assert "history" in shown
    assert "42/120" in shown
    assert "5 blocks" in shown
    assert "7/?" in shown
