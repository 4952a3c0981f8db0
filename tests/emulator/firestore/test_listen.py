"""Listen: what a client is told adds up to the result, with nothing told twice."""

from __future__ import annotations

import asyncio
import queue
from collections.abc import Iterator
from typing import Any

import grpc
import hypothesis.strategies as st
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore import AsyncClient, Client, FieldFilter
from hypothesis import given, settings

from emulator.firestore import Emulator, Fault, protos
from eventbox.testing import ManualClock
from tests.emulator.firestore.listening_client import ListeningClient, query
from tests.fronts import connect


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
    assert (listener.removed[4].code, listener.removed[4].message) == (3, "bad resume token")
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


@pytest.mark.parametrize("after", [0, 1, 3])
async def test_a_stream_can_be_cut(emulator: Emulator, local_client: AsyncClient, after: int) -> None:
    await local_client.document("c/1").set({})
    emulator.faults.add(Fault(rpc="Listen", error="UNAVAILABLE", when="cut", after_messages=after))
    listener = ListeningClient(local_client)
    with pytest.raises(grpc.aio.AioRpcError, match="UNAVAILABLE"):
        await listener.add(1, query())
        await listener.snapshot()
    assert len(listener.heard) == after
