"""The promises of the log, compared with what the processes were told, once everything is ordered and followed."""

from __future__ import annotations

import json
from collections import Counter
from typing import Any

from eventbox.log import EventPersistence
from eventbox.log.track import PERSISTENT, TRIMABLE, Track
from tests.simulation.log.ledger import Append
from tests.simulation.log.scene import LogScene, echo_key, key_of
from tests.simulation.log.truth import trace_path


def judge_log(scene: LogScene) -> None:
    """All of them."""
    places = {track: _places(scene, track) for track in scene.truth.tracks}
    _judge_appends(scene, places)
    _judge_order(scene, places)
    _judge_followers(scene, places)
    ordered = len(scene.truth.tracks[TRIMABLE].entries)
    if scene.ledger.taken > ordered:
        scene.stage.history.violate(
            "steps tell what they did",
            f"{scene.ledger.taken} entries were ordered by their word, {ordered} are there",
        )


def _places(scene: LogScene, track: Track) -> dict[str, int]:
    """Where each key is; that it is there once is what this sees to."""
    entries = scene.truth.tracks[track].entries
    for key, times in Counter(map(key_of, entries)).items():
        if times > 1:
            scene.stage.history.violate("appended exactly once", f"{key} is in {track.name} {times} times")
    return {key_of(entry): entry.id for entry in entries if entry.id is not None}


def _judge_appends(scene: LogScene, places: dict[Track, dict[str, int]]) -> None:
    ledger, checks, violate = scene.ledger, scene.stage.checks, scene.stage.history.violate
    markers = scene.stage.truth.collection("markers")
    for marker in ledger.refused & markers.keys():
        violate("contention is reported as such", f"{marker} was committed, and its caller got an error")
    for key, one in ledger.appends.items():
        checks["appended exactly once"] += 1
        there = {track for track in places if key in places[track]}
        if one.persistence is EventPersistence.TRANSIENT:
            allowed: set[Track] = set()
        elif one.persistence is EventPersistence.TRIMABLE:
            allowed = {TRIMABLE}
        else:
            allowed = {PERSISTENT, TRIMABLE}
        if there and there != allowed:
            violate(
                "appended exactly once", f"{key}, {one.persistence}, is in {sorted(t.name for t in there)}"
            )
        if one.marker is not None:
            checks["an append if and only if its commit"] += 1
            if bool(there) != (one.marker in markers and bool(allowed)):
                violate("an append if and only if its commit", f"{key} and {one.marker} are not both there")
        elif one.accepted is not None and not there and allowed:
            violate("nothing lost", f"{key} was appended, and is in no log")


def _judge_order(scene: LogScene, places: dict[Track, dict[str, int]]) -> None:
    """Of two entries of a process, of which one was appended before the other was begun, that is the first."""
    by_process: dict[str, list[Append]] = {}
    for one in scene.ledger.appends.values():
        by_process.setdefault(one.process, []).append(one)
    for track, of_key in places.items():
        for appends in by_process.values():
            there = [one for one in appends if one.key in of_key]
            for one in there:
                earlier = [other for other in there if _comes_before(other, one)]
                if not earlier:
                    continue
                scene.stage.checks["the order of a process"] += 1
                last = max(earlier, key=lambda other: of_key[other.key])
                if of_key[last.key] > of_key[one.key]:
                    scene.stage.history.violate(
                        "the order of a process", f"{one.key} is before {last.key} in {track.name}"
                    )


def _comes_before(one: Append, other: Append) -> bool:
    """Whether its place has to be before that of the other: both wait from one moment on, or it did before."""
    if one.marker is not None and one.marker == other.marker:
        return one.begun < other.begun
    return one.accepted is not None and one.accepted < other.begun


def _judge_followers(scene: LogScene, places: dict[Track, dict[str, int]]) -> None:
    checks, violate = scene.stage.checks, scene.stage.history.violate
    traces = scene.stage.truth.collection("followed")
    handled = {path.partition("/")[2] for path in map(str, _expected(scene))}
    for id in traces.keys() - handled:
        violate("handled exactly once", f"{id} was handled by nobody who was asked to")
    for (trimable, name), start in scene.ledger.followers.items():
        track = TRIMABLE if trimable else PERSISTENT
        truth = scene.truth.tracks[track]
        end = min(truth.cursors.get(name, start), len(truth.entries))
        if (trimable, name) not in scene.ledger.abandoned and end != len(truth.entries):
            violate("liveness", f"{name} is at {end} of {track.name}, which ends at {len(truth.entries)}")
        for id in range(start, end):
            checks["handled exactly once"] += 1
            fields: Any = traces.get(trace_path(track, name, id).partition("/")[2])
            key = key_of(truth.entries[id])
            if fields is None or fields["n"].integer_value != 1 or fields["key"].string_value != key:
                violate("handled exactly once", f"{name} and entry {id} of {track.name}: {fields}")
            _judge_echo(scene, track, name, id, places)
        counter = scene.stage.truth.fields(f"counts/{track.name}~{name}")
        if counter is not None and counter["n"].integer_value != end - start:
            violate("isolation", f"{name} has counted {counter['n'].integer_value}, from {start} to {end}")


def _expected(scene: LogScene) -> list[str]:
    """The traces that there may be."""
    return [
        trace_path(track, name, id)
        for (trimable, name), start in scene.ledger.followers.items()
        for track in (TRIMABLE if trimable else PERSISTENT,)
        for id in range(start, scene.truth.tracks[track].cursors.get(name, start))
    ]


def _judge_echo(
    scene: LogScene, track: Track, name: str, id: int, places: dict[Track, dict[str, int]]
) -> None:
    entry = scene.truth.tracks[track].entries[id]
    expected = json.loads(entry.payload)["echo"]
    scene.stage.checks["an append if and only if its commit"] += 1
    if (echo_key(track, name, id) in places[TRIMABLE]) != expected:
        scene.stage.history.violate(
            "an append if and only if its commit", f"the echo of {track.name} {id} by {name}, {expected}"
        )
