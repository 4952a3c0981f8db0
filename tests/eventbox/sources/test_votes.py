"""`QuorumVotes`: approved once, by enough voters, whoever votes again or late."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import Any

import pytest
from google.cloud import firestore
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from eventbox import ContentionError, EventBox, SkipTransition, Transaction
from eventbox.sources import EventStore, QuorumVotes, StoredEvent, VoteStore, stored_event_id
from eventbox.testing import ManualClock
from tests.advancing import sent, while_advancing

EVENT = StoredEvent(stored_event_id(b"a\nb", "t"), "t", b"a\nb")


def approving(client: AsyncClient, threshold: int, **kwargs: Any) -> QuorumVotes:
    """Votes whose approval counts up a document."""

    async def on_approved(transaction: Transaction, event: StoredEvent) -> None:
        count = {"times": firestore.Increment(1), "data": event.data, "type": event.event_type}
        transaction.set(client.document(f"approved/{event.id}"), count, merge=True)

    box = EventBox(client, **kwargs)
    return QuorumVotes(box, client.document("votes/1"), threshold=threshold, on_approved=on_approved)


async def approvals(client: AsyncClient, event: StoredEvent = EVENT) -> int:
    snapshot = await client.document(f"approved/{event.id}").get()
    return int(snapshot.get("times")) if snapshot.exists else 0


async def test_it_takes_so_many_different_voters(client: AsyncClient) -> None:
    votes = approving(client, 3)
    assert isinstance(votes, VoteStore)
    for voter in ("a", "b", "a", "b"):
        assert await votes.vote(voter, EVENT) is False
    assert not await votes.is_processed(EVENT.id)
    assert await approvals(client) == 0
    assert await votes.vote("c", EVENT) is True
    assert await votes.is_processed(EVENT.id)
    for voter in ("a", "d", "e", "f"):
        assert await votes.vote(voter, EVENT) is True
    assert await approvals(client) == 1
    assert (await client.document(f"approved/{EVENT.id}").get()).get("data") == b"a\nb"


async def test_events_are_voted_on_apart(client: AsyncClient) -> None:
    votes = approving(client, 2)
    other = StoredEvent("any text/ü", "t", b"")
    assert await votes.vote("a", EVENT) is False
    assert await votes.vote("b", other) is False
    assert await votes.vote("b", EVENT) is True
    assert not await votes.is_processed(other.id)


async def test_nodes_that_vote_at_once_lose_no_vote_and_approve_once(client: AsyncClient) -> None:
    nodes = [approving(client, 8) for _ in range(8)]
    results = await asyncio.gather(*(node.vote(str(n), EVENT) for n, node in enumerate(nodes)))
    assert any(results)
    assert await nodes[0].is_processed(EVENT.id)
    assert await approvals(client) == 1


async def test_a_vote_that_meets_contention_counts_all_the_same(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    votes = approving(local_client, 1, clock=clock)
    emulator.faults.add(Fault(rpc="Commit", error="ABORTED", times=3))
    assert await while_advancing(clock, votes.vote("a", EVENT)) is True
    assert await approvals(local_client) == 1
    emulator.faults.add(Fault(rpc="Commit", error="ABORTED", times=1_000))
    other = StoredEvent("other", "t", b"")
    with pytest.raises(ContentionError):
        await while_advancing(clock, votes.vote("a", other))
    emulator.faults.clear()
    assert await votes.vote("a", other) is True


async def test_an_approved_event_is_not_stored_any_more(client: AsyncClient) -> None:
    votes = approving(client, 1)
    store = EventStore(client.document("sources/1"), votes=votes)
    await votes.vote("a", EVENT)
    assert await store.store(EVENT.data, EVENT.event_type) == EVENT.id
    assert await store.get_events() == []


async def test_a_failing_approval_is_raised_and_the_next_vote_tries_again(client: AsyncClient) -> None:
    broken = True

    async def on_approved(transaction: Transaction, event: StoredEvent) -> None:
        transaction.set(client.document("approved/1"), {"voted": True})
        if broken:
            raise KeyError("mine")

    votes = QuorumVotes(EventBox(client), client.document("votes/1"), threshold=2, on_approved=on_approved)
    await votes.vote("a", EVENT)
    with pytest.raises(KeyError):
        await votes.vote("b", EVENT)
    assert not await votes.is_processed(EVENT.id)
    assert not (await client.document("approved/1").get()).exists
    broken = False
    assert await votes.vote("b", EVENT) is True
    assert (await client.document("approved/1").get()).exists


async def test_a_vote_that_another_one_counts_meanwhile_is_told_of_the_approval(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    one, other = approving(local_client, 2, clock=clock), approving(local_client, 2, clock=clock)
    emulator.faults.add(Fault(rpc="RunQuery", latency=timedelta(seconds=1)))
    late = asyncio.create_task(other.vote("b", EVENT))  # has loaded the state, and is to list the votes
    await sent(emulator, "RunQuery")
    assert await one.vote("a", EVENT) is True
    assert await while_advancing(clock, late) is True
    assert await approvals(local_client) == 1


async def test_a_skipped_approval_is_none_and_the_next_vote_tries_again(client: AsyncClient) -> None:
    skipping = True

    async def on_approved(transaction: Transaction, event: StoredEvent) -> None:
        if skipping:
            raise SkipTransition

    votes = QuorumVotes(EventBox(client), client.document("votes/1"), threshold=1, on_approved=on_approved)
    assert await votes.vote("a", EVENT) is False
    assert not await votes.is_processed(EVENT.id)
    skipping = False
    assert await votes.vote("a", EVENT) is True
    assert await votes.is_processed(EVENT.id)


@pytest.mark.parametrize("when", ["before", "after"])
async def test_lost_answers_approve_once(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, when: Any
) -> None:
    votes = approving(local_client, 2, clock=clock)
    for voter in ("a", "b", "c"):
        emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", when=when, times=2))
        emulator.faults.add(Fault(rpc="BatchWrite", error="UNAVAILABLE", when=when))
        await while_advancing(clock, votes.vote(voter, EVENT))
    assert await approvals(local_client) == 1


async def test_bad_arguments_are_refused_before_anything_is_sent(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    box, ref = EventBox(local_client), local_client.document("votes/1")
    for threshold in (0, -1, 1_001):
        with pytest.raises(ValueError, match="threshold"):
            QuorumVotes(box, ref, threshold=threshold)
    odd: Any
    for odd in ("2", True, None):
        with pytest.raises(TypeError, match="threshold"):
            QuorumVotes(box, ref, threshold=odd)
    with pytest.raises(TypeError, match="box"):
        QuorumVotes(local_client, ref, threshold=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="ref"):
        QuorumVotes(box, "a/b", threshold=1)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="on_approved"):
        QuorumVotes(box, ref, threshold=1, on_approved=1)  # type: ignore[arg-type]
    votes = QuorumVotes(box, ref, threshold=1)
    for voter in ("", "x" * 257):
        with pytest.raises(ValueError, match="voter"):
            await votes.vote(voter, EVENT)
    with pytest.raises(TypeError, match="StoredEvent"):
        await votes.vote("a", b"x")  # type: ignore[arg-type]
    assert not emulator.counts.rpcs
    assert await votes.vote("a", EVENT) is True


async def test_a_vote_whose_commit_nobody_can_tell_of_is_counted_all_the_same(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    votes = approving(local_client, 2, clock=clock)
    emulator.faults.add(Fault(rpc="Commit", latency=timedelta(milliseconds=10)))
    first = asyncio.create_task(votes.vote("a", EVENT))
    await sent(emulator, "Commit")
    # the second loads no tally, since there is none yet, and lists its own vote alone, since the other is counted
    emulator.faults.add(Fault(rpc="RunQuery", latency=timedelta(milliseconds=30)))
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE"))
    second = asyncio.create_task(votes.vote("b", EVENT))
    assert await while_advancing(clock, asyncio.gather(first, second)) == [False, True]
    assert await approvals(local_client) == 1
