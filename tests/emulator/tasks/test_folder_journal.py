"""The data folder of a Cloud Tasks: what was written is there again, and nothing by half."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from tempfile import TemporaryDirectory

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from emulator.firestore import Emulator
from emulator.status import Status
from emulator.tasks.journal import FolderJournal
from emulator.tasks.journaling import Change

FILE = "tasks.sqlite3"


def contents(folder: Path) -> list[Change]:
    with closing(FolderJournal(folder)) as journal:
        return list(journal.read())


def test_what_was_written_is_there_again_in_the_order_of_its_names(tmp_path: Path) -> None:
    with closing(FolderJournal(tmp_path)) as journal:
        journal.write([Change("queue", "q", b"1")])
        journal.write([Change("task", "b", b"2"), Change("task", "a", b"3")])
        journal.write([Change("task", "b", b"4")])
        journal.write([Change("gone_task", "b", b"5")])
        journal.write([])
    expected = [
        Change("queue", "q", b"1"),
        Change("task", "b", b"4"),
        Change("task", "a", b"3"),
        Change("gone_task", "b", b"5"),
    ]
    assert contents(tmp_path) == expected
    assert contents(tmp_path) == expected


def test_a_name_that_comes_back_is_the_last_one(tmp_path: Path) -> None:
    with closing(FolderJournal(tmp_path)) as journal:
        for name in ("a", "b"):
            journal.write([Change("task", name, b"1")])
        journal.write([Change("task", "a", None)])
        journal.write([Change("task", "a", b"2")])
    assert [one.name for one in contents(tmp_path)] == ["b", "a"]


def test_changes_are_kept_together_or_not_at_all(tmp_path: Path) -> None:
    with closing(FolderJournal(tmp_path)) as journal:
        journal.write([Change("task", "a", b"1")])
        (pages,) = journal._database.execute("PRAGMA page_count").fetchone()
        journal._database.execute(f"PRAGMA max_page_count = {pages}")
        changes = [Change("task", "a", None), Change("task", "b", b"x" * 1_000_000)]
        for attempt in (changes, changes[1:]):
            with pytest.raises(Status, match=r"RESOURCE_EXHAUSTED.*could not be written to .*tasks\.sqlite3"):
                journal.write(attempt)
        assert list(journal.read()) == [Change("task", "a", b"1")]
        journal._database.execute("PRAGMA max_page_count = 1000000")
        journal.write(changes)
    assert [one.name for one in contents(tmp_path)] == ["b"]


def test_the_first_of_two_changes_is_taken_back_when_the_second_fails(tmp_path: Path) -> None:
    with closing(FolderJournal(tmp_path)) as journal:
        journal.write([Change("task", "a", b"1")])
        no_change = Change("task", None, b"")  # type: ignore[arg-type]
        with pytest.raises(Status, match="INTERNAL"):
            journal.write([Change("task", "a", None), no_change])
        assert list(journal.read()) == [Change("task", "a", b"1")]


def test_clearing_keeps_the_signing_key_alone(tmp_path: Path) -> None:
    with closing(FolderJournal(tmp_path)) as journal:
        assert journal.signing_key() is None
        journal.write([Change("task", "a", b"1")])
        for pem in (b"old", b"new"):
            journal.keep_signing_key(pem)
        journal.clear()
    assert contents(tmp_path) == []
    with closing(FolderJournal(tmp_path)) as journal:
        assert journal.signing_key() == b"new"


def test_a_closed_journal_lets_the_next_one_in_and_takes_no_more(tmp_path: Path) -> None:
    with closing(FolderJournal(tmp_path)) as journal:
        with pytest.raises(ValueError, match="in use by another emulator"):
            FolderJournal(tmp_path)
        journal.close()
        with closing(FolderJournal(tmp_path)):
            for act in (
                lambda: journal.write([Change("task", "a", b"1")]),
                journal.clear,
                lambda: journal.keep_signing_key(b"x"),
            ):
                with pytest.raises(Status, match="INTERNAL"):
                    act()


def test_a_firestore_and_a_cloud_tasks_share_a_folder(tmp_path: Path) -> None:
    with closing(Emulator(data_dir=tmp_path)), closing(FolderJournal(tmp_path)) as journal:
        journal.write([Change("task", "a", b"1")])
    assert contents(tmp_path) == [Change("task", "a", b"1")]


def test_what_is_no_emulators_data_or_of_another_format_is_refused(tmp_path: Path) -> None:
    with closing(FolderJournal(tmp_path)) as journal:
        journal._database.execute("PRAGMA user_version = 2")
    with pytest.raises(ValueError, match=r"has format 2, and this emulator reads format 1: let the version"):
        FolderJournal(tmp_path)
    other = tmp_path / "other"
    other.mkdir()
    with closing(sqlite3.connect(other / FILE)) as database:
        database.execute("CREATE TABLE theirs (x)")
    with pytest.raises(ValueError, match="is not an emulator's data: take another folder"):
        FolderJournal(other)
    (tmp_path / "x").write_text("x")
    with pytest.raises(ValueError, match="it is a file"):
        FolderJournal(tmp_path / "x")


changes = st.builds(
    Change,
    st.sampled_from(["queue", "task", "gone_queue", "gone_task"]),
    st.sampled_from(["a", "b", "ü/😀"]),
    st.none() | st.binary(max_size=3),
)


@settings(max_examples=40)
@given(st.lists(st.lists(changes, max_size=4), max_size=8), st.integers(0, 8))
def test_any_changes_are_there_again(writes: list[list[Change]], restart_at: int) -> None:
    model: dict[tuple[str, str], bytes] = {}
    with TemporaryDirectory() as folder:
        journal = FolderJournal(Path(folder))
        for n, write in enumerate(writes):
            if n == restart_at:
                journal.close()
                journal = FolderJournal(Path(folder))
            journal.write(write)
            for one in write:
                if one.data is None:
                    model.pop((one.table, one.name), None)
                else:
                    model[one.table, one.name] = one.data
        journal.close()
        assert contents(Path(folder)) == [Change(*key, data) for key, data in model.items()]  # type: ignore[arg-type]
