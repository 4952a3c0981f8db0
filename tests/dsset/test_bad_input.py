"""What breaks a rule gets an error before any RPC is made."""

from __future__ import annotations

from datetime import datetime, timedelta, timezone
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient

from dsset import DSSet, Item
from emulator.firestore import Emulator

LONG = "x" * 257


@pytest.fixture
def dsset(local_client: AsyncClient) -> DSSet:
    return DSSet(local_client.document("queues/1"))


@pytest.mark.parametrize(
    ("item", "error", "message"),
    [
        (Item("", b""), ValueError, "1 to 256 bytes"),
        (Item(LONG, b""), ValueError, "not 257"),
        (Item("é" * 129, b""), ValueError, "not 258"),
        (Item("\ud800", b""), ValueError, "UTF-8"),
        (Item(7, b""), TypeError, "not int"),  # type: ignore[arg-type]
        (Item(b"a", b""), TypeError, "not bytes"),  # type: ignore[arg-type]
        (Item("a", "text"), TypeError, "must be bytes"),  # type: ignore[arg-type]
        (Item("a", bytearray(b"")), TypeError, "must be bytes"),  # type: ignore[arg-type]
        (Item("a", None), TypeError, "must be bytes"),  # type: ignore[arg-type]
        (Item("a", b"x" * 1_000_001), ValueError, "1,000,001 bytes"),
        (Item("a", b"", datetime(2030, 1, 1)), ValueError, "aware"),
        (
            Item("a", b"", datetime(9999, 12, 31, 23, tzinfo=timezone(timedelta(hours=-5)))),
            ValueError,
            "9999 of UTC",
        ),
        (Item("a", b"", "now"), TypeError, "datetime"),  # type: ignore[arg-type]
        (Item("a", b"", None, {"k": "v" * 5_000}), ValueError, "4,096 bytes"),
        ("a", TypeError, "expected an Item"),
        (("a", b""), TypeError, "expected an Item"),
    ],
)
@pytest.mark.parametrize("in_transaction", [False, True])
async def test_an_item_that_breaks_a_rule_adds_nothing(
    dsset: DSSet,
    emulator: Emulator,
    local_client: AsyncClient,
    item: Any,
    error: Any,
    message: str,
    in_transaction: bool,
) -> None:
    transaction = local_client.transaction() if in_transaction else None
    with pytest.raises(error, match=message):
        await dsset.add([Item("good", b""), item], transaction=transaction)
    assert not emulator.counts.rpcs
    assert transaction is None or transaction._write_pbs == []


@pytest.mark.parametrize("bad", ["", LONG, 7, b"a", None])
async def test_an_id_that_breaks_a_rule_deletes_nothing(dsset: DSSet, emulator: Emulator, bad: Any) -> None:
    with pytest.raises((TypeError, ValueError), match="an ID must"):
        await dsset.delete(["good", bad])
    assert not emulator.counts.rpcs


@pytest.mark.parametrize("bad", ["ab", b"ab", 7, None])
async def test_a_single_id_is_not_taken_for_several(
    dsset: DSSet, emulator: Emulator, local_client: AsyncClient, bad: Any
) -> None:
    await dsset.add([Item("a", b""), Item("b", b"")])
    listing = await dsset.list(10)
    emulator.counts.reset()
    transaction = local_client.transaction()
    with pytest.raises(TypeError, match="ids must be several IDs"):
        await dsset.delete(bad)
    with pytest.raises(TypeError, match="ids must be several IDs"):
        dsset.pop(transaction, listing, bad)
    assert transaction._write_pbs == []
    assert not emulator.counts.rpcs


@pytest.mark.parametrize("bad", [0, -1])
async def test_max_items_must_be_positive(dsset: DSSet, emulator: Emulator, bad: int) -> None:
    with pytest.raises(ValueError, match="max_items must be positive"):
        await dsset.list(bad)
    with pytest.raises(ValueError, match="max_bytes must be positive"):
        await dsset.list(1, max_bytes=bad)
    assert not emulator.counts.rpcs


@pytest.mark.parametrize("bad", [1.5, "1", None, True])
async def test_max_items_must_be_an_int(dsset: DSSet, bad: Any) -> None:
    with pytest.raises(TypeError, match="max_items must be an int"):
        await dsset.list(bad)


def test_a_parent_that_is_no_document_is_refused(local_client: AsyncClient) -> None:
    with pytest.raises(TypeError, match="CollectionReference"):
        DSSet(local_client.collection("queues"))


@pytest.mark.parametrize("name", ["", "a/b", None, "__x__", "."])
def test_a_name_must_be_the_id_of_a_collection(local_client: AsyncClient, name: Any) -> None:
    with pytest.raises(ValueError, match="name must be the ID of a collection"):
        DSSet(local_client.document("queues/1"), name=name)


@pytest.mark.parametrize("delay", [timedelta(0), timedelta(seconds=-1), 24])
def test_the_delay_must_be_a_positive_timedelta(local_client: AsyncClient, delay: Any) -> None:
    with pytest.raises(ValueError, match="tombstones_delay must be a positive timedelta"):
        DSSet(local_client.document("queues/1"), tombstones_delay=delay)


async def test_a_transaction_that_is_none_is_refused(dsset: DSSet) -> None:
    with pytest.raises(TypeError, match="AsyncTransaction"):
        await dsset.add([Item("a", b"")], transaction="x")  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="AsyncTransaction"):
        dsset.pop(None, await dsset.list(1), [])  # type: ignore[arg-type]


async def test_bounds_timeouts_and_metadata_that_make_no_sense_are_refused(
    dsset: DSSet, emulator: Emulator
) -> None:
    with pytest.raises(ValueError, match="at most 2,147,483,647"):
        await dsset.list(2**31)
    with pytest.raises(TypeError, match="timeout must be a timedelta"):
        await dsset.add([Item("a", b"")], timeout=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout must be a timedelta"):
        await dsset.list(1, timeout=5)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="timeout must be a timedelta"):
        await dsset.delete(["a"], timeout=5)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="negative"):
        await dsset.add([Item("a", b"")], timeout=timedelta(-1))
    with pytest.raises(TypeError, match="metadata"):
        await dsset.add([Item("a", b"", None, {"k": 1})])  # type: ignore[dict-item]
    assert not emulator.counts.rpcs


def test_a_set_lies_under_a_document_only(dsset: DSSet) -> None:
    for parent in ("queues/2", None, dsset):
        with pytest.raises(TypeError, match="AsyncDocumentReference"):
            dsset.under(parent)  # type: ignore[arg-type]
