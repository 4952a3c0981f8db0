"""What may never happen to a recipient's state, watched at each write."""

from __future__ import annotations

from typing import Any

from eventbox.document_processor import EVERSION
from tests.simulation.processors import KINDS, LAST
from tests.simulation.scene import Scene, trace_path
from tests.simulation.truth import ROOT


class States:
    """Each recipient's document as it was after the last write that was carried out."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        self._applied: dict[str, list[str]] = {}
        self._eversion: dict[str, int] = {}
        self._notes: dict[str, int] = {}
        self.added_by_emits: set[str] = set()
        """The names of events that an emit outside transactions has added."""

    def observe(self, rpc: str, request: Any) -> None:
        if rpc not in ("Commit", "BatchWrite"):
            return
        paths = set()
        for write in request.writes:
            if "/eventbox_inbox/" in write.update.name and "token" in write.update.fields:
                self._look_at_token(write)
            path = (write.update.name or write.delete).removeprefix(ROOT)
            collection, _, id = path.partition("/")
            if collection == "traces":
                self._decided(id, write)
            elif collection in KINDS and "/" not in id:
                paths.add(path)
                self._notes[path] = self._notes.get(path, 0) + any(
                    one.field_path == "note" for one in write.update_transforms
                )
        for path in sorted(paths):
            self._look_at(path)

    def _decided(self, id: str, write: Any) -> None:
        """A batch is committed on the state that it has decided on."""
        path = trace_path(id)
        loaded = write.update.fields["loaded"].integer_value
        now = len(self._applied.get(path, ()))
        detail = f"{id} was decided on a state of {loaded} events, and committed on one of {now}"
        self._scene.check("decided on the state that it changes", loaded == now, detail)

    def _look_at_token(self, write: Any) -> None:
        there = self._scene.stage.truth.fields(write.update.name.removeprefix(ROOT))
        mine = write.current_document.WhichOneof("condition_type") == "exists"
        # `in` first: reading an absent key of a protobuf map creates it, and this is the stored document
        if mine and there and "token" in there and there["token"] == write.update.fields["token"]:
            self.added_by_emits.add(write.update.name)

    def _look_at(self, path: str) -> None:
        check = self._scene.check
        fields = self._scene.stage.truth.fields(path)
        eversion = fields[EVERSION].integer_value if EVERSION in fields else 0
        values = fields["applied"].array_value.values if "applied" in fields else ()
        applied = [one.string_value for one in values]
        changed = applied != self._applied.get(path, [])
        before = self._eversion.get(path, 0)
        check(
            "versions",
            eversion == before + changed,
            f"the eversion of {path} went from {before} to {eversion}",
        )
        self._applied[path], self._eversion[path] = applied, eversion
        if self._notes[path]:
            note = fields["note"].integer_value if "note" in fields else 0
            detail = f"{path} was noted {self._notes[path]} times, and says {note}"
            check("fields of others are kept", note == self._notes[path], detail)
        if path.startswith("books/"):
            keys = {key for key in fields if key.startswith(LAST)}
            expected = {f"{LAST}{applied[-1]}"} if applied else set()
            detail = f"{path} has {sorted(keys)} where {sorted(expected)} belongs"
            check("keys that are taken out go", keys == expected, detail)
