"""What is promised of the log."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from tests.chaos.case import Case
from tests.chaos.evidence import Entry


def one_order(case: Case) -> Iterator[str]:
    """Each entry that was appended is in the log once, and in the order of its process."""
    for track, entries in case.evidence.logs.items():
        places: dict[str, int] = {}
        for place, entry in enumerate(entries):
            if entry.payload in places:
                yield f"{entry.payload} is in the {track} log at {places[entry.payload]} and at {place}"
            places[entry.payload] = place
        expected, allowed = _appended(case, track)
        yield from (
            f"{id} was appended, and is not in the {track} log" for id in sorted(expected - places.keys())
        )
        yield from (
            f"{id} is in the {track} log without its append" for id in sorted(places.keys() - allowed)
        )
        yield from _disorder(case, track, places)


def _appended(case: Case, track: str) -> tuple[set[str], set[str]]:
    """What has to be in a log, and what may be."""
    expected = {f"block.{block}" for block in range(1, case.evidence.blocks + 1)} | case.markers
    allowed = set(expected)
    for act in case.acts.values():
        if act.kind == "append" or (act.kind == "append trimable" and track == "trimable"):
            allowed.add(act.id)
            if act.id in case.acknowledged:
                expected.add(act.id)
    return expected, allowed


def _disorder(case: Case, track: str, places: dict[str, int]) -> Iterator[str]:
    """An append that had returned before another one of the same life began comes before that."""
    last: dict[
        tuple[str, int], str
    ] = {}  # of each life: of the entries acknowledged so far, that with the highest ID
    before: dict[str, str | None] = {}
    for record in case.evidence.records:
        life = record.who, record.life
        if record.what == "intended":
            id = record["act"]["id"]
            before.setdefault(id, last.get(life) if record["act"]["kind"].startswith("append") else None)
        elif record.what == "acknowledged" and (id := record["id"]) in places and id in before:
            if not case.acts[id].kind.startswith("append"):
                continue
            earlier = before[id]
            if earlier is not None and places[earlier] > places[id]:
                yield f"{earlier} comes behind {id} in the {track} log, and was appended before"
            if case.attempts[id] == 1 and (life not in last or places[id] > places[last[life]]):
                last[life] = id


def copies(case: Case) -> Iterator[str]:
    """Each follower has handled each entry once, and all have handled the same."""
    followers: dict[tuple[str, str], dict[int, Entry]] = {}
    for path, fields in case.evidence.documents.items():
        if path.startswith("copies/"):
            _, track, follower, id = path.split("/")
            followers.setdefault((track, follower), {})[int(id)] = Entry(fields["kind"], fields["payload"])
            if fields["n"] != 1:
                yield f"{follower} handled entry {id} of the {track} log {fields['n']} times"
    for (track, follower), copy in followers.items():
        yield from _differences(track, follower, copy, case.evidence.logs[track])


def _differences(
    track: str, follower: str, copy: dict[int, Entry], entries: Sequence[Entry]
) -> Iterator[str]:
    for id, entry in enumerate(entries):
        if id not in copy:
            yield f"{follower} has not handled entry {id} of the {track} log"
        elif copy[id] != entry:
            yield f"{follower} was given {copy[id]} as entry {id} of the {track} log, which is {entry}"
    yield from (
        f"{follower} handled an entry {id} that the {track} log does not have"
        for id in sorted(copy.keys() - set(range(len(entries))))
    )
