"""An emulator that was begun anew on its folder: what a client has kept of a transaction is nobody's any more."""

from __future__ import annotations

from pathlib import Path

import pytest
from google.api_core.exceptions import InvalidArgument
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator


async def begun(client: AsyncClient) -> bytes:
    """The ID of a new transaction."""
    response = await client._firestore_api.begin_transaction(request={"database": client._database_string})
    return bytes(response.transaction)


async def test_no_transaction_of_another_life_bears_its_id(tmp_path: Path) -> None:
    before = Emulator(data_dir=tmp_path)
    kept = await begun(before.client())
    before.close()
    after = Emulator(data_dir=tmp_path)
    client = after.client()
    others = await begun(client)
    assert others != kept
    request = {"database": client._database_string, "transaction": kept}
    with pytest.raises(InvalidArgument, match="no longer valid"):
        await client._firestore_api.commit(request=request)
    await client._firestore_api.commit(request={**request, "transaction": others})
    after.close()


async def test_in_memory_the_seed_alone_makes_them() -> None:
    assert await begun(Emulator(seed=3).client()) == await begun(Emulator(seed=3).client())
