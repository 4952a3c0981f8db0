"""What the demo's events say, and what becomes of them: a tally for each author and each file."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from eventbox import DocumentProcessor, Event, Mutation, NewEvent, Recipient, Transition
from eventbox.demo.git import Commit, readable

AUTHORS, FILES = "authors", "files"


@dataclass(frozen=True)
class Tally:
    """What an author did, or what was done to a file."""

    name: str = ""
    commits: int = 0
    changes: int = 0
    added: int = 0
    removed: int = 0
    first_day: str = ""
    last_day: str = ""


class TallyProcessor(DocumentProcessor[Tally]):
    """Adds up the changes that it is told of."""

    def __init__(self, recipient: Recipient) -> None:
        super().__init__(recipient, Tally)

    async def prepare_mutation(self, events: Sequence[Event], state: Tally) -> Mutation[Tally]:
        if not events:
            return Mutation()
        for event in events:
            state = _add(state, json.loads(event.value))
        return Mutation([Transition(state, events=events)])


def events_of(commit: Commit) -> Iterator[tuple[str, str, NewEvent]]:
    """Two events a changed file: (collection, document ID, event), for the author and for the file.

    Their IDs follow from the commit, so reading a history twice emits nothing twice. One of the author's events bears
    the commit itself, so that it counts once however many files it changed.
    """
    author = readable(commit.author)
    author_id = _document_id(commit.author)
    for position, change in enumerate(commit.changes):
        told = {"added": change.added, "removed": change.removed, "day": commit.day}
        to_author = {**told, "name": author, "commits": int(position == 0)}
        yield AUTHORS, author_id, NewEvent(json.dumps(to_author).encode(), id=f"{commit.id}/{position}")
        to_file = {**told, "name": readable(change.path), "commits": 1}
        yield (
            FILES,
            _document_id(change.path),
            NewEvent(json.dumps(to_file).encode(), id=f"{commit.id}/{position}"),
        )


def _add(tally: Tally, change: dict[str, str | int]) -> Tally:
    day = str(change["day"])
    days = [one for one in (tally.first_day, tally.last_day, day) if one]
    return replace(
        tally,
        name=str(change["name"]),
        commits=tally.commits + int(change["commits"]),
        changes=tally.changes + 1,
        added=tally.added + int(change["added"]),
        removed=tally.removed + int(change["removed"]),
        first_day=min(days, default=""),
        last_day=max(days, default=""),
    )


def _document_id(name: bytes) -> str:
    # names hold slashes, bytes that are no text, and more of them than an ID may have
    return hashlib.blake2b(name, digest_size=16).hexdigest()
