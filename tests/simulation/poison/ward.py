"""What is promised of a quarantine, and of IDs that come again, watched at each write."""

from __future__ import annotations

import json
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from dsset.documents import GONE, document_id
from tests.simulation.stage import Stage

_QUARANTINE = "/eventbox_quarantine/"


@dataclass(slots=True)
class Sent:
    """What is known of the emits of one value."""

    path: str
    id: str
    kind: str
    new: int = 0  # so many emits said that it was new
    unknown: int = 0  # so many have begun and said nothing
    alone: int = 0  # so often it has failed without any other event
    ways_out: set[str] = field(default_factory=set)  # what else may have become of it: discarded, replaced


class Ward:
    """All events of one history, by their values, which are never used again."""

    def __init__(self, stage: Stage, quarantine_after: int) -> None:
        self.stage = stage
        self.sent: dict[str, Sent] = {}
        self.healed: set[str] = set()
        self.set_aside = 0
        self.requeued = 0
        self._quarantine_after = quarantine_after
        self._lying: dict[str, str] = {}  # the values in quarantine, by the documents' names

    def encode(self, value: str) -> bytes:
        """What is emitted."""
        return json.dumps({"value": value, "kind": self.sent[value].kind}).encode()

    def fails(self, value: str) -> str:
        """In which way an event fails now: "prepare", "effect", "flaky", or "" for not at all."""
        kind = self.sent[value].kind
        return "" if value in self.healed or kind == "good" else kind

    def in_quarantine(self) -> set[str]:
        """The values that lie there now."""
        return set(self._lying.values())

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        """Look at what an RPC has written."""
        if rpc not in ("Commit", "BatchWrite"):
            return
        for write in request.writes:
            name = write.update.name or write.delete
            if _QUARANTINE in name:
                self._look(name)

    def _look(self, name: str) -> None:
        version = self.stage.truth.version(name)
        before = self._lying.get(name)
        now = None
        if version is not None:
            fields = version.message.fields
            now = _value(fields["value"].bytes_value)
        if now == before:
            return
        if before is not None:
            self._left(name, before, now)
        if now is not None and version is not None:
            self._lying[name] = now
            self._came(name, now, version.message.fields["attempts"].integer_value)
        else:
            del self._lying[name]

    def _came(self, name: str, value: str, attempts: int) -> None:
        sent = self.sent[value]
        self.set_aside += 1
        self._check("only what fails by itself is set aside", self.fails(value) != "", f"{value}, {sent}")
        doubled = self.stage.history.faults["twice"]  # an attempt whose request comes twice counts twice
        counted = self._quarantine_after <= attempts <= sent.alone + doubled
        self._check("only what fails by itself is set aside", counted, f"{value} after {attempts}: {sent}")
        self._check("in quarantine or outstanding", not self._is_outstanding(name, value), f"{value} is both")

    def _left(self, name: str, value: str, now: str | None) -> None:
        sent = self.sent[value]
        if now is not None:
            sent.ways_out.add("replaced")
        elif self._is_outstanding(name, value):
            self.requeued += 1  # an attempt from before may still be under way, and counts
        else:
            self._check("in quarantine or outstanding", "discarded" in sent.ways_out, f"{value} is neither")

    def _is_outstanding(self, name: str, value: str) -> bool:
        version = self.stage.truth.version(name.replace(_QUARANTINE, "/eventbox_inbox/"))
        if version is None or version.message is None:
            return False
        fields = version.message.fields
        return fields["due"].integer_value != GONE and _value(fields["value"].bytes_value) == value

    def tombstone_age_us(self, path: str, event_id: str, now_us: int) -> int | None:
        """For how long an ID has been used up, by the right clock; None where it is not, or free."""
        root = "projects/demo/databases/(default)/documents"
        version = self.stage.truth.version(f"{root}/{path}/eventbox_inbox/{document_id(event_id)}")
        if version is None or version.message is None:
            return None
        return now_us - version.time_us if version.message.fields["due"].integer_value == GONE else None

    def judge(self) -> None:
        """Compare what was told with what the states have."""
        applied: Counter[str] = Counter()
        for path in sorted({sent.path for sent in self.sent.values()}):
            fields = self.stage.truth.fields(path)
            if fields is not None:
                applied.update(one.string_value for one in fields["applied"].array_value.values)
        lying = self.in_quarantine()
        for value, sent in self.sent.items():
            self._check(
                "effect exactly once", applied[value] <= 1, f"{value} was applied {applied[value]} times"
            )
            both = applied[value] and value in lying
            self._check(
                "in quarantine or outstanding", not both, f"{value} was applied, and is in quarantine"
            )
            there = bool(applied[value]) or value in lying
            if sent.new:
                self._check("nothing lost", there or bool(sent.ways_out), f"{value}: {sent}")
            elif not sent.unknown:
                self._check("a duplicate adds nothing", not there, f"{value}: {sent}")

    def _check(self, promise: str, kept: bool, detail: str) -> None:
        self.stage.checks[promise] += 1
        if not kept:
            self.stage.history.violate(promise, detail)


def _value(data: bytes) -> str:
    return str(json.loads(data)["value"])
