"""What all processes of a log's history share, and what its followers do with each entry."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from random import Random
from typing import Any

from google.cloud.firestore import Increment

from eventbox import EventBox
from eventbox.log import EventLog, EventPersistence, LogEntry
from eventbox.log.track import PERSISTENT, TRIMABLE, Track
from tests.simulation.accounts import FlakyError
from tests.simulation.log.ledger import LogLedger
from tests.simulation.log.truth import LogTruth, TrimRules, trace_path
from tests.simulation.process import Process
from tests.simulation.stage import Stage

LOG = "logs/main"


@dataclass(frozen=True, slots=True)
class Following:
    """One follower, which may run in several processes.

    Attributes:
        counts: it reads, in each transaction, how many it has handled; reads and writes must not lose each other.
    """

    base: str
    trimable: bool
    counts: bool

    @property
    def track(self) -> Track:
        return TRIMABLE if self.trimable else PERSISTENT


@dataclass
class LogScene:
    """All of it."""

    stage: Stage
    rng: Random
    ledger: LogLedger
    truth: LogTruth
    rules: TrimRules
    followers: list[Following]
    unruly: bool = True  # handlers may fail

    def log(self, process: Process) -> tuple[EventBox, EventLog]:
        """The library, new in a process."""
        box = self.stage.box(process)
        return box, EventLog(box, box.client.document(LOG))

    def name_of(self, following: Following) -> str:
        """What it is called now: another name each time that an entry was trimmed before it came to it."""
        names = [
            name
            for trimable, name in self.ledger.followers
            if trimable is following.trimable and name.partition(".")[0] == following.base
        ]
        return names[-1]

    def handler(
        self, box: EventBox, log: EventLog, following: Following, name: str
    ) -> Callable[[Any, LogEntry], Awaitable[None]]:
        """What it does with an entry: it leaves a trace, counts, appends, and fails now and then."""
        track = following.track
        client = box.client
        seen = self.truth.tracks[track].entries

        async def handle(transaction: Any, entry: LogEntry) -> None:
            assert entry.id is not None
            self.stage.checks["the same entry for all"] += 1
            if entry.id >= len(seen) or seen[entry.id] != entry:
                self.stage.history.violate(
                    "one order for all", f"{name} was given {entry} as entry {entry.id} of {track.name}"
                )
            payload = json.loads(entry.payload)
            if following.counts:
                counter = client.document(f"counts/{track.name}~{name}")
                found = await counter.get(transaction=transaction)
                count = found.get("n") if found.exists else 0
                # a transaction does not see its own writes: those for the entries before this one
                tally = transaction.tally = getattr(transaction, "tally", 0) + 1
                transaction.set(counter, {"n": count + tally})
            trace = client.document(trace_path(track, name, entry.id))
            transaction.set(trace, {"n": Increment(1), "key": payload["key"]}, merge=True)
            if payload["echo"]:
                await log.append(
                    "echo",
                    note(echo_key(track, name, entry.id)),
                    persistence=EventPersistence.TRIMABLE,
                    transaction=transaction,
                )
            if self.unruly and self.rng.random() < 0.08:
                raise FlakyError(entry.id)
            self.ledger.handled += 1

        return handle


def note(key: str, *, echo: bool = False) -> bytes:
    """The payload of an entry: whoever follows appends another one, if it is to have an echo."""
    return json.dumps({"key": key, "echo": echo}).encode()


def key_of(entry: LogEntry) -> str:
    """Of the append that an entry came from."""
    key: str = json.loads(entry.payload)["key"]
    return key


def echo_key(track: Track, follower: str, id: int) -> str:
    """The key of what a follower appends when it handles this entry."""
    return f"echo of {track.name} {id} by {follower}"
