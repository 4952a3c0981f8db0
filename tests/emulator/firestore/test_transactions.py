"""Transactions: what they see, who waits for whom, who is aborted, and when they expire."""

from __future__ import annotations

import asyncio
from typing import Any

import hypothesis.strategies as st
import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient, async_transactional
from hypothesis import given, settings

from emulator.firestore import Emulator
from eventbox.testing import ManualClock
from tests.emulator.firestore.sessions import OPTIMISTIC, PESSIMISTIC, Session, settle


@pytest.fixture(params=["pessimistic", "optimistic"])
def either(request: pytest.FixtureRequest) -> AsyncClient:
    return Emulator(concurrency=request.param).client()


async def test_a_writer_waits_for_a_reader_and_later_readers_wait_behind_it(
    local_client: AsyncClient,
) -> None:
    await local_client.document("a/1").set({"n": 1})
    first = await Session(local_client, PESSIMISTIC).begin()
    await first.get("a/1")
    writing = asyncio.create_task(local_client.document("a/1").set({"n": 2}))
    await settle()
    late = await Session(local_client, PESSIMISTIC).begin()
    reading = asyncio.create_task(late.get("a/1"))
    await settle()
    assert not writing.done()
    assert not reading.done()
    await first.commit(("a/1", 5))
    await writing
    assert await reading == 2


async def test_a_plain_read_waits_for_nobody(local_client: AsyncClient) -> None:
    await local_client.document("a/1").set({"n": 1})
    session = await Session(local_client, PESSIMISTIC).begin()
    await session.get("a/1")
    writing = asyncio.create_task(local_client.document("a/1").set({"n": 2}))
    await settle()
    assert (await local_client.document("a/1").get()).to_dict() == {"n": 1}
    await session.rollback()
    await writing


async def test_a_cycle_aborts_the_younger_at_once(local_client: AsyncClient, clock: ManualClock) -> None:
    older, younger = [await Session(local_client, PESSIMISTIC).begin() for _ in range(2)]
    await asyncio.gather(older.get("a/1"), younger.get("a/1"))
    waiting = asyncio.create_task(older.commit(("a/1", 1)))
    await settle()
    assert not waiting.done()
    with pytest.raises(exceptions.Aborted, match="contention"):
        await younger.commit(("a/1", 2))
    await waiting
    assert clock.monotonic() == 0
    with pytest.raises(exceptions.Aborted):
        await younger.get("a/1")


async def test_the_younger_is_aborted_also_where_the_older_closes_the_cycle(
    local_client: AsyncClient,
) -> None:
    older, younger = [await Session(local_client, PESSIMISTIC).begin() for _ in range(2)]
    await asyncio.gather(older.get("a/1"), younger.get("a/1"))
    waiting = asyncio.create_task(younger.commit(("a/1", 2)))
    await settle()
    await older.commit(("a/1", 1))
    with pytest.raises(exceptions.Aborted):
        await waiting


async def test_a_cycle_of_three_is_settled(local_client: AsyncClient) -> None:
    sessions = [await Session(local_client, PESSIMISTIC).begin() for _ in range(3)]
    for n, session in enumerate(sessions):
        await session.get(f"a/{n}")
    commits = [session.commit((f"a/{(n + 1) % 3}", n)) for n, session in enumerate(sessions)]
    results = await asyncio.gather(*commits, return_exceptions=True)
    assert sum(isinstance(result, exceptions.Aborted) for result in results) == 1
    assert isinstance(results[2], exceptions.Aborted)


async def test_a_write_outside_transactions_is_never_aborted(local_client: AsyncClient) -> None:
    one = await Session(local_client, PESSIMISTIC).begin()
    await one.get("a/1")
    batch = local_client.batch()
    batch.set(local_client.document("a/1"), {"n": 1})
    batch.set(local_client.document("a/2"), {"n": 1})
    waiting = asyncio.create_task(batch.commit())
    await settle()
    # it waits for us and holds nothing, so we go first on what it wants next
    assert await one.get("a/2") is None
    await one.commit(("a/2", 2))
    await waiting
    assert (await local_client.document("a/2").get()).to_dict() == {"n": 1}


async def test_one_that_is_tried_again_keeps_its_place_in_line(local_client: AsyncClient) -> None:
    first, second = [await Session(local_client, PESSIMISTIC).begin() for _ in range(2)]
    await asyncio.gather(first.get("a/1"), second.get("a/1"))
    waiting = asyncio.create_task(first.commit(("a/1", 1)))
    await settle()
    with pytest.raises(exceptions.Aborted):
        await second.commit(("a/1", 2))
    await waiting
    again = await Session(local_client, {"read_write": {"retry_transaction": second.id}}).begin()
    await again.get("a/1")
    newcomer = await Session(local_client, PESSIMISTIC).begin()
    reading = asyncio.create_task(newcomer.get("a/1"))
    await settle()
    assert not reading.done()
    await again.commit(("a/1", 2))
    await reading


@pytest.mark.parametrize("options", [PESSIMISTIC, OPTIMISTIC])
@pytest.mark.parametrize("change", ["enters", "leaves", "differs", "deleted"])
async def test_a_query_conflicts_with_what_enters_or_leaves_its_result(
    local_client: AsyncClient, options: Any, change: str
) -> None:
    await local_client.document("a/1").set({"n": 5})
    session = await Session(local_client, options).begin()
    assert await session.query("a", 5) == 1

    async def interfere() -> None:
        match change:
            case "enters":
                await local_client.document("a/2").set({"n": 7})
            case "leaves":
                await local_client.document("a/1").set({"n": 0})
            case "differs":
                await local_client.document("a/1").update({"other": 1})
            case _:
                await local_client.document("a/1").delete()

    interfering = asyncio.create_task(interfere())
    await settle()
    if options is PESSIMISTIC:
        assert not interfering.done()
        await session.commit(("b/1", 1))
        await interfering
    else:
        await interfering
        with pytest.raises(exceptions.Aborted):
            await session.commit(("b/1", 1))


@pytest.mark.parametrize("options", [PESSIMISTIC, OPTIMISTIC])
async def test_a_query_does_not_conflict_with_what_it_does_not_ask(
    local_client: AsyncClient, options: Any
) -> None:
    session = await Session(local_client, options).begin()
    await session.query("a", 5)
    await local_client.document("a/1").set({"n": 4})
    await local_client.document("b/1").set({"n": 6})
    await session.commit(("c/1", 1))


@pytest.mark.parametrize("options", [PESSIMISTIC, OPTIMISTIC, {"read_only": {}}])
async def test_the_reads_of_a_transaction_have_one_read_time(local_client: AsyncClient, options: Any) -> None:
    for path in ("a/1", "a/2", "b/1"):
        await local_client.document(path).set({"n": 1})
    session = await Session(local_client, options).begin()
    first = await session.read("a/1")
    await local_client.document("c/1").set({"n": 2})  # which it does not read
    assert (await session.read("a/2")).read_time == first.read_time
    assert await session.query_time("b") == first.read_time


async def test_a_pessimistic_transaction_reads_what_has_changed_since_as_of_now(
    local_client: AsyncClient,
) -> None:
    for path in ("a/1", "b/1"):
        await local_client.document(path).set({"n": 1})
    session = await Session(local_client, PESSIMISTIC).begin()
    first = await session.read("a/1")
    written = await local_client.document("b/1").set({"n": 2})
    second = await session.read("b/1")
    assert second.found.fields["n"].integer_value == 2
    assert second.read_time.ToNanoseconds() >= written.update_time.timestamp_pb().ToNanoseconds()
    assert second.read_time.ToNanoseconds() > first.read_time.ToNanoseconds()
    assert (await session.read("a/1")).read_time == second.read_time
    await session.commit(("a/1", 3))


async def test_an_optimistic_transaction_reads_a_snapshot_and_loses_to_whoever_changed_it(
    local_client: AsyncClient,
) -> None:
    await local_client.document("a/1").set({"n": 1})
    await local_client.document("a/2").set({"n": 1})
    session = await Session(local_client, OPTIMISTIC).begin()
    assert await session.get("a/1") == 1
    await local_client.document("a/2").set({"n": 2})
    assert await session.get("a/2") == 1
    with pytest.raises(exceptions.Aborted):
        await session.commit(("a/3", 1))
    assert not (await local_client.document("a/3").get()).exists


async def test_an_optimistic_commit_waits_for_those_who_have_locked_what_it_writes(
    local_client: AsyncClient,
) -> None:
    reader = await Session(local_client, PESSIMISTIC).begin()
    await reader.get("a/1")
    writer = await Session(local_client, OPTIMISTIC).begin()
    committing = asyncio.create_task(writer.commit(("a/1", 1)))
    await settle()
    assert not committing.done()
    await reader.rollback()
    await committing


async def test_a_read_only_transaction_reads_at_its_time_and_cannot_write(local_client: AsyncClient) -> None:
    ref = local_client.document("a/1")
    then = (await ref.set({"n": 1})).update_time
    await ref.set({"n": 2})
    options = {"read_only": {"read_time": then.timestamp_pb()}}
    session = await Session(local_client, options).begin()
    assert await session.get("a/1") == 1
    with pytest.raises(exceptions.InvalidArgument, match="read-only"):
        await session.commit(("a/1", 3))


async def test_an_id_that_means_nothing_is_an_invalid_argument(
    local_client: AsyncClient, emulator: Emulator
) -> None:
    finished = await Session(local_client).begin()
    await finished.commit()
    unknown = Session(local_client)
    unknown.id = b"unknown"
    foreign = await Session(emulator.client(project="other")).begin()
    foreign._client = local_client
    for session in (finished, unknown, foreign):
        with pytest.raises(exceptions.InvalidArgument, match="no longer valid"):
            await session.get("a/1")
        with pytest.raises(exceptions.InvalidArgument, match="no longer valid"):
            await session.commit(("a/1", 1))
    await finished.rollback()
    with pytest.raises(exceptions.InvalidArgument):
        await unknown.rollback()


async def test_200_clients_that_increment_one_document_all_finish(clock: ManualClock) -> None:
    client = Emulator(clock=clock).client()
    ref = client.document("counters/1")
    await ref.set({"n": 0})

    @async_transactional
    async def increment(transaction: Any) -> None:
        snapshot = await ref.get(transaction=transaction)
        transaction.update(ref, {"n": snapshot.get("n") + 1})

    await asyncio.gather(*(increment(client.transaction()) for _ in range(200)))
    assert (await ref.get()).to_dict() == {"n": 200}
    assert clock.monotonic() == 0


OPERATIONS = st.lists(
    st.tuples(st.integers(0, 3), st.sampled_from(["get", "query"]), st.integers(0, 2)),
    min_size=1,
    max_size=14,
)


@given(OPERATIONS, st.sampled_from(["pessimistic", "optimistic"]), st.permutations(range(4)))
@settings(max_examples=150)
def test_every_history_is_explained_by_the_order_of_the_commits(
    operations: Any, concurrency: Any, order: Any
) -> None:
    """Each transaction reads some documents and writes what it has read, and its own number, into another."""

    async def play() -> None:
        client = Emulator(concurrency=concurrency, clock=ManualClock()).client()
        sessions = [await Session(client).begin() for _ in range(4)]
        reads: list[list[tuple[str, int, Any]]] = [[] for _ in sessions]

        async def read(n: int, kind: str, at: int) -> None:
            session = sessions[n]
            found = await session.get(f"a/{at}") if kind == "get" else await session.query("a", at)
            reads[n].append((kind, at, found))

        tasks: list[asyncio.Task[Any]] = []
        tails: dict[int, asyncio.Task[Any]] = {}

        def then(n: int, step: Any) -> None:
            async def after(previous: Any) -> None:
                if previous is not None:
                    await previous
                await step()

            tails[n] = asyncio.create_task(after(tails.get(n)))
            tasks.append(tails[n])

        committed: list[int] = []

        async def commit(n: int) -> None:
            await sessions[n].commit((f"a/{n % 3}", 10 + n))
            committed.append(n)

        for n, kind, at in operations:
            then(n, lambda n=n, kind=kind, at=at: read(n, kind, at))
            await settle()
        for n in order:
            then(n, lambda n=n: commit(n))
            await settle()
        results = await asyncio.gather(*tasks, return_exceptions=True)
        assert all(r is None or isinstance(r, exceptions.Aborted) for r in results), results
        state: dict[int, int] = {}
        for n in committed:
            for kind, at, found in reads[n]:
                if kind == "get":
                    assert found == state.get(at)
                else:
                    assert found == sum(value >= at for value in state.values())
            state[n % 3] = 10 + n
        stored = {int(s.id): s.get("n") async for s in client.collection("a").stream()}
        assert stored == state
        assert committed, "somebody always wins"

    asyncio.run(play())
