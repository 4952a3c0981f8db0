"""The tallies: what the demo's recipients, an author or a file each, make of their events."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace

from eventbox import DocumentProcessor, Event, Mutation, Recipient, Transition

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
