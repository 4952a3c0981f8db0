from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path

import grpc
import pytest
import pytest_asyncio

from emulator.process import EmulatorProcess


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the process runs in."""
    return tmp_path_factory.mktemp("here")


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def process(folder: Path) -> AsyncIterator[EmulatorProcess]:
    """One process for all tests: what one of them breaks, the others see."""
    process = EmulatorProcess()
    before = Path.cwd()
    os.chdir(folder)
    try:
        await process.start()
    finally:
        os.chdir(before)
    yield process
    await process.stop()


@pytest_asyncio.fixture(loop_scope="module")
async def channel(process: EmulatorProcess) -> AsyncIterator[grpc.aio.Channel]:
    unlimited = [("grpc.max_send_message_length", -1), ("grpc.max_receive_message_length", -1)]
    async with grpc.aio.insecure_channel(process.address, options=unlimited) as channel:
        yield channel
