"""What really lies in a log, watched at each write: one order for all, and nothing trimmed that has to stay."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from eventbox.log import LogEntry, entry_codec
from eventbox.log.track import PERSISTENT, TRIMABLE, Track
from tests.simulation.stage import Stage
from tests.simulation.truth import ROOT

TRACKS = (PERSISTENT, TRIMABLE)


@dataclass(frozen=True, slots=True)
class TrimRules:
    """How this history's log is trimmed."""

    min_id_age: int
    min_age: timedelta
    respect_cursors: bool


@dataclass
class TrackTruth:
    """One of the two logs.

    Attributes:
        entries: all that there have ever been, by their IDs.
        first: the ID of the first that is still there.
        cursors: by the followers' names.
    """

    track: Track
    entries: list[LogEntry] = field(default_factory=list)
    encoded: list[bytes] = field(default_factory=list)
    first: int = 0
    cursors: dict[str, int] = field(default_factory=dict)
    segments: dict[str, dict[int, bytes]] = field(default_factory=dict)


def trace_path(track: Track, follower: str, id: int) -> str:
    """Of the document that counts how often a follower has handled an entry."""
    return f"followed/{track.name}~{follower}~{id}"


class LogTruth:
    """The log at `path`, as every commit leaves it."""

    def __init__(self, stage: Stage, path: str, rules: TrimRules) -> None:
        self._stage = stage
        self._truth = stage.truth
        self._head = f"{ROOT}{path}"
        self._path = path
        self._rules = rules
        self.tracks = {track: TrackTruth(track) for track in TRACKS}
        self._kinds: dict[str, tuple[TrackTruth, Callable[[TrackTruth, Iterable[str]], None]]] = {}
        for one in self.tracks.values():
            self._kinds[f"{self._head}/{one.track.segments}/"] = (one, self._look_at_segments)
            self._kinds[f"{self._head}/{one.track.cursors}/"] = (one, self._look_at_cursors)

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        """Look at what an RPC has written."""
        if rpc != "Commit":
            return
        names = [write.update.name or write.delete for write in request.writes]
        for prefix, (one, look) in self._kinds.items():
            found = [name for name in names if name.startswith(prefix)]
            if found:
                look(one, found)
        if self._head in names:
            self._look_at_head()

    def fields(self, name: str) -> Any:
        """The fields of a document, by its full name; None where there is none."""
        return self._truth.fields(name.removeprefix(ROOT))

    def _violate(self, promise: str, detail: str) -> None:
        self._stage.history.violate(promise, detail)

    # The segments -----------------------------------------------------------------------------------------

    def _look_at_segments(self, one: TrackTruth, names: Iterable[str]) -> None:
        new: dict[int, bytes] = {}
        gone: list[int] = []
        for name in names:
            fields = self.fields(name)
            before = one.segments.get(name, {})
            held = fields["entries"].map_value.fields if fields is not None and "entries" in fields else {}
            after = {int(id): value.bytes_value for id, value in held.items()}
            one.segments[name] = after
            for id, encoded in after.items():
                if id not in before:
                    new[id] = encoded
                elif before[id] != encoded:
                    self._violate("one order for all", f"entry {id} of {one.track.name} is another now")
            gone += [id for id in before if id not in after]
        for id in sorted(new):
            self._added(one, id, new[id])
        for id in sorted(gone):
            self._removed(one, id)

    def _added(self, one: TrackTruth, id: int, encoded: bytes) -> None:
        self._stage.checks["one order for all"] += 1
        if id != len(one.entries):
            self._violate(
                "one order for all",
                f"an entry of {one.track.name} was given the ID {id}, not {len(one.entries)}",
            )
            return
        entry = entry_codec.decode(encoded, id)
        if one.entries and entry.logged_at < one.entries[-1].logged_at:
            self._violate("logged_at never falls", f"that of entry {id} of {one.track.name} does")
        if entry.logged_at > self._stage.clock.now():
            self._violate(
                "logged_at is past", f"entry {id} of {one.track.name} was logged at {entry.logged_at}"
            )
        one.entries.append(entry)
        one.encoded.append(encoded)

    def _removed(self, one: TrackTruth, id: int) -> None:
        rules, promise = self._rules, "trimmed only when it may be"
        self._stage.checks[promise] += 1
        if one.track is PERSISTENT:
            self._violate(promise, f"entry {id} of the persistent log is gone")
            return
        if id != one.first:
            self._violate(promise, f"entry {id} was trimmed while {one.first} is there")
        one.first = id + 1
        age = self._stage.clock.now() - one.entries[id].logged_at
        if len(one.entries) - id < rules.min_id_age:
            self._violate(promise, f"entry {id} was trimmed while the next ID is {len(one.entries)}")
        if age < rules.min_age:
            self._violate(promise, f"entry {id} was trimmed after {age}")
        if rules.respect_cursors:
            for follower, position in one.cursors.items():
                if position <= id:
                    self._violate(promise, f"entry {id} was trimmed while {follower} is at {position}")

    def _look_at_head(self) -> None:
        fields = self.fields(self._head)
        for one in self.tracks.values():
            told = fields[one.track.next_id].integer_value if fields and one.track.next_id in fields else 0
            if told != len(one.entries):
                self._violate(
                    "all or nothing", f"the next ID of {one.track.name} is {told}, not {len(one.entries)}"
                )

    # The followers ----------------------------------------------------------------------------------------

    def _look_at_cursors(self, one: TrackTruth, names: Iterable[str]) -> None:
        for name in names:
            follower = name.rpartition("/")[2]
            fields = self.fields(name)
            after = 0 if fields is None else fields["position"].integer_value
            before = one.cursors.get(follower)
            if before is None:
                before = self.starts.get((one.track is TRIMABLE, follower), 0)
            one.cursors[follower] = after
            if after < before:
                self._violate(
                    "handled exactly once", f"the cursor of {follower} went from {before} to {after}"
                )
            for id in range(before, after):
                self._stage.checks["handled exactly once"] += 1
                if self.times_handled(one.track, follower, id) != 1:
                    self._violate(
                        "handled exactly once",
                        f"{follower} went past entry {id} of {one.track.name}, handled "
                        f"{self.times_handled(one.track, follower, id)} times",
                    )
            if self.times_handled(one.track, follower, after):
                self._violate("handled exactly once", f"{follower} stays at {after}, and has handled it")

    starts: dict[tuple[bool, str], int]
    """Where the followers begin that have no cursor yet: the ledger's."""

    def times_handled(self, track: Track, follower: str, id: int) -> int:
        """How often the effects of a handler are there."""
        fields = self._truth.fields(trace_path(track, follower, id))
        return 0 if fields is None else fields["n"].integer_value
