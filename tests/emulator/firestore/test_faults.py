"""Faults by chance, of a duration that varies; requests done twice, and streams that break."""

from __future__ import annotations

import asyncio
import math
import statistics
from datetime import timedelta
from random import Random
from typing import Any

import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient, Client, Increment

from dsset import protos
from dsset.wire import Wire
from emulator.firestore import Emulator, Fault, Latency
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.emulator.firestore.failing import fails

# Chance ---------------------------------------------------------------------------------------------------


async def outcomes(seed: int, *, other: bool = False) -> list[bool]:
    emulator = Emulator(seed=seed)
    client = emulator.client()
    emulator.faults.add(Fault(path="a/1", error="PERMISSION_DENIED", probability=0.3, times=None))
    if other:
        emulator.faults.add(Fault(path="b/1", error="PERMISSION_DENIED", probability=0.5, times=None))
    failed = []
    for _ in range(200):
        failed.append(await fails(client.document("a/1").get()))
        if other:
            await fails(client.document("b/1").get())
    return failed


async def test_chance_goes_by_the_seed_whatever_other_faults_there_are() -> None:
    first = await outcomes(7)
    assert await outcomes(7, other=True) == first
    assert await outcomes(8) != first
    assert 0.2 < sum(first) / len(first) < 0.4


async def test_each_fault_has_a_chance_of_its_own(emulator: Emulator, local_client: AsyncClient) -> None:
    for path in ("a/1", "b/1"):
        emulator.faults.add(Fault(path=path, error="PERMISSION_DENIED", probability=0.5, times=None))
    failed = [[await fails(local_client.document(path).get()) for _ in range(50)] for path in ("a/1", "b/1")]
    assert failed[0] != failed[1]


async def test_an_rpc_that_chance_spares_does_not_use_a_fault_up_and_meets_the_next(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    rare = emulator.faults.add(Fault(error="ABORTED", probability=1e-12))
    emulator.faults.add(Fault(error="PERMISSION_DENIED"))
    assert await fails(local_client.document("a/1").get())
    assert rare.remaining == 1
    assert [one.fault.error for one in emulator.faults] == ["ABORTED"]


SECOND = timedelta(seconds=1)


@pytest.mark.parametrize(
    ("latency", "median", "most"),
    [
        (Latency.uniform(SECOND, 3 * SECOND), 2.0, 3.0),
        (Latency.exponential(SECOND), math.log(2), math.inf),
        (Latency.lognormal(SECOND, 0.5), 1.0, math.inf),
        (Latency.lognormal(SECOND, 0), 1.0, 1.0),
        (Latency.uniform(SECOND, SECOND), 1.0, 1.0),
    ],
)
def test_a_latency_is_drawn_from_its_distribution(latency: Latency, median: float, most: float) -> None:
    rng = Random(5)
    drawn = [latency.draw(rng).total_seconds() for _ in range(4_000)]
    assert statistics.median(drawn) == pytest.approx(median, rel=0.08)
    assert 0 <= min(drawn) <= max(drawn) <= most


def test_no_latency_is_over_a_day() -> None:
    day = timedelta(days=1)
    assert {Latency.lognormal(day, 1e9).draw(Random(n)) for n in range(20)} == {timedelta(0), day}


async def test_each_rpc_waits_for_a_latency_of_its_own(clock: ManualClock) -> None:
    async def waits() -> list[float]:
        clock = ManualClock()
        emulator = Emulator(clock=clock, seed=3)
        emulator.faults.add(Fault(latency=Latency.uniform(timedelta(0), SECOND), times=None))
        times = []
        for _ in range(5):
            before = clock.monotonic()
            await while_advancing(clock, emulator.client().document("a/1").get())
            times.append(clock.monotonic() - before)
        return times

    first = await waits()
    assert len(set(first)) == 5
    assert all(0 <= wait <= 1 for wait in first)
    assert await waits() == first


# Aborted --------------------------------------------------------------------------------------------------


async def assert_free(client: AsyncClient) -> None:
    """Nobody holds a lock on a/1."""
    async with asyncio.timeout(10):
        await client.document("a/1").set({"n": 1})


@pytest.mark.parametrize("latency", [timedelta(0), timedelta(seconds=1)])
async def test_a_transaction_that_is_told_that_it_was_aborted_holds_no_locks(
    emulator: Emulator, either_client: AsyncClient, clock: ManualClock, latency: timedelta
) -> None:
    transaction = either_client.transaction()
    await transaction._begin()
    await either_client.document("a/1").get(transaction=transaction)
    emulator.faults.add(Fault(rpc="Commit", error="ABORTED", latency=latency))
    with pytest.raises(exceptions.Aborted):
        await while_advancing(clock, transaction._commit())
    await assert_free(either_client)


async def test_nor_does_one_of_the_synchronous_client(emulator: Emulator, sync: Client) -> None:
    transaction = sync.transaction()
    transaction._begin()
    sync.document("a/1").get(transaction=transaction)
    emulator.faults.add(Fault(rpc="Commit", error="ABORTED"))
    with pytest.raises(exceptions.Aborted):
        transaction._commit()
    await assert_free(emulator.client())


# Twice ----------------------------------------------------------------------------------------------------


async def test_a_request_done_twice_answers_once(emulator: Emulator, either_client: AsyncClient) -> None:
    ref = either_client.document("a/1")
    await ref.set({"n": 0})
    emulator.counts.reset()
    emulator.faults.add(Fault(rpc="Commit", when="twice"))
    result = await ref.update({"n": Increment(1)})
    snapshot = await ref.get()
    assert snapshot.get("n") == 2
    assert result.update_time < snapshot.update_time
    assert (emulator.counts.rpcs["Commit"], emulator.counts.writes) == (2, 2)


def test_a_request_done_twice_answers_the_synchronous_client_once(emulator: Emulator, sync: Client) -> None:
    emulator.faults.add(Fault(rpc="Commit", when="twice"))
    emulator.faults.add(Fault(rpc="BatchGetDocuments", when="twice"))
    result = sync.document("a/1").set({"n": Increment(1)}, merge=True)
    snapshot = sync.document("a/1").get()
    assert snapshot.get("n") == 2
    assert result.update_time < snapshot.update_time
    assert emulator.counts.rpcs == {"Commit": 2, "BatchGetDocuments": 2}


async def test_what_fails_the_second_time_was_answered_the_first(
    emulator: Emulator, either_client: AsyncClient
) -> None:
    emulator.faults.add(Fault(rpc="Commit", when="twice"))
    await either_client.document("a/1").create({})
    emulator.faults.add(Fault(rpc="Commit", when="twice"))
    with pytest.raises(exceptions.AlreadyExists):
        await either_client.document("a/1").create({})
    assert emulator.counts.rpcs["Commit"] == 4


async def test_the_second_time_comes_after_the_latency(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    ref = local_client.document("a/1")
    emulator.faults.add(Fault(rpc="Commit", when="twice", latency=timedelta(seconds=3)))
    await ref.set({"n": Increment(1)}, merge=True)
    assert (await ref.get()).get("n") == 1
    assert clock.monotonic() == 0
    await while_advancing(clock, clock.sleep(timedelta(seconds=4)))
    assert (await ref.get()).get("n") == 2


async def test_work_that_waits_for_a_lock_is_done_twice_once_it_can_be(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    ref = local_client.document("a/1")
    transaction = local_client.transaction()
    await transaction._begin()
    await ref.get(transaction=transaction)
    emulator.faults.add(Fault(rpc="Commit", when="twice"))
    waiting = asyncio.ensure_future(ref.set({"n": Increment(1)}, merge=True))
    await asyncio.sleep(0)
    assert not waiting.done()
    await transaction._rollback()
    await waiting
    assert (await ref.get()).get("n") == 2


async def test_a_repetition_that_waits_is_done_in_its_turn(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    ref = local_client.document("a/1")
    first, second = (local_client.transaction(max_attempts=1) for _ in range(2))
    for transaction in (first, second):
        await transaction._begin()
    await ref.get(transaction=first)
    emulator.faults.add(Fault(rpc="Commit", when="twice"))
    write = asyncio.ensure_future(ref.set({"n": Increment(1)}, merge=True))
    await asyncio.sleep(0)
    read = asyncio.ensure_future(ref.get(transaction=second))
    await asyncio.sleep(0)
    await first._rollback()
    await write
    assert (await read).get("n") == 1  # the repetition comes behind this reader
    await second._rollback()
    await ref.set({"m": 1}, merge=True)  # and before this one
    assert (await ref.get()).get("n") == 2


def read_alone(client: Any, retried: bytes) -> dict[str, Any]:
    """A read that begins a transaction again, and so locks a/1 for itself alone: what is done twice has to wait."""
    return {
        "database": client._database_string,
        "documents": [f"{client._database_string}/documents/a/1"],
        "new_transaction": {"read_write": {"retry_transaction": retried}},
    }


async def test_a_repetition_that_waits_holds_nobody_up(
    emulator: Emulator, either_client: AsyncClient
) -> None:
    wire = Wire.of(either_client)
    retried = await wire.begin(protos.TransactionOptions())
    await wire.rollback(retried)
    emulator.faults.add(Fault(rpc="BatchGetDocuments", when="twice"))
    read = await either_client._firestore_api.batch_get_documents(read_alone(either_client, retried))
    responses = [response async for response in read]
    write = asyncio.ensure_future(either_client.document("a/1").set({}))
    await wire.rollback(responses[0].transaction)
    emulator.clear()  # ends what was begun again
    await write


def test_a_repetition_that_waits_does_not_hold_the_synchronous_client_up(
    emulator: Emulator, sync: Client
) -> None:
    api, database = sync._firestore_api, sync._database_string
    retried = api.begin_transaction({"database": database}).transaction
    api.rollback({"database": database, "transaction": retried})
    emulator.faults.add(Fault(rpc="BatchGetDocuments", when="twice"))
    responses = list(api.batch_get_documents(read_alone(sync, retried)))
    assert emulator.counts.rpcs["BatchGetDocuments"] == 2
    assert responses[0].transaction
    emulator.clear()  # ends both


# Cut ------------------------------------------------------------------------------------------------------


@pytest.fixture
async def five(emulator: Emulator) -> None:
    for n in range(5):
        await emulator.client().document(f"a/{n}").set({"n": n})


@pytest.mark.parametrize("after", [1, 3, 5, 9])
async def test_a_query_breaks_after_so_many_documents(
    emulator: Emulator, either_client: AsyncClient, after: int
) -> None:
    for n in range(5):
        await either_client.document(f"a/{n}").set({"n": n})
    emulator.faults.add(Fault(rpc="RunQuery", error="PERMISSION_DENIED", when="cut", after_messages=after))
    found = []
    with pytest.raises(exceptions.PermissionDenied, match="fault injected: PERMISSION_DENIED cut RunQuery"):
        async for document in either_client.collection("a").stream():
            found.append(document)  # noqa: PERF401 - it is about what arrived before the error
    assert [document.get("n") for document in found] == list(range(min(after, 5)))
    assert len(await either_client.collection("a").get()) == 5


@pytest.mark.parametrize("after", [0, 3, 5, 9])
def test_a_stream_of_the_synchronous_client_breaks_too(emulator: Emulator, sync: Client, after: int) -> None:
    for n in range(5):
        sync.document(f"a/{n}").set({"n": n})
    emulator.faults.add(Fault(rpc="*", error="PERMISSION_DENIED", when="cut", after_messages=after))
    found = []
    with pytest.raises(exceptions.PermissionDenied):
        for document in sync.get_all([sync.document(f"a/{n}") for n in range(5)]):
            found.append(document)  # noqa: PERF402 - it is about what arrived before the error
    assert [document.get("n") for document in found] == list(range(min(after, 5)))


async def test_a_stream_cut_before_its_first_message_is_tried_again_as_any_first_error(
    emulator: Emulator, either_client: AsyncClient
) -> None:
    await either_client.document("a/1").set({})
    emulator.faults.add(Fault(rpc="BatchGetDocuments", error="UNAVAILABLE", when="cut"))
    fetched = asyncio.ensure_future(either_client.document("a/1").get())
    assert (await fetched).exists
    assert emulator.counts.rpcs["BatchGetDocuments"] == 2


async def test_a_cut_leaves_rpcs_with_one_response_alone(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    fault = emulator.faults.add(Fault(rpc="*", error="PERMISSION_DENIED", when="cut"))
    await local_client.document("a/1").set({})
    assert fault.remaining == 1
    with pytest.raises(exceptions.PermissionDenied):
        await local_client.document("a/1").get()


async def test_a_cut_after_a_latency(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, five: None
) -> None:
    emulator.faults.add(
        Fault(rpc="RunQuery", error="PERMISSION_DENIED", when="cut", after_messages=2, latency=SECOND)
    )
    with pytest.raises(exceptions.PermissionDenied):
        await while_advancing(clock, local_client.collection("a").get())
    assert clock.monotonic() == 1


# Orders that make no sense --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"path": ""}, "path must be"),
        ({"path": "/orders/1"}, "path must be"),
        ({"path": "orders//1"}, "path must be"),
        ({"path": 5}, "path must be"),
        ({"path": "projects/p/databases/d/documents/a/1"}, 'leave out "projects/p/databases/d/documents/"'),
        ({"probability": 0}, "probability must be"),
        ({"probability": 1.1}, "probability must be"),
        ({"probability": math.nan}, "probability must be"),
        ({"probability": "1"}, "probability must be"),
        ({"when": "cut"}, 'when="cut" needs an error'),
        ({"when": "cut", "error": "ABORTED", "rpc": "Commit"}, "Commit has one response"),
        ({"when": "cut", "error": "ABORTED", "after_messages": -1}, "after_messages must be"),
        ({"when": "cut", "error": "ABORTED", "after_messages": 1.5}, "after_messages must be"),
        ({"after_messages": 1, "error": "ABORTED"}, "after_messages goes with"),
        ({"when": "twice", "error": "ABORTED"}, 'when="twice" takes no error'),
        ({"times": True}, "times must be"),
    ],
)
def test_an_order_that_makes_no_sense_is_refused(arguments: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Fault(**arguments)


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: Latency.uniform(2 * SECOND, SECOND), ValueError, "low must not be more than high"),
        (lambda: Latency.uniform(-SECOND, SECOND), ValueError, "low must lie"),
        (lambda: Latency.exponential(5), TypeError, "mean must be a timedelta"),
        (lambda: Latency.exponential(timedelta(days=2)), ValueError, "mean must lie"),
        (lambda: Latency.lognormal(SECOND, -1), ValueError, "sigma must be"),
        (lambda: Latency.lognormal(SECOND, math.inf), ValueError, "sigma must be"),
        (lambda: Latency.lognormal(SECOND, "1"), TypeError, "sigma must be"),
    ],
)
def test_a_distribution_that_makes_no_sense_is_refused(make: Any, error: Any, message: str) -> None:
    with pytest.raises(error, match=message):
        make()


async def test_faults_are_told_in_order_by_ids_that_are_never_used_again(emulator: Emulator) -> None:
    first, second = (emulator.faults.add(Fault(error=code)) for code in ("ABORTED", "INTERNAL"))
    assert [(one.id, one.fault.error) for one in emulator.faults] == [(1, "ABORTED"), (2, "INTERNAL")]
    second.remove()
    first.remove()
    assert list(emulator.faults) == []
    assert emulator.faults.add(Fault(error="ABORTED")).id == 3
