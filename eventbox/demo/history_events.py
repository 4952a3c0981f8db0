"""What a commit of the history comes to: events to its author and its files, and an entry of the log."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime

from eventbox import NewEvent
from eventbox.demo.git import readable
from eventbox.demo.tallies import AUTHORS, FILES
from eventbox.sources.ingestors.git_history import GitCommit

LOG = "demo/history"
"""The document of the log."""

KIND = "commit"


@dataclass(frozen=True, slots=True, kw_only=True)
class AddressedEvent(NewEvent):
    """An event that knows to which document it goes; `LOG`: it is an entry of the log."""

    to: str


def events_of(commit: GitCommit) -> list[NewEvent]:
    """Two events a changed file, to the author and to the file, and one entry of the log.

    One of the author's events bears the commit itself, so that it counts once however many files it changed. They have
    no IDs: their writer gives them those of their places in the block.
    """
    author, day = readable(commit.author), _day(commit.authored_at)
    author_path = f"{AUTHORS}/{_document_id(commit.author)}"
    entry = {
        "commit": commit.id,
        "author": author,
        "changes": len(commit.changes),
        "added": sum(change.added for change in commit.changes),
        "removed": sum(change.removed for change in commit.changes),
    }
    events: list[NewEvent] = [AddressedEvent(json.dumps(entry).encode(), to=LOG)]
    for position, change in enumerate(commit.changes):
        told = {"added": change.added, "removed": change.removed, "day": day}
        to_author = {**told, "name": author, "commits": int(position == 0)}
        to_file = {**told, "name": readable(change.path), "commits": 1}
        events.append(AddressedEvent(json.dumps(to_author).encode(), to=author_path))
        file_path = f"{FILES}/{_document_id(change.path)}"
        events.append(AddressedEvent(json.dumps(to_file).encode(), to=file_path))
    return events


def _day(seconds: int) -> str:
    try:
        return datetime.fromtimestamp(seconds, UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):  # git takes any number for a time
        return ""


def _document_id(name: bytes) -> str:
    # names hold slashes, bytes that are no text, and more of them than an ID may have
    return hashlib.blake2b(name, digest_size=16).hexdigest()
