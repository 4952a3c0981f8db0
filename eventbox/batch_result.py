"""What a batch tells whoever ran it: `process_batch`, or a drain."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from eventbox.events import Event
from eventbox.kept import Kept
from eventbox.processor import PostProcessFn


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What a batch did. `removed` are the IDs of the events consumed or deleted as garbage."""

    listed: Sequence[Event]
    complete: bool  # whether the listing held all that was due
    removed: frozenset[str] = frozenset()
    post_process: tuple[PostProcessFn, ...] = ()
    skipped: bool = False
    prepared: bool = True
    transitions: int = 0  # how many were committed
    quiet: bool = True  # nothing of it can have emitted: no side effect and no callback
    kept: Kept[Any] | None = None  # what the next batch may go on from
