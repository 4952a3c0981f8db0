"""`KV`: scopes that cannot reach each other."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest
from google.cloud.firestore import AsyncClient
from hypothesis import given, strategies as st

from emulator.firestore import Emulator, Fault
from eventbox import EventBox, Transaction
from eventbox.sources import EventStore
from eventbox.sources.kv import KV
from eventbox.testing import ManualClock
from tests.advancing import while_advancing

BYTES = st.one_of(
    st.binary(max_size=6), st.sampled_from([b"", b"\0", b"/", b"a", b"a/", b"a/b", b"__a__", b"\xff"])
)


async def test_values_are_set_and_deleted_in_and_out_of_transactions(client: AsyncClient) -> None:
    kv = EventStore(client.document("sources/1")).kv(b"a")
    assert await kv.get(b"k") is None
    await kv.set(b"k", b"")
    assert await kv.get(b"k") == b""
    await kv.set(b"k", b"1")

    async def count(transaction: Transaction) -> None:
        value = int(await kv.get(b"k", transaction=transaction) or b"0")
        await kv.set(b"k", str(value + 1).encode(), transaction=transaction)
        assert await kv.get(b"missing", transaction=transaction) is None
        await kv.delete(b"missing", transaction=transaction)

    box = EventBox(client)
    await asyncio.gather(*(box.run_in_transaction(count, attempts=50) for _ in range(5)))
    assert await kv.get(b"k") == b"6"
    await kv.delete(b"k")
    await kv.delete(b"k")
    assert await kv.get(b"k") is None


@given(
    st.lists(
        st.tuples(
            BYTES, BYTES, st.one_of(st.none(), st.binary(max_size=4)), st.sampled_from([b"", b"listener"])
        ),
        max_size=30,
    )
)
def test_no_scope_reaches_another(steps: list[tuple[bytes, bytes, bytes | None, bytes]]) -> None:
    async def check() -> None:
        client: AsyncClient = Emulator().client()
        expected: dict[tuple[bytes, bytes, bytes], bytes] = {}
        for prefix, key, value, space in steps:
            kv = KV(client.document("s/1"), prefix, space=space)
            if value is None:
                await kv.delete(key)
                expected.pop((space, prefix, key), None)
            else:
                await kv.set(key, value)
                expected[space, prefix, key] = value
        for prefix, key, _, space in steps:
            kv = KV(client.document("s/1"), prefix, space=space)
            assert await kv.get(key) == expected.get((space, prefix, key))
            items = {item.key: item.value async for item in kv.items()}
            assert items == {k: v for (s, p, k), v in expected.items() if (s, p) == (space, prefix)}
            assert await KV(client.document("s/2"), prefix, space=space).get(key) is None

    asyncio.run(check())


async def test_all_entries_are_listed_page_by_page(local_client: AsyncClient) -> None:
    kv = KV(local_client.document("s/1"), b"a")
    for n in range(205):
        await kv.set(bytes([n]), b"")
    assert len([item async for item in kv.items()]) == 205


async def test_it_retries_what_passes(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    kv = KV(local_client.document("s/1"), b"a", clock=clock)
    for work in (kv.set(b"k", b"v"), kv.get(b"k"), kv.delete(b"k")):
        emulator.faults.add(Fault(rpc="*", error="UNAVAILABLE", times=2))
        await while_advancing(clock, work)


async def test_bad_arguments_are_refused_before_anything_is_sent(
    emulator: Emulator, local_client: AsyncClient
) -> None:
    store = EventStore(local_client.document("s/1"))
    odd: Any
    for odd in ("a", None, bytearray(b"a"), 1):
        with pytest.raises(TypeError, match="prefix must be bytes"):
            store.kv(odd)
        with pytest.raises(TypeError, match="key must be bytes"):
            await store.kv(b"").get(odd)
        with pytest.raises(TypeError, match="value must be bytes"):
            await store.kv(b"").set(b"", odd)
    with pytest.raises(ValueError, match="10,000"):
        store.kv(b"x" * 10_001)
    with pytest.raises(ValueError, match="10,000"):
        await store.kv(b"").delete(b"x" * 10_001)
    with pytest.raises(ValueError, match="900,000"):
        await store.kv(b"").set(b"", b"x" * 900_001)
    with pytest.raises(TypeError, match="transaction"):
        await store.kv(b"").set(b"", b"", transaction=1)  # type: ignore[arg-type]
    assert not emulator.counts.rpcs
    largest = store.kv(b"x" * 10_000)
    await largest.set(b"y" * 10_000, b"z" * 900_000)
    assert await largest.get(b"y" * 10_000) == b"z" * 900_000
