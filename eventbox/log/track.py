"""`Track`: one of the two logs that lie beside each other, each with IDs, segments and cursors of its own."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Track:
    """Where one of the two logs lies below the log's document, and what it is called."""

    name: str
    next_id: str  # the field of the log's document that has its next ID
    segments: str  # the collection of its segments
    cursors: str  # the collection of its followers' cursors


PERSISTENT = Track("persistent", "next_id", "eventbox_log_segments", "eventbox_log_cursors")
TRIMABLE = Track(
    "trimable", "next_trimable_id", "eventbox_log_trimable_segments", "eventbox_log_trimable_cursors"
)
