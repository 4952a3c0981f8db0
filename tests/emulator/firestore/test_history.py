"""What is kept of the past, and that nothing else is kept."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from google.api_core import exceptions
from google.cloud.firestore import AsyncClient, FieldFilter

from emulator.firestore import Emulator
from emulator.firestore.versions import Version
from tests.emulator.firestore.sessions import OPTIMISTIC, Session


@pytest.mark.parametrize("asks", [False, True], ids=["documents", "query"])
async def test_an_optimistic_transaction_that_is_older_than_the_history_cannot_commit(
    emulator: Emulator, local_client: AsyncClient, asks: bool
) -> None:
    await local_client.document("a/1").set({"n": 1})
    session = await Session(local_client, OPTIMISTIC).begin()
    if asks:
        assert await session.query("a", 0) == 1
    else:
        assert await session.get("a/1") == 1
    await local_client.document("a/1").delete()
    emulator._service._store._history_bytes = 0  # as after half a gigabyte of overwrites
    for n in range(5):
        await local_client.document("b/1").set({"n": n})
    with pytest.raises(exceptions.Aborted):
        await session.commit(("a/2", 1))
    assert not (await local_client.document("a/2").get()).exists


async def test_no_document_stays_decoded(emulator: Emulator, local_client: AsyncClient) -> None:
    refs = [local_client.document(f"a/{n}") for n in range(5)]
    for n, ref in enumerate(refs):
        await ref.set({"n": n})
    then = (await refs[0].get()).read_time
    session = await Session(local_client, OPTIMISTIC).begin()
    await session.query("a", 0)

    for n, ref in enumerate(refs):
        await ref.update({"n": n})  # changes nothing
    assert not list(decoded(emulator))

    batch = local_client.batch()
    for ref in (*refs, local_client.document("a/missing")):
        batch.update(ref, {"n": 10})
    with pytest.raises(exceptions.NotFound):
        await batch.commit()
    assert not list(decoded(emulator))

    for n, ref in enumerate(refs):
        await ref.update({"n": n - 10})
    with pytest.raises(exceptions.Aborted):
        await session.commit(("b/1", 1))
    assert not list(decoded(emulator))

    past = local_client.collection("a").where(filter=FieldFilter("n", ">=", 0))
    assert len([one async for one in past.stream(read_time=then)]) == 5
    assert not list(decoded(emulator))


def decoded(emulator: Emulator) -> Iterator[Version]:
    """The versions that keep their message, which takes four times the memory."""
    for version in emulator._service._store._log:
        now: Version | None = version
        while now is not None:
            if now._message is not None:
                yield now
            now = now.previous
