"""What is promised of stored events, watched at each write, and compared with what the callers were told."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

from eventbox.sources.stored_event import stored_event_id
from tests.simulation.stage import Stage

STORE = "sources/shop"
_GRAIN_US = 1_000


@dataclass(slots=True)
class Kept:
    """What the callers know of one event."""

    data: bytes
    event_type: str
    accepted: bool = False  # a `store` has returned
    marker: str | None = None  # what the transaction that stores it writes besides
    deleting: bool = False  # a `delete_event` was called
    receiving: bool = False  # a `mark_received` was called
    repeating: bool = False  # a `mark_rebroadcast` was called, or the broadcaster may do so
    delivered: int = 0  # so many broadcasts have succeeded


@dataclass(frozen=True, slots=True)
class _Life:
    """What lies in an event's document."""

    known: bool
    held: bool
    received: bool
    broadcasted: bool
    data: bytes
    time_us: int

    @classmethod
    def read(cls, version: Any) -> _Life:
        if version is None or version.message is None:
            return cls(False, False, False, False, b"", 0)
        fields = version.message.fields

        def flag(name: str) -> bool:
            return name in fields and fields[name].boolean_value

        data = fields["data"].bytes_value if "data" in fields else b""
        return cls(
            "event_type" in fields,
            "held" in fields,
            flag("received"),
            flag("broadcasted"),
            data,
            version.time_us,
        )


class Keeping:
    """All events of one store."""

    def __init__(self, stage: Stage, remember: timedelta | None) -> None:
        self.stage = stage
        self.kept: dict[str, Kept] = {}
        self.settled: set[str] = set()
        """What need not be stored, as it was approved before."""
        self.lives = 0
        self._remember_us = None if remember is None else remember // timedelta(microseconds=1)
        self._now: dict[str, _Life] = {}
        self._let_go_us: dict[str, int] = {}

    def event(self, data: bytes, event_type: str) -> tuple[str, Kept]:
        """An event that somebody is about to store, for the first time or again."""
        event_id = stored_event_id(data, event_type)
        return event_id, self.kept.setdefault(event_id, Kept(data, event_type))

    def life(self, event_id: str) -> _Life:
        """What lies in the database now."""
        return _Life.read(self.stage.truth.version(self._name(event_id)))

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        """Look at what an RPC has written."""
        if rpc not in ("Commit", "BatchWrite"):
            return
        for write in request.writes:
            if "/eventbox_store/" in write.update.name:
                self._look(write.update.name.rpartition("/")[2])

    def _look(self, event_id: str) -> None:
        before = self._now.get(event_id, _Life(False, False, False, False, b"", 0))
        now = self.life(event_id)
        if not now.known and event_id in self._let_go_us:
            now = before  # TTL has taken it, as a store sees that comes after it
        self._now[event_id] = now
        kept = self.kept.get(event_id)
        if kept is None or now.time_us == before.time_us:
            return
        checks = self.stage.checks
        if now.held and not (before.known or before.held):
            self.lives += 1
        if before.known and not now.known:
            self._violate("an event stays known", event_id, before, now)
        if now.held and before.held:
            checks["received is for good"] += 1
            if (before.received and not now.received) or now.data != before.data:
                self._violate("received is for good", event_id, before, now)
        if before.held and not now.held:
            self._let_go_us[event_id] = now.time_us
            if not kept.deleting:
                self._violate("nothing stored is lost", event_id, before, now)
        if now.held and not before.held and before.known:
            self.lives += 1
            checks["not taken in again"] += 1
            passed = now.time_us - self._let_go_us.pop(event_id)
            if self._remember_us is None or passed < self._remember_us - _GRAIN_US:
                self._violate("not taken in again", event_id, before, now)
        if now.held and now.broadcasted and not before.broadcasted:
            checks["broadcasted when it was"] += 1
            if not kept.delivered:
                self._violate("broadcasted when it was", event_id, before, now)
        if now.held and now.received and not before.received and not kept.receiving:
            self._violate("received when it was", event_id, before, now)
        if now.held and before.broadcasted and not now.broadcasted and before.held and not kept.repeating:
            self._violate("broadcasted when it was", event_id, before, now)

    def judge(self, listed: Iterable[str], unreceived: Iterable[str]) -> None:
        """Compare what was told with what lies there, and with what the store lists."""
        checks = self.stage.checks
        lives = {event_id: self.life(event_id) for event_id in self.kept}
        for event_id, kept in self.kept.items():
            life = lives[event_id]
            if kept.accepted:
                checks["nothing stored is lost"] += 1
                if not (life.held or kept.deleting or event_id in self.settled):
                    self._violate("nothing stored is lost", event_id, life, kept)
            if kept.marker is not None:
                checks["stored if and only if it commits"] += 1
                committed = self.stage.truth.fields(f"markers/{kept.marker}") is not None
                if committed != life.known and not (kept.deleting or event_id in self.settled):
                    self._violate("stored if and only if it commits", event_id, committed, life)
        held = {event_id for event_id, life in lives.items() if life.held}
        new = {event_id for event_id in held if not (lives[event_id].received or lives[event_id].broadcasted)}
        for what, told, truth in (("get_events", listed, held), ("get_unreceived_events", unreceived, new)):
            checks["listings are true"] += 1
            counted = Counter(told)
            if set(counted) != truth or any(times > 1 for times in counted.values()):
                self._violate("listings are true", what, counted, truth)

    def _name(self, event_id: str) -> str:
        return f"projects/demo/databases/(default)/documents/{STORE}/eventbox_store/{event_id}"

    def _violate(self, promise: str, event_id: str, before: object, now: object) -> None:
        self.stage.history.violate(promise, f"{event_id[:8]}: {before} -> {now}")


@dataclass(slots=True)
class Ballot:
    """What the voters know of one event."""

    tried: set[str] = field(default_factory=set)
    counted: set[str] = field(default_factory=set)
    approved: bool = False
