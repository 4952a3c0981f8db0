"""`Committer`: a chain that only grows at its end, and only by the newest holder."""

from __future__ import annotations

import asyncio
from datetime import timedelta

import pytest
from google.api_core.exceptions import PermissionDenied
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import UnknownOutcomeError
from eventbox.sources import (
    Committer,
    InvalidCommitError,
    events_ingestor_name,
    history_ingestor_name,
)
from eventbox.testing import ManualClock
from tests.advancing import while_advancing


async def test_the_first_commit_is_always_valid_and_the_others_continue_the_chain(
    client: AsyncClient,
) -> None:
    committer = Committer(client)
    assert await committer.latest("a") is None
    await committer.commit("a", b"5", b"3")  # a chain may be joined anywhere
    assert await committer.latest("a") == b"3"
    await committer.commit("a", b"3", b"4")
    await committer.commit("a", b"4", b"4\0")
    assert await committer.latest("a") == b"4\0"
    assert await Committer(client).latest("a") == b"4\0"


@pytest.mark.parametrize("cached", [True, False])
@pytest.mark.parametrize(
    ("parent", "block"),
    [(b"1", b"3"), (b"3", b"4"), (None, b"3"), (b"2", b"1"), (b"2", b"2"), (b"2", b""), (b"", b"3")],
    ids=["a gap", "ahead", "no parent", "backwards", "no-op", "to the empty one", "from the empty one"],
)
async def test_what_does_not_continue_the_chain_is_refused(
    client: AsyncClient, parent: bytes | None, block: bytes, cached: bool
) -> None:
    committer = Committer(client)
    await committer.commit("a", None, b"1")
    await committer.commit("a", b"1", b"2")
    with pytest.raises(InvalidCommitError):
        await (committer if cached else Committer(client)).commit("a", parent, block)
    assert await committer.latest("a") == b"2"
    await committer.commit("a", b"2", b"3")


async def test_ingestors_have_places_of_their_own(client: AsyncClient) -> None:
    committer = Committer(client)
    names = [
        "a",
        "b",
        "a/b",
        "a b",
        events_ingestor_name(1),
        history_ingestor_name(1),
        events_ingestor_name(2),
    ]
    for n, name in enumerate(names):
        await committer.commit(name, None, bytes([n]))
    assert [await committer.latest(name) for name in names] == [bytes([n]) for n in range(len(names))]


async def test_a_claim_refuses_smaller_tokens_and_none_from_then_on(client: AsyncClient) -> None:
    stale, holder = Committer(client), Committer(client)
    await stale.claim("a", 5)
    await stale.commit("a", None, b"1", token=5)
    await holder.claim("a", 7)
    await holder.claim("a", 7)
    for committer in (stale, holder):
        for token in (5, 6, None):
            with pytest.raises(InvalidCommitError, match="token 7"):
                await committer.commit("a", b"1", b"2", token=token)
    with pytest.raises(InvalidCommitError, match="token 7"):
        await stale.claim("a", 6)
    assert await holder.latest("a") == b"1"
    await holder.commit("a", b"1", b"2", token=7)
    await stale.commit("a", b"2", b"3", token=8)  # as good as a claim
    with pytest.raises(InvalidCommitError, match="token 8"):
        await holder.commit("a", b"3", b"4", token=7)
    await stale.claim("b", 1)
    assert await stale.latest("b") is None


async def test_commits_of_one_object_read_nothing_once_it_has_begun(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    committer = Committer(local_client)
    await committer.claim("a", 1)
    emulator.counts.reset()
    await committer.commit("a", None, b"\0", token=1)
    for n in range(100):
        await committer.commit("a", bytes([n]), bytes([n + 1]), token=1)
    assert dict(emulator.counts.rpcs) == {"Commit": 101}
    assert (emulator.counts.reads, emulator.counts.writes) == (0, 101)


async def test_of_two_that_commit_the_same_place_one_wins(local_client: AsyncClient) -> None:
    one, other = Committer(local_client), Committer(local_client)
    await one.commit("a", None, b"1")
    await other.commit("a", b"1", b"2")
    with pytest.raises(InvalidCommitError):
        await one.commit("a", b"1", b"3")
    await one.commit("a", b"2", b"3")
    results = await asyncio.gather(
        *(committer.commit("a", b"3", b"4") for committer in (one, other)), return_exceptions=True
    )
    assert sorted(map(str, map(type, results))) == sorted(map(str, [type(None), InvalidCommitError]))
    assert await one.latest("a") == b"4"


@pytest.mark.parametrize(("when", "milliseconds"), [("before", 0), ("after", 0), ("late", 30), ("late", 150)])
@pytest.mark.parametrize("times", [1, 3])
async def test_a_lost_answer_is_resolved(
    emulator: Emulator,
    local_client: AsyncClient,
    clock: ManualClock,
    when: str,
    milliseconds: int,
    times: int,
) -> None:
    committer = Committer(local_client, clock=clock)
    latency = timedelta(milliseconds=milliseconds)

    def disturb() -> None:
        emulator.faults.add(
            Fault(rpc="Commit", error="UNAVAILABLE", when=when, times=times, latency=latency)  # type: ignore[arg-type]
        )

    disturb()
    await while_advancing(clock, committer.claim("a", 1))
    for n in range(5):
        disturb()
        await while_advancing(
            clock, committer.commit("a", bytes([n]) if n else None, bytes([n + 1]), token=1)
        )
    emulator.faults.clear()
    clock.advance(timedelta(seconds=10))
    assert await committer.latest("a") == b"\5"
    await committer.commit("a", b"\5", b"\6", token=1)


async def claimed_meanwhile(
    emulator: Emulator, client: AsyncClient, clock: ManualClock, when: str
) -> tuple[Committer, asyncio.Task[None], Committer]:
    """A commit whose answer was lost, and a claim by another one before anyone looks."""
    stale, holder = Committer(client, clock=clock), Committer(client, clock=clock)
    await stale.commit("a", None, b"1", token=1)
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when=when))  # type: ignore[arg-type]
    emulator.faults.add(Fault(rpc="BatchGetDocuments", latency=timedelta(seconds=1)))
    task = asyncio.create_task(stale.commit("a", b"1", b"2", token=1))
    for _ in range(50):
        await asyncio.sleep(0)
    assert clock.next_wake is not None  # it is looking
    await holder.claim("a", 2)
    return stale, task, holder


async def test_a_commit_whose_answer_was_lost_stands_if_it_was_done_before_the_claim(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    _, task, holder = await claimed_meanwhile(emulator, local_client, clock, "after")
    await while_advancing(clock, task)
    assert await holder.latest("a") == b"2"


async def test_a_commit_whose_answer_was_lost_is_refused_if_the_claim_came_first(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    _, task, holder = await claimed_meanwhile(emulator, local_client, clock, "before")
    with pytest.raises(InvalidCommitError, match="token 2"):
        await while_advancing(clock, task)
    assert await holder.latest("a") == b"1"


async def test_where_nobody_can_tell_it_says_so(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    _, task, holder = await claimed_meanwhile(emulator, local_client, clock, "after")
    await holder.commit("a", b"2", b"3", token=2)
    with pytest.raises(UnknownOutcomeError, match="others have committed"):
        await while_advancing(clock, task)
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", times=1_000))
    with pytest.raises(UnknownOutcomeError, match="not answered"):
        await while_advancing(clock, holder.commit("a", b"3", b"4", token=2))
    emulator.faults.clear()
    await holder.commit("a", b"3", b"4", token=2)


async def test_where_it_cannot_be_looked_up_it_says_so(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    _, task, holder = await claimed_meanwhile(emulator, local_client, clock, "after")
    emulator.faults.add(Fault(rpc="BatchGetDocuments", error="UNAVAILABLE", times=None))
    with pytest.raises(UnknownOutcomeError, match="not answered"):
        await while_advancing(clock, task)
    emulator.faults.clear()
    assert await holder.latest("a") == b"2"


async def test_a_refusal_of_firestores_own_is_raised(emulator: Emulator, local_client: AsyncClient) -> None:
    committer = Committer(local_client)
    emulator.faults.add(Fault(rpc="Commit", error="PERMISSION_DENIED"))
    with pytest.raises(PermissionDenied):
        await committer.commit("a", None, b"1")
    await committer.commit("a", None, b"1")


async def test_bad_arguments_are_refused_before_anything_is_sent(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    committer = Committer(local_client)
    for block in ("1", 1, None, bytearray(b"1")):
        with pytest.raises(TypeError, match="block must be a pointer"):
            await committer.commit("a", None, block)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="parent must be a pointer"):
        await committer.commit("a", "1", b"1")  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="1,024"):
        await committer.commit("a", None, b"x" * 1_025)
    for name in ("", "x" * 1_025):
        with pytest.raises(ValueError, match="name"):
            await committer.latest(name)
    with pytest.raises(TypeError, match="name"):
        await committer.commit(1, None, b"1")  # type: ignore[arg-type]
    for token in (0, -1, 2**63):
        with pytest.raises(ValueError, match="token"):
            await committer.claim("a", token)
    for bad in (None, "1", True):
        with pytest.raises(TypeError, match="token"):
            await committer.claim("a", bad)  # type: ignore[arg-type]
    for bad in ("1", True):
        with pytest.raises(TypeError, match="version"):
            events_ingestor_name(bad)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="version"):
        history_ingestor_name(-1)
    assert not emulator.counts.rpcs
    await committer.commit("a", None, b"x" * 1_024)
