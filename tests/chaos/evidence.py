"""`Evidence`: what lies in the database and the journals once everything has run out; plain values for the judge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

from google.cloud.firestore_v1.types import Document

from dsset.documents import GONE
from emulator.firestore.journal import Journal as DataFolder
from eventbox.inbox import INBOX
from eventbox.quarantine import QUARANTINE
from eventbox.tasks.reminders import REMINDERS
from tests.chaos.journal import Record

_DOCUMENTS = "/documents/"


class Entry(NamedTuple):
    """An entry of a log, but for its ID."""

    kind: str
    payload: str


@dataclass(frozen=True)
class Evidence:
    """All of it.

    Args:
        documents: the fields of the application's documents, by their paths.
        outstanding, reminders, quarantined: the paths of documents of ours that should not be left.
        logs: the entries of the persistent and of the trimable log, in order, from ID 0 on.
        records: of all journals; those of one life in order.
        paths: the accounts.
        blocks: how many blocks the feed had.
        committed_block: the last one that the committer knows of.
        again: events that were emitted once more in the end, and whether that was said to be a duplicate.
        fell: processes that ended by themselves.
        waited_for: what did not come to its end in time.
    """

    documents: Mapping[str, Mapping[str, Any]]
    records: Sequence[Record]
    paths: Sequence[str]
    logs: Mapping[str, Sequence[Entry]] = field(default_factory=lambda: {"persistent": (), "trimable": ()})
    outstanding: Sequence[str] = ()
    reminders: Sequence[str] = ()
    quarantined: Sequence[str] = ()
    blocks: int = 0
    committed_block: int = 0
    again: Mapping[str, bool | None] = field(default_factory=dict)
    fell: Sequence[str] = ()
    waited_for: Sequence[str] = ()


@dataclass(frozen=True)
class Stored:
    """What a data folder has."""

    documents: Mapping[str, Mapping[str, Any]]
    outstanding: Sequence[str]
    reminders: Sequence[str]
    quarantined: Sequence[str]


def stored(folder: Path) -> Stored:
    """What lies in the data folder of an emulator that has ended."""
    documents: dict[str, Mapping[str, Any]] = {}
    ours: dict[str, list[str]] = {INBOX: [], REMINDERS: [], QUARANTINE: []}
    data = DataFolder(folder, create=False)
    try:
        for name, content, _, _ in data.load(ordered=True):
            path = name.split(_DOCUMENTS, 1)[1]
            collection = path.split("/")[-2]
            if not collection.startswith("eventbox_"):
                documents[path] = _fields(content)
            elif collection in ours and not (collection == INBOX and _fields(content).get("due") == GONE):
                ours[collection].append(path)
    finally:
        data.close()
    return Stored(documents, ours[INBOX], ours[REMINDERS], ours[QUARANTINE])


def _fields(content: bytes) -> dict[str, Any]:
    document = Document.pb().FromString(content)
    return {name: _value(value) for name, value in document.fields.items()}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value_type")
    if kind == "array_value":
        return [_value(one) for one in value.array_value.values]
    if kind == "map_value":
        return {name: _value(one) for name, one in value.map_value.fields.items()}
    return getattr(value, kind)
