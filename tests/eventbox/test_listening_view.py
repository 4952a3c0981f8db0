"""What a listener makes of the server's responses, whatever a server may say."""

from __future__ import annotations

from typing import Any

import pytest
from google.api_core import exceptions

from dsset import protos
from emulator.firestore import Emulator
from eventbox.listening import _View

_Type = protos.TargetChange.TargetChangeType


class Told:
    """A view that is told things in short."""

    def __init__(self) -> None:
        client = Emulator().client()
        self.view = _View(client)
        self.root = f"{client._database_string}/documents"
        self.time = 0

    def document(self, path: str, version: int = 1, *, shown: bool = True) -> Any:
        document = protos.Document(name=f"{self.root}/{path}", update_time=protos.Timestamp(seconds=version))
        targets = {"target_ids" if shown else "removed_target_ids": [1]}
        return self.view.take(protos.ListenResponse(document_change={"document": document, **targets}))

    def gone(self, path: str, kind: str = "document_delete") -> Any:
        return self.view.take(protos.ListenResponse(**{kind: {"document": f"{self.root}/{path}"}}))

    def filter(self, count: int) -> Any:
        return self.view.take(protos.ListenResponse(filter={"target_id": 1, "count": count}))

    def change(self, kind: int, **rest: Any) -> Any:
        change = protos.TargetChange(target_change_type=kind, **rest)
        return self.view.take(protos.ListenResponse(target_change=change))

    def snapshot(self, token: bytes = b"token") -> list[tuple[str, str]] | None:
        """What has changed, by the snapshot that ends here; None where there is none."""
        self.change(_Type.CURRENT, target_ids=[1])
        self.time += 1
        snapshot = self.change(
            _Type.NO_CHANGE, read_time=protos.Timestamp(seconds=self.time), resume_token=token
        )
        if snapshot is None:
            return None
        return sorted((one.kind, one.document.reference.path) for one in snapshot.changes)

    def begun(self) -> Told:
        """With a first snapshot of a/1 and a/2."""
        self.view.reopen()
        self.document("a/1")
        self.document("a/2")
        assert self.snapshot() == [("added", "a/1"), ("added", "a/2")]
        return self


def test_a_document_that_is_told_again_unchanged_is_no_change() -> None:
    told = Told().begun()
    told.document("a/1")
    assert told.snapshot() is None
    told.document("a/1", 2)
    assert told.snapshot() == [("modified", "a/1")]


@pytest.mark.parametrize("kind", ["document_delete", "document_remove"])
def test_a_document_leaves_once(kind: str) -> None:
    told = Told().begun()
    told.gone("a/1", kind)
    assert told.snapshot() == [("removed", "a/1")]
    told.gone("a/1", kind)
    told.document("a/2", shown=False)
    assert told.snapshot() == [("removed", "a/2")]


def test_nothing_is_a_snapshot_before_the_target_is_current_or_about_a_target_alone() -> None:
    told = Told()
    told.view.reopen()
    told.document("a/1")
    now = protos.Timestamp(seconds=1)
    assert told.change(_Type.NO_CHANGE, read_time=now) is None
    told.change(_Type.CURRENT, target_ids=[1])
    assert told.change(_Type.NO_CHANGE, read_time=now, target_ids=[1]) is None
    assert told.change(_Type.NO_CHANGE) is None
    assert told.snapshot() == [("added", "a/1")]


def test_after_a_reset_what_is_not_told_again_has_left() -> None:
    told = Told().begun()
    told.document("a/3")
    told.change(_Type.RESET, target_ids=[1])
    told.document("a/2")
    assert told.snapshot() == [("removed", "a/1")]


def test_a_stream_that_goes_on_with_its_token_keeps_what_it_had() -> None:
    told = Told().begun()
    told.document("a/3")  # of a snapshot that is never completed
    assert told.view.reopen() == b"token"
    told.document("a/4")
    assert told.snapshot() == [("added", "a/4")]


def test_a_stream_without_a_token_is_told_anew() -> None:
    told = Told().begun()
    told.document("a/3")
    assert told.snapshot(token=b"") == [("added", "a/3")]
    assert told.view.reopen() == b""
    told.document("a/2")
    assert told.snapshot() == [("removed", "a/1"), ("removed", "a/3")]


def test_a_count_that_does_not_fit_makes_it_begin_anew() -> None:
    told = Told().begun()
    told.gone("a/1")
    told.document("a/3")
    told.filter(2)
    assert not told.view.lost
    told.filter(1)
    assert told.view.lost
    assert told.view.reopen() == b""
    assert not told.view.lost
    told.document("a/2")
    told.filter(1)
    assert not told.view.lost
    assert told.snapshot() == [("removed", "a/1")]


def test_a_target_that_the_server_removes_is_its_error() -> None:
    with pytest.raises(exceptions.PermissionDenied, match="not for you"):
        Told().begun().change(_Type.REMOVE, target_ids=[1], cause={"code": 7, "message": "not for you"})
