"""How the emulator's process ends while clients are at it."""

from __future__ import annotations

import grpc
import pytest

from emulator.firestore import protos
from emulator.process import EmulatorProcess
from tests.emulator.firestore.listening_client import ListeningClient
from tests.fronts import connect


async def test_a_process_that_is_stopped_says_nothing_of_its_open_streams(
    capfd: pytest.CaptureFixture[str],
) -> None:
    query = protos.StructuredQuery()
    query.from_.add(collection_id="a")
    async with EmulatorProcess() as process, connect(process.address) as client:
        listeners = [ListeningClient(client) for _ in range(30)]
        for listener in listeners:
            await listener.add(1, query)
            await listener.snapshot()
        await process.stop()
        for listener in listeners:
            with pytest.raises(grpc.aio.AioRpcError) as caught:
                await listener.call.read()
            assert caught.value.code() is grpc.StatusCode.UNAVAILABLE  # so that it comes back
    assert capfd.readouterr().err == ""
