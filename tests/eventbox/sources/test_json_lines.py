"""`JsonLines`: every line once, through growth, rotation and restarts."""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from eventbox import NewEvent
from eventbox.sources import Committer, DistributedLock, FunctionWriter, run
from eventbox.sources.ingestors.json_lines import MAX_LINES, FilePosition, JsonLines, JsonLinesError
from eventbox.testing import ManualClock
from tests.eventbox.sources.taking_in import take_in


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "a[b]*.jsonl"


def append(path: Path, *lines: Any, end: str = "\n") -> None:
    with path.open("a") as file:
        file.write("\n".join(json.dumps(line) for line in lines) + end)


async def values(path: Path, place: bytes | None, **kwargs: Any) -> tuple[list[Any], bytes | None]:
    taken = await take_in(JsonLines("lines", path, interval=None, **kwargs), place)
    return [json.loads(event.value) for event in taken.events], taken.place


async def test_whole_lines_are_taken_in_and_the_rest_when_it_is_there(path: Path) -> None:
    assert await values(path, None) == ([], None)
    append(path, 1, {"a": "ü\u2028"})
    append(path, 3, end="")
    found, place = await values(path, None)
    assert found == [1, {"a": "ü\u2028"}]
    assert await values(path, place) == ([], place)
    append(path, end="\n\r\n  \n")
    append(path, 4)
    found, place = await values(path, place)
    assert found == [3, 4]


async def test_a_block_has_a_bounded_number_of_lines_and_bytes(path: Path) -> None:
    append(path, *range(2 * MAX_LINES + 1))
    taken = await take_in(JsonLines("lines", path, interval=None), None)
    assert taken.blocks == 3
    append(path, *("x" * 300_000 for _ in range(10)))
    more = await take_in(JsonLines("lines", path, interval=None), taken.place)
    assert len(more.events) == 10
    assert more.blocks == 3


async def test_a_rotated_file_is_read_to_its_end_after_a_restart(path: Path) -> None:
    append(path, 1, 2)
    _, place = await values(path, None)
    append(path, 3)
    path.rename(f"{path}.1")
    append(path, 4)
    found, place = await values(path, place)
    assert found == [3, 4]
    Path(f"{path}.1").rename(f"{path}.2")
    path.rename(f"{path}.1")
    found, place = await values(path, place)  # and there is no new one yet
    assert found == []
    append(path, 5)
    assert (await values(path, place))[0] == [5]


async def test_a_truncated_file_is_read_from_the_start_also_when_it_has_grown_since(path: Path) -> None:
    append(path, *range(10))
    _, place = await values(path, None)
    for new in ([20], [f"{n}" * 10 for n in range(30)]):
        os.truncate(path, 0)
        append(path, *new)
        told: list[str] = []
        found, place = await values(path, place, on_gap=told.append)
        assert found == new
        assert len(told) == 1


async def test_a_file_that_has_gone_is_told(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    append(path, 1)
    _, place = await values(path, None)
    path.unlink()
    assert (await values(path, place))[0] == []
    assert "has gone" in caplog.text

    def refuse(message: str) -> None:
        raise JsonLinesError(message)

    with pytest.raises(JsonLinesError, match="has gone"):
        await values(path, place, on_gap=refuse)


async def test_a_line_that_is_no_json_fails_unless_one_says_what_to_do(path: Path) -> None:
    path.write_bytes(b'1\n{"a"\n\xff\n2\n')
    with pytest.raises(JsonLinesError, match="is no JSON"):
        await values(path, None)
    taken = await take_in(
        JsonLines("lines", path, interval=None, on_invalid=lambda line: [NewEvent(b"bad " + line)]), None
    )
    assert [event.value for event in taken.events] == [b"1", b'bad {"a"', b"bad \xff", b"2"]


async def test_events_are_what_the_function_makes_of_a_line(path: Path) -> None:
    append(path, {"n": 3}, {"n": 0})
    jsonl = JsonLines("lines", path, lambda value, line: [NewEvent(line)] * value["n"], interval=None)
    assert len((await take_in(jsonl, None)).events) == 3


@asynccontextmanager
async def following(
    client: AsyncClient, path: Path, clock: ManualClock
) -> AsyncIterator[tuple[list[int], Callable[[int], Awaitable[None]]]]:
    """What is taken in from the file, and a function that lets the ingestor look so many times."""
    got: list[int] = []

    async def write(ingestor: str, block: bytes, events: Sequence[NewEvent]) -> None:
        got.extend(int(event.value) for event in events)

    async def look(times: int) -> None:
        for _ in range(times):
            for _ in range(60):
                await asyncio.sleep(0)
            clock.advance(timedelta(milliseconds=500))
        for _ in range(60):
            await asyncio.sleep(0)

    lock = DistributedLock(client, "a", heartbeat=timedelta(seconds=1), clock=clock)
    ingestor = JsonLines("lines", path, clock=clock)
    committer = Committer(client, clock=clock)
    task = asyncio.create_task(run(lock, committer, FunctionWriter(write), ingestor, clock=clock))
    yield got, look
    task.cancel()
    await asyncio.wait([task])


async def test_it_follows_a_file_that_is_rotated_while_it_reads(
    local_client: AsyncClient, path: Path, clock: ManualClock
) -> None:
    rng, n, old = Random(1), 0, None
    async with following(local_client, path, clock) as (got, look):
        for turn in range(60):
            lines = range(n, n + rng.randint(1, 5))
            append(path, *lines)
            n += len(lines)
            if old is not None:  # whoever writes has not noticed yet, and we have looked once
                append(old, n)
                n, old = n + 1, None
            if turn % 7 == 6:
                old = path.rename(path.with_name(f"{path.name}.{turn}"))
                path.touch()
            await look(1)
        await look(10)
    assert sorted(got) == list(range(n))


async def test_it_follows_a_file_that_is_truncated_while_it_reads(
    local_client: AsyncClient, path: Path, clock: ManualClock
) -> None:
    async with following(local_client, path, clock) as (got, look):
        append(path, 1, 2, 3)
        await look(2)
        os.truncate(path, 0)
        append(path, 4)
        await look(3)
        os.truncate(path, 0)
        append(path, 5, 6, 7, 8)  # more than there was
        await look(3)
    assert got == [1, 2, 3, 4, 5, 6, 7, 8]


async def test_a_file_that_was_moved_away_in_the_middle_of_a_line_is_told(
    local_client: AsyncClient, path: Path, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    async with following(local_client, path, clock) as (got, look):
        append(path, 1)
        append(path, 2, end="")
        await look(2)
        path.rename(f"{path}.1")
        append(path, 3)
        await look(4)
    assert got == [1, 3]
    assert "ends in the middle of a line" in caplog.text


def test_what_is_no_place_is_refused() -> None:
    place = FilePosition(1, 2, 3, 2, b"x" * 16)
    assert FilePosition.decode(place.encode()) == place
    for pointer in (b"", b"x" * 47, b"x" * 49):
        with pytest.raises(ValueError, match="no position"):
            FilePosition.decode(pointer)
    with pytest.raises(ValueError, match="name"):
        JsonLines("", Path("x"))
