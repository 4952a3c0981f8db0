"""The data folder: what was committed is there again, with its times, and nothing that was not."""

from __future__ import annotations

import json
import os
import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import hypothesis.strategies as st
import pytest
from google.api_core import exceptions
from google.cloud import firestore
from google.cloud.firestore_v1.base_query import FieldFilter
from hypothesis import given

from emulator.firestore import Emulator, protos
from emulator.firestore.journal import Journal
from emulator.firestore.versions import Version
from emulator.status import Status
from emulator.waiter import run_through
from eventbox.testing import ManualClock
from tests.emulator.firestore.data_folders import FILE, content, database_of, opened
from tests.emulator.firestore.strategies import VALUES

DATABASE = "projects/demo/databases/(default)"
DOCUMENTS = f"{DATABASE}/documents"


async def test_documents_with_their_times_and_deletions_survive(tmp_path: Path) -> None:
    with opened(tmp_path) as emulator:
        client = emulator.client()
        await client.document("a/1").set({"n": 1, "deep": {"x": [1, {"y": None}]}})
        await client.document("a/2").set({"n": 2})
        await client.document("a/2/b/3").set({"n": 3})
        await client.document("a/1").update({"n": firestore.Increment(5)})
        await client.document("a/2").delete()
        before = [one async for one in client.collection("a").stream()]
        documents = content(emulator)
    with opened(tmp_path) as emulator:
        client = emulator.client()
        after = [one async for one in client.collection("a").stream()]
        assert [(one.to_dict(), one.create_time, one.update_time) for one in after] == [
            (one.to_dict(), one.create_time, one.update_time) for one in before
        ]
        assert before[0].create_time < before[0].update_time
        assert content(emulator) == documents
        assert not (await client.document("a/2").get()).exists
        assert [
            one.id async for one in client.collection("a").where(filter=FieldFilter("n", ">", 1)).stream()
        ] == ["1"]
        assert [one.id async for one in client.collection_group("b").stream()] == ["3"]
        # an update time is a precondition that still holds
        option = client.write_option(last_update_time=before[0].update_time)
        await client.document("a/1").update({"n": 0}, option=option)


async def test_a_deletion_and_a_creation_in_one_commit_survive_as_what_they_left(tmp_path: Path) -> None:
    with opened(tmp_path) as emulator:
        client = emulator.client()
        await client.document("a/1").set({"n": 1})
        batch = client.batch()
        batch.delete(client.document("a/1"))
        batch.create(client.document("a/1"), {"n": 2})
        batch.set(client.document("a/2"), {})
        batch.delete(client.document("a/2"))
        await batch.commit()
        documents = content(emulator)
    with opened(tmp_path) as emulator:
        assert content(emulator) == documents
        assert list(documents) == [f"{DOCUMENTS}/a/1"]


@pytest.mark.parametrize("last", ["set", "delete", "batch", "clear"])
async def test_commit_times_go_on_rising_with_a_clock_that_is_behind(tmp_path: Path, last: str) -> None:
    with opened(tmp_path, clock=ManualClock(datetime(2031, 1, 1, tzinfo=UTC))) as emulator:
        client = emulator.client()
        await client.document("a/1").set({})
        ref = client.document("a/2")
        await ref.set({})
        match last:
            case "set":
                latest = (await ref.set({"n": 1})).update_time
            case "delete":
                latest = await ref.delete()
            case "batch":
                batch = client.batch()
                batch.delete(ref)
                batch.set(client.document("a/1"), {"n": 1})
                latest = (await batch.commit())[1].update_time
            case "clear":
                latest = (await ref.get()).read_time
                emulator.clear()
    behind = ManualClock(datetime(2030, 1, 1, tzinfo=UTC))
    for _ in range(2):
        with opened(tmp_path, clock=behind) as emulator:
            times = [(await emulator.client().document("b/1").set({"n": n})).update_time for n in range(2)]
            assert latest < times[0] < times[1]
            assert times[1] - latest < timedelta(seconds=1)
            latest = times[1]
            await emulator.client().document("b/1").delete()


async def test_the_past_before_a_restart_cannot_be_read(tmp_path: Path, clock: ManualClock) -> None:
    with opened(tmp_path, clock=clock) as emulator:
        ref = emulator.client().document("a/1")
        before = (await ref.set({"n": 1})).update_time
        clock.advance(timedelta(seconds=1))
        last = (await ref.set({"n": 2})).update_time
        assert (await ref.get(read_time=before)).get("n") == 1
    clock.advance(timedelta(seconds=1))
    with opened(tmp_path, clock=clock) as emulator:
        ref = emulator.client().document("a/1")
        with pytest.raises(exceptions.FailedPrecondition, match="too old"):
            await ref.get(read_time=before)
        assert (await ref.get(read_time=last)).get("n") == 2
        await ref.set({"n": 3})
        assert (await ref.get(read_time=last)).get("n") == 2


async def test_time_to_live_goes_on_after_a_restart(tmp_path: Path, clock: ManualClock) -> None:
    indexes = tmp_path / "firestore.indexes.json"
    policy = {"collectionGroup": "a", "fieldPath": "expires", "ttl": True}
    indexes.write_text(json.dumps({"fieldOverrides": [policy]}))
    folder = tmp_path / "data"
    soon = clock.now() + timedelta(hours=1)
    with opened(folder, clock=clock) as emulator:
        await emulator.client().document("a/1").set({"expires": soon})
        await emulator.client().document("a/2").set({"expires": soon + timedelta(hours=1)})
    with opened(folder, clock=clock, indexes=indexes) as emulator:
        assert len(content(emulator)) == 2
        clock.advance(timedelta(hours=1))
        emulator.tick()
        assert list(content(emulator)) == [f"{DOCUMENTS}/a/2"]
    with opened(folder, clock=clock) as emulator:
        assert list(content(emulator)) == [f"{DOCUMENTS}/a/2"]


async def test_clear_empties_the_folder_of_all_or_of_one_database(tmp_path: Path) -> None:
    with opened(tmp_path) as emulator:
        for project in ("p", "p-2", "q"):
            await emulator.client(project=project).document("a/1").set({})
        emulator._service.clear("projects/p/databases/(default)")
        left = list(content(emulator))
        assert len(left) == 2
    with opened(tmp_path) as emulator:
        assert list(content(emulator)) == left
        emulator.clear()
    with opened(tmp_path) as emulator:
        assert not content(emulator)


async def test_a_closed_emulator_lets_the_next_one_in_and_takes_no_writes(tmp_path: Path) -> None:
    with opened(tmp_path) as emulator:
        client = emulator.client()
        await client.document("a/1").set({})
        emulator.close()
        with pytest.raises(exceptions.InternalServerError, match="could not be written"):
            await client.document("a/1").set({"n": 1})
        with opened(tmp_path) as other:
            assert content(other) == content(emulator)


# A folder that cannot be used -----------------------------------------------------------------------------


def test_a_folder_has_one_emulator_at_a_time(tmp_path: Path) -> None:
    with opened(tmp_path):
        for _ in range(2):
            with pytest.raises(ValueError, match=r"in use by another emulator; stop it"):
                Emulator(data_dir=tmp_path)
    with opened(tmp_path):
        pass


def test_a_folder_that_is_missing_is_made(tmp_path: Path) -> None:
    with opened(tmp_path / "some" / "where"):
        assert (tmp_path / "some" / "where" / FILE).exists()


def test_a_file_is_no_folder(tmp_path: Path) -> None:
    (tmp_path / "x").write_text("x")
    with pytest.raises(ValueError, match=r"x cannot be used: it is a file"):
        Emulator(data_dir=tmp_path / "x")
    with pytest.raises(ValueError, match=r"cannot be used: .*Not a directory"):
        Emulator(data_dir=tmp_path / "x" / "y")


def test_a_folder_that_may_not_be_written_to_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path / "data"):
        pass
    with unprivileged(tmp_path / "data"):
        with pytest.raises(ValueError, match=r"data cannot be used: "):
            Emulator(data_dir=tmp_path / "data")
        with pytest.raises(ValueError, match=r"cannot be used: .*Permission denied"):
            Emulator(data_dir=tmp_path / "data" / "more")


@contextmanager
def unprivileged(folder: Path) -> Iterator[None]:
    """Be somebody who may not write there."""
    root = os.geteuid() == 0
    for path in (folder, *folder.iterdir()):
        path.chmod(0o555 if path.is_dir() else 0o444)
    above = [one for one in folder.parents if one.owner() == "root" and one != Path("/")] if root else []
    modes = [one.stat().st_mode for one in above]
    for one in above:
        one.chmod(one.stat().st_mode | 0o011)
    if root:
        os.seteuid(65_534)
    try:
        yield
    finally:
        if root:
            os.seteuid(0)
        for one, mode in zip(above, modes, strict=True):
            one.chmod(mode)
        folder.chmod(0o755)


@pytest.mark.parametrize("text", [b"x" * 10_000, b"SQLite format 3\0" + b"x" * 5_000])
def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path, text: bytes) -> None:
    (tmp_path / FILE).write_bytes(text)
    with pytest.raises(ValueError, match=r"sqlite3 is not an emulator's data, or is damaged"):
        Emulator(data_dir=tmp_path)
    assert (tmp_path / FILE).read_bytes() == text


def test_somebody_elses_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / FILE)) as database:
        database.execute("CREATE TABLE theirs (x)")
    before = (tmp_path / FILE).read_bytes()
    with pytest.raises(ValueError, match=r"sqlite3 is not an emulator's data: take another folder"):
        Emulator(data_dir=tmp_path)
    assert (tmp_path / FILE).read_bytes() == before
    assert [one.name for one in tmp_path.iterdir()] == [FILE]


def test_a_newer_format_is_refused_with_the_way_out(tmp_path: Path) -> None:
    with opened(tmp_path) as emulator:
        database_of(emulator).execute("PRAGMA user_version = 2")
    with pytest.raises(ValueError, match=r"has format 2, and this emulator reads format 1: export the data"):
        Emulator(data_dir=tmp_path)


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    with opened(tmp_path) as emulator:
        for n in range(100):
            await emulator.client().document(f"a/{n}").set({"x": "x" * 1_000})
    file = tmp_path / FILE
    size = file.stat().st_size
    with file.open("r+b") as damaged:
        damaged.seek(size // 2)
        damaged.write(b"\xff" * (size // 2))
    with pytest.raises(ValueError, match=r"sqlite3 is not an emulator's data, or is damaged"):
        Emulator(data_dir=tmp_path)
    with pytest.raises(ValueError, match=r"damaged"):  # the first refusal has let go of it
        Emulator(data_dir=tmp_path)
    file.write_bytes(file.read_bytes()[:5_000])
    with pytest.raises(ValueError, match=r"damaged"):
        Emulator(data_dir=tmp_path)


def test_an_import_from_a_generator_that_fails_leaves_nothing(tmp_path: Path) -> None:
    with closing(Journal(tmp_path)) as journal:

        def broken() -> Iterator[Version]:
            yield Version(f"{DOCUMENTS}/a/1", b"", 1, 1)
            raise RuntimeError("half way")

        with pytest.raises(RuntimeError, match="half way"):
            journal.replace(broken(), 5)
        assert (journal.count(), journal.last_us()) == (0, 0)
        journal.replace([Version(f"{DOCUMENTS}/a/1", b"", 1, 1)], 5)
        assert (journal.count(), journal.last_us()) == (1, 5)


# Anything -------------------------------------------------------------------------------------------------

NAMES = [f"{DOCUMENTS}/{path}" for path in ("a/1", "a/2", "a/1/b/1", "b/ü", "b/😀")]


@st.composite
def writes(draw: st.DrawFn) -> Any:
    name = draw(st.sampled_from(NAMES))
    if draw(st.integers(0, 3)) == 0:
        return protos.Write(delete=name)
    fields = draw(st.dictionaries(st.sampled_from("xyz"), VALUES, max_size=3))
    write = protos.Write(update=protos.Document(name=name, fields=fields))
    if draw(st.booleans()):
        write.update_mask.field_paths.extend(draw(st.lists(st.sampled_from("xyz"), max_size=3)))
        write.update_mask.SetInParent()
    return write


@given(st.lists(st.lists(writes(), max_size=4), max_size=8), st.integers(0, 8))
def test_random_commits_are_there_again(commits: list[list[Any]], restart_at: int) -> None:
    with TemporaryDirectory() as folder:
        emulator = Emulator(data_dir=Path(folder))
        for n, commit in enumerate(commits):
            if n == restart_at:
                emulator.close()
                emulator = Emulator(data_dir=Path(folder))
            try:
                request = protos.CommitRequest(database=DATABASE, writes=commit)
                run_through(emulator._service.unary("Commit", request))
            except Status:
                pass  # an array in an array, or the like: it must leave no trace
        documents = content(emulator)
        emulator.close()
        with opened(Path(folder)) as reopened:
            assert content(reopened) == documents
            store = reopened._service._store
            assert sum(collection.live for collection in store._collections.values()) == len(documents)
