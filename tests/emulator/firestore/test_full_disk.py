"""A data folder on a disk that is full: nothing changes, and it goes on when there is room."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore_v1.base_query import FieldFilter

from emulator.firestore import Emulator
from emulator.status import Status
from eventbox.testing import ManualClock
from tests.emulator.firestore.data_folders import FILE, content, database_of, opened


@contextmanager
def full_database(emulator: Emulator) -> Iterator[None]:
    """What SQLite does when the disk is full."""
    database = database_of(emulator)
    (pages,) = database.execute("PRAGMA page_count").fetchone()
    database.execute(f"PRAGMA max_page_count = {pages}")
    try:
        yield
    finally:
        database.execute("PRAGMA max_page_count = 1000000")


@contextmanager
def file_size_limit(emulator: Emulator, growth: int = 10_000) -> Iterator[None]:
    """A quota, as the operating system tells of it: the log may grow by so many bytes, and breaks off in a write."""
    folder = Path(database_of(emulator).execute("PRAGMA database_list").fetchone()[2]).parent
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, ((folder / f"{FILE}-wal").stat().st_size + growth, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.parametrize("no_room", [full_database, file_size_limit])
async def test_a_full_disk_refuses_the_commit_changes_nothing_and_goes_on_with_room(
    tmp_path: Path, no_room: Any
) -> None:
    with opened(tmp_path) as emulator:
        client = emulator.client()
        ref = client.document("a/1")
        await ref.set({"n": 1})
        before, counts = content(emulator), emulator.counts.copy()
        with no_room(emulator):
            for _ in range(3):
                with pytest.raises(exceptions.ResourceExhausted, match="could not be written to"):
                    await ref.set({"n": 2, "x": "x" * 1_000_000}, retry=None)
                batch = client.batch()
                batch.delete(ref)
                batch.set(client.document("a/2"), {"x": "x" * 1_000_000})
                with pytest.raises(exceptions.ResourceExhausted):
                    await batch.commit(retry=None)
            assert content(emulator) == before
            assert (emulator.counts - counts).writes == 0
            assert (await ref.get()).to_dict() == {"n": 1}
            assert [
                one.id
                async for one in client.collection("a").where(filter=FieldFilter("n", "==", 1)).stream()
            ] == ["1"]
        await ref.set({"n": 2, "x": "x" * 1_000_000})
        await client.document("a/2").set({})
        documents = content(emulator)
        assert len(documents) == 2
    with opened(tmp_path) as emulator:
        assert content(emulator) == documents


async def test_a_full_disk_puts_expiry_off_and_fails_no_read(tmp_path: Path, clock: ManualClock) -> None:
    indexes = tmp_path / "firestore.indexes.json"
    policy = {"collectionGroup": "a", "fieldPath": "expires", "ttl": True}
    indexes.write_text(json.dumps({"fieldOverrides": [policy]}))
    soon, later = clock.now() + timedelta(hours=1), clock.now() + timedelta(hours=2)
    with opened(tmp_path, clock=clock, indexes=indexes) as emulator:
        ref = emulator.client().document("a/1")
        await ref.set({"expires": soon})
        with file_size_limit(emulator, growth=0):
            with pytest.raises(exceptions.ResourceExhausted):
                await ref.set({"expires": later}, retry=None)
            clock.advance(timedelta(hours=1))
            assert (await ref.get()).exists
        assert not (await ref.get()).exists


async def test_a_full_disk_lets_clear_fail_whole(tmp_path: Path) -> None:
    with opened(tmp_path) as emulator:
        await emulator.client().document("a/1").set({"n": 1})
        before = content(emulator)
        with file_size_limit(emulator, growth=0):
            with pytest.raises(Status, match="RESOURCE_EXHAUSTED"):
                emulator.clear()
            assert content(emulator) == before
        emulator.clear()
        assert not content(emulator)
