"""Listen: what a client is told adds up to the result, with nothing told twice."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import grpc
import hypothesis.strategies as st
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient, Client, FieldFilter
from hypothesis import given, settings

from emulator.firestore import Emulator, Fault, protos
from emulator.firestore.query import Query
from eventbox.testing import ManualClock
from tests.emulator.firestore.listening_client import ListeningClient
from tests.fronts import connect

_Op = protos.StructuredQuery.FieldFilter.Operator


def query(
    collection: str = "c", at_least: int | None = None, limit: int = 0, offset: int = 0, group: bool = False
) -> Any:
    structured = protos.StructuredQuery(offset=offset)
    structured.from_.add(collection_id=collection, all_descendants=group)
    if at_least is not None:
        compared = structured.where.field_filter
        compared.field.field_path, compared.op = "n", _Op.GREATER_THAN_OR_EQUAL
        compared.value.integer_value = at_least
        structured.order_by.add(direction=2).field.field_path = "n"
    if limit:
        structured.limit.value = limit
    return structured


async def test_a_target_gets_its_result_then_its_changes_and_nothing_else(client: AsyncClient) -> None:
    await client.document("c/1").set({"n": 1})
    await client.document("c/2").set({"n": 2})
    listener = ListeningClient(client)
    await listener.add(7, query(at_least=1))
    assert await listener.snapshot() == [
        "target_change", "document_change", "document_change", "target_change", "target_change",
    ]  # fmt: skip
    kinds = [one.target_change.target_change_type for one in listener.heard if one.HasField("target_change")]
    assert kinds == [1, 3, 0]  # ADD, CURRENT, NO_CHANGE
    assert [one.document_change.document.name[-1] for one in listener.heard[1:3]] == ["2", "1"]
    await client.document("c/0").set({"n": 0})  # does not matter, and is not told
    await client.document("c/3").set({"n": 3})
    assert await listener.snapshot() == ["document_change", "target_change"]
    await client.document("c/1").update({"n": 0})
    assert await listener.snapshot() == ["document_remove", "target_change"]
    await client.document("c/2").delete()
    assert await listener.snapshot() == ["document_delete", "target_change"]
    assert listener.ids(7) == ["c/3"]


async def test_documents_can_be_listened_to_whether_they_exist_or_not(client: AsyncClient) -> None:
    await client.document("c/1").set({"n": 1})
    listener = ListeningClient(client)
    await listener.add(1, documents=["c/1", "c/2"])
    await listener.snapshot()
    assert (listener.ids(1), listener.current) == (["c/1"], {1})
    await client.document("c/2").set({})
    await listener.snapshot()
    assert listener.ids(1) == ["c/1", "c/2"]
    await client.document("c/1").delete()
    await listener.snapshot()
    assert listener.ids(1) == ["c/2"]


async def test_a_change_within_the_same_microsecond_of_the_clock_is_told(local_client: AsyncClient) -> None:
    """The manual clock stands still: commit times rise by a microsecond all the same."""
    listener = ListeningClient(local_client)
    await listener.add(1, documents=["c/1"])
    await listener.add(2, query())
    for n in range(3):
        await listener.snapshot()
        await local_client.document("c/1").set({"n": n})
    await listener.snapshot()
    assert listener.ids(1) == listener.ids(2) == ["c/1"]


async def test_what_came_and_went_before_the_client_was_ready_is_not_told(local_client: AsyncClient) -> None:
    listener = ListeningClient(local_client)
    await listener.add(1, documents=["c/1", "c/2"])
    await listener.add(2, query())
    for _ in range(2):
        await listener.snapshot()
    await local_client.document("c/1").set({})
    await local_client.document("c/1").delete()
    await local_client.document("c/2").set({})
    assert await listener.snapshot() == ["document_change", "target_change"]
    assert listener.ids(1) == listener.ids(2) == ["c/2"]


async def test_a_commit_of_many_documents_is_one_snapshot_of_all_targets(client: AsyncClient) -> None:
    listener = ListeningClient(client)
    await listener.add(1, query("a"))
    await listener.add(2, query("b"))
    await listener.add(3, query("", group=True))
    for _ in range(3):
        await listener.snapshot()
    batch = client.batch()
    for path in ("a/1", "b/1", "b/2"):
        batch.set(client.document(path), {})
    await batch.commit()
    assert await listener.snapshot() == ["document_change"] * 3 + ["target_change"]
    assert [listener.ids(n) for n in (1, 2, 3)] == [["a/1"], ["b/1", "b/2"], ["a/1", "b/1", "b/2"]]


async def test_a_target_that_was_removed_is_told_no_more(client: AsyncClient) -> None:
    listener = ListeningClient(client)
    await listener.add(1, query("a"))
    await listener.snapshot()
    await listener.add(2, query("b"), once=True)
    await listener.snapshot()
    await listener.hear()
    await listener.remove(1)
    await listener.hear()
    assert set(listener.removed) == {1, 2}
    await listener.add(3, query("a"))
    await listener.snapshot()
    await client.document("b/1").set({})
    await client.document("a/1").set({})
    await listener.snapshot()
    assert listener.results.keys() == {3}


async def test_a_malformed_target_is_removed_with_its_cause_and_the_stream_goes_on(
    client: AsyncClient,
) -> None:
    listener = ListeningClient(client)
    await listener.add(1, query("a", limit=-1))
    await listener.hear()
    assert (listener.removed[1].code, listener.removed[1].message) == (3, "limit is negative")
    await listener.add(2, documents=["c"])
    await listener.hear()
    assert listener.removed[2].code == 3
    await listener.add(3)
    await listener.hear()
    assert "structured query or documents" in listener.removed[3].message
    await listener.add(4, query(), resume_token=b"nonsense")
    await listener.hear()
    assert "resume token" in listener.removed[4].message
    selecting = query()
    selecting.select.fields.add(field_path="n")
    await listener.add(5, selecting)
    await listener.hear()
    assert listener.removed[5].message == "'select' clauses are not supported for real-time queries."
    await listener.add(6, query())
    await listener.snapshot()
    assert listener.current == {6}


@pytest.mark.parametrize(
    "request_",
    [
        protos.ListenRequest(),
        protos.ListenRequest(database="projects/p/databases/d"),
        protos.ListenRequest(database="nonsense", remove_target=1),
        protos.ListenRequest(database="projects/p/databases/d", add_target={"target_id": -1}),
    ],
)
async def test_a_malformed_request_ends_the_stream(client: AsyncClient, request_: Any) -> None:
    listener = ListeningClient(client)
    await listener.call.write(request_)
    with pytest.raises(grpc.aio.AioRpcError) as caught:
        await listener.hear()
    assert caught.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert await listener.call.code() is grpc.StatusCode.INVALID_ARGUMENT


async def test_a_target_id_in_use_ends_the_stream_and_one_that_is_left_out_is_assigned(
    client: AsyncClient,
) -> None:
    listener = ListeningClient(client)
    await listener.add(0, query())
    await listener.snapshot()
    assert listener.current == {1}
    await listener.add(1, query())
    with pytest.raises(grpc.aio.AioRpcError, match="in use"):
        await listener.hear()


async def test_a_client_that_comes_back_is_told_what_has_changed_and_the_count(client: AsyncClient) -> None:
    for n in range(20):
        await client.document(f"c/{n}").set({"n": n})
    first = ListeningClient(client)
    await first.add(1, query(at_least=5))
    await first.snapshot()
    first.call.cancel()
    await client.document("c/5").update({"n": 0})
    await client.document("c/6").delete()
    await client.document("c/7").update({"n": 77})
    await client.document("c/0").update({"n": 100})
    second = ListeningClient(client)
    second.results = {1: first.results[1]}
    await second.add(1, query(at_least=5), resume_token=first.token)
    heard = await second.snapshot()
    assert sorted(heard[1:-3]) == ["document_change", "document_change", "document_delete", "document_remove"]
    assert heard[-3:] == ["filter", "target_change", "target_change"]
    assert len(second.ids(1)) == 14


async def test_what_the_history_cannot_tell_any_more_is_told_anew(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    await local_client.document("c/1").set({})
    first = ListeningClient(local_client)
    await first.add(1, query())
    await first.snapshot()
    await local_client.document("c/2").set({})
    await local_client.document("c/1").delete()
    clock.advance(timedelta(hours=2))
    for n in range(5):
        await local_client.document("c/3").set({"n": n})
    second = ListeningClient(local_client)
    second.results = {1: {f"{second.root}/c/1": 0}}
    await second.add(1, query(), resume_token=first.token)
    await second.snapshot()
    assert second.ids(1) == ["c/2", "c/3"]
    assert second.heard[1].target_change.target_change_type == 4  # RESET
    # the first stream was there all the time, but has not read: it is told anew as well
    await first.snapshot_at(second.read_time)
    assert first.ids(1) == ["c/2", "c/3"]


async def test_an_idle_target_is_not_told_anew_after_an_hour(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    await local_client.document("c/1").set({})
    listener = ListeningClient(local_client)
    await listener.add(1, query())
    await listener.snapshot()
    clock.advance(timedelta(hours=2))
    for n in range(5):
        await local_client.document("d/1").set({"n": n})
    await local_client.document("c/2").set({})
    assert await listener.snapshot() == ["document_change", "target_change"]


async def test_a_collection_that_has_gone_with_all_that_was_known_of_it_is_told_anew(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    await local_client.document("c/1").set({})
    await local_client.document("d/1").set({})
    slow, back = ListeningClient(local_client), ListeningClient(local_client)
    targets: dict[int, dict[str, Any]] = {
        1: {"query": query()},
        2: {"query": query(group=True)},
        3: {"documents": ["c/1"]},
    }
    for target_id, target in targets.items():
        await slow.add(target_id, **target)
        await slow.snapshot()
    await local_client.document("c/1").delete()
    clock.advance(timedelta(hours=2))
    for n in range(5):
        await local_client.document("d/1").set({"n": n})
    for target_id, target in targets.items():
        back.results[target_id] = dict(slow.results[target_id])
        await back.add(target_id, resume_token=slow.token, **target)
        await back.snapshot()
        assert back.ids(target_id) == []
    await slow.snapshot()
    assert [slow.ids(target_id) for target_id in targets] == [[], [], []]


async def test_a_change_in_a_group_costs_no_look_at_all_collections(
    emulator: Emulator, local_client: AsyncClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(200):
        await local_client.document(f"d/{n}/d/1").set({})
    listener = ListeningClient(local_client)
    await listener.add(1, query(group=True))
    await listener.snapshot()
    asked = 0
    covers = Query.covers

    def counting(query: Query, name: str) -> bool:
        nonlocal asked
        asked += 1
        return covers(query, name)

    monkeypatch.setattr(Query, "covers", counting)
    await local_client.document("d/1/c/1").set({})
    await listener.snapshot()
    assert listener.ids(1) == ["d/1/c/1"]
    assert asked < 20


async def test_a_token_of_another_emulator_in_the_same_moment_is_told_anew(clock: ManualClock) -> None:
    one, other = Emulator(clock=clock).client(), Emulator(clock=clock).client()
    await one.document("c/1").set({})
    await other.document("c/2").set({})
    first, second = ListeningClient(one), ListeningClient(other)
    await first.add(1, query())
    await first.snapshot()
    second.results = {1: dict(first.results[1])}
    await second.add(1, query(), resume_token=first.token)
    await second.snapshot()
    assert second.ids(1) == ["c/2"]


async def test_a_token_of_a_great_many_digits_is_invalid(local_client: AsyncClient) -> None:
    listener = ListeningClient(local_client)
    await listener.add(1, query())
    await listener.snapshot()
    life = listener.token.partition(b":")[0]
    for target_id, token in ((2, life + b":" + b"1" * 5_000), (3, b"1" * 5_000 + b":1")):
        await listener.add(target_id, query(), resume_token=token)
        await listener.hear()
        assert listener.removed[target_id].code == grpc.StatusCode.INVALID_ARGUMENT.value[0]


async def test_a_target_id_is_assigned_beside_the_highest(local_client: AsyncClient) -> None:
    listener = ListeningClient(local_client)
    for target_id in (2**31 - 1, 0, 0):
        await listener.add(target_id, query())
        await listener.snapshot()
    assert sorted(listener.results) == [1, 2, 2**31 - 1]


async def test_a_token_of_another_emulator_is_told_anew() -> None:
    tokens = []
    for _ in range(2):
        client = Emulator(clock=ManualClock()).client() if not tokens else Emulator().client()
        listener = ListeningClient(client)
        await listener.add(1, query(), resume_token=tokens[-1] if tokens else b"")
        await listener.snapshot()
        tokens.append(listener.token)
    assert [one.target_change.target_change_type for one in listener.heard] == [1, 4, 3, 0]


async def test_each_document_that_is_told_is_a_read(emulator: Emulator, local_client: AsyncClient) -> None:
    listener = ListeningClient(local_client)
    await listener.add(1, query())
    await listener.snapshot()
    assert emulator.counts.reads == 1
    await local_client.document("c/1").set({})
    await listener.snapshot()
    assert emulator.counts.reads == 2
    assert emulator.counts.rpcs["Listen"] == 1


async def test_nothing_is_kept_for_a_stream_that_was_given_up(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    listener = ListeningClient(local_client)
    await listener.add(1, query())
    await listener.add(2, query("", group=True))
    await listener.add(3, documents=["a/1"])
    for _ in range(3):
        await listener.snapshot()
    listener.call.cancel()
    with pytest.raises(asyncio.CancelledError):
        await listener.hear()
    watchers = emulator._service._watchers
    assert not watchers._by_path
    assert not watchers._by_group


async def test_a_fault_meets_the_stream_as_it_opens(emulator: Emulator, local_client: AsyncClient) -> None:
    emulator.faults.add(Fault(rpc="Listen", error="UNAVAILABLE"))
    with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
        await ListeningClient(local_client).hear()


NUMBERS = st.integers(0, 4)
STEPS = st.lists(
    st.tuples(st.sampled_from("abcdef"), NUMBERS | st.none())  # write, or delete
    | st.sampled_from(["hear", "resume"]),
    max_size=25,
)


@given(STEPS, st.integers(0, 3), st.integers(0, 2), st.none() | NUMBERS)
@settings(max_examples=100)
def test_what_a_client_is_told_is_what_the_query_finds(
    steps: list[Any], limit: int, offset: int, at_least: int | None
) -> None:
    """However changes, readings and interruptions follow each other; a client that reads late is told the same."""

    async def run() -> None:
        client = Emulator(clock=ManualClock()).client()
        targets = {1: query(at_least=at_least, limit=limit, offset=offset), 2: query(at_least=at_least)}
        listener = ListeningClient(client)
        for target_id, asked in targets.items():
            await listener.add(target_id, asked)
            await listener.snapshot()
        for turn, step in enumerate([*steps, "hear"]):
            if step == "resume":
                listener.call.cancel()
                old, listener = listener, ListeningClient(client)
                for target_id, asked in targets.items():
                    listener.results[target_id] = old.results[target_id]
                    await listener.add(target_id, asked, resume_token=old.token)
                    await listener.snapshot()
            elif step == "hear":
                await client.document("c/last").set({"n": 9, "turn": turn})
                now = (await client.document("c/last").get()).read_time
                await listener.snapshot_at(now.timestamp_pb())
                for target_id, asked in targets.items():
                    assert listener.ids(target_id) == sorted(await found(client, asked))
            else:
                id, n = step
                await (
                    client.document(f"c/{id}").delete()
                    if n is None
                    else client.document(f"c/{id}").set({"n": n})
                )
        listener.call.cancel()

    asyncio.run(run())


async def found(client: AsyncClient, structured: Any) -> list[str]:
    request = {"parent": f"{client._database_string}/documents", "structured_query": structured}
    stream = await client._firestore_api.run_query(request=request)
    return [one.document.name.partition("/documents/")[2] async for one in stream if "document" in one]


@pytest.fixture(params=["in_process", "grpc"])
async def watching(request: pytest.FixtureRequest) -> Any:
    """google's synchronous client, whose `on_snapshot` runs in threads."""
    emulator = Emulator()
    if request.param == "in_process":
        yield emulator.sync_client()
        return
    async with emulator.serving("127.0.0.1:0") as address, connect(address):
        channel = grpc.insecure_channel(address)
        from google.cloud.firestore_v1.services.firestore import FirestoreClient
        from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcTransport

        client = Client(project="demo", credentials=AnonymousCredentials())
        client._firestore_api_internal = FirestoreClient(transport=FirestoreGrpcTransport(channel=channel))
        yield client
        channel.close()


async def test_on_snapshot_of_googles_client_works(watching: Client) -> None:
    await asyncio.to_thread(_watch, watching)


def _watch(client: Client) -> None:
    heard: queue.Queue[Any] = queue.Queue()

    def later() -> Iterator[Any]:
        while True:
            yield heard.get(timeout=30)

    told = later()
    cells = client.collection("cells")
    large = cells.where(filter=FieldFilter("n", ">", 1)).order_by("n", direction="DESCENDING").limit(2)
    watch = large.on_snapshot(lambda docs, changes, time: heard.put({one.id for one in docs}))
    assert next(told) == set()  # sets: google's client gets descending orders wrong
    batch = client.batch()
    for n in range(5):
        batch.set(cells.document(str(n)), {"n": n})
    batch.commit()
    assert next(told) == {"4", "3"}
    cells.document("4").delete()
    assert next(told) == {"3", "2"}
    cells.document("3").update({"x": 1})
    assert next(told) == {"3", "2"}
    watch.unsubscribe()

    watch = cells.document("1").on_snapshot(
        lambda docs, changes, time: heard.put([one.to_dict() for one in docs])
    )
    assert next(told) == [{"n": 1}]
    cells.document("1").update({"n": 11})
    assert next(told) == [{"n": 11}]
    cells.document("1").delete()
    assert next(told) == []
    watch.unsubscribe()


async def test_a_listener_is_told_when_everything_is_cleared(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    await local_client.document("c/1").set({})
    listener = ListeningClient(local_client)
    await listener.add(1, query())
    await listener.snapshot()
    emulator.clear("demo")
    await listener.snapshot()
    assert listener.ids(1) == []
    await local_client.document("c/2").set({})
    await listener.snapshot()
    emulator.clear()
    await local_client.document("c/3").set({})
    await listener.snapshot()
    assert listener.ids(1) == ["c/3"]


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_stream_can_be_cut(emulator: Emulator, local_client: AsyncClient, after: int) -> None:
    await local_client.document("c/1").set({})
    emulator.faults.add(Fault(rpc="Listen", error="UNAVAILABLE", when="cut", after_messages=after))
    listener = ListeningClient(local_client)
    with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
        await listener.add(1, query())
        await listener.snapshot()
    assert len(listener.heard) == after
