"""The deposits example: killed anywhere, two at once, the balances are the chain's."""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Mapping
from contextlib import aclosing
from pathlib import Path
from random import Random
from typing import Any

import pytest

from emulator.process import EmulatorProcess
from eventbox import listen
from eventbox.sources import EventStore
from tests.fronts import connect

FOLDER = Path(__file__).parents[2] / "examples" / "deposits"
PROJECT = "demo"


@pytest.fixture
def chain_module(monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.syspath_prepend(str(FOLDER))
    from deposits import chain  # type: ignore[import-not-found]

    yield chain
    for name in [name for name in sys.modules if name.partition(".")[0] == "deposits"]:
        del sys.modules[name]


async def start(address: str, chain: Path) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "deposits", str(chain),
        cwd=FOLDER, stdout=asyncio.subprocess.DEVNULL, stderr=asyncio.subprocess.DEVNULL,
        env={
            **os.environ, "FIRESTORE_EMULATOR_HOST": address, "GOOGLE_CLOUD_PROJECT": PROJECT,
            "PYTHONPATH": os.pathsep.join([str(FOLDER), *sys.path]), "GRPC_VERBOSITY": "NONE",
        },
    )  # fmt: skip


async def kill(process: asyncio.subprocess.Process) -> None:
    process.kill()
    await process.wait()
    process._transport.close()  # type: ignore[attr-defined]


@pytest.mark.slow
async def test_the_balances_are_the_chains(tmp_path: Path, chain_module: Any) -> None:
    path, rng, chain = tmp_path / "chain.json", Random(1), chain_module.Chain(seed=7)
    async with EmulatorProcess() as emulator, connect(emulator.address, PROJECT) as client:
        store = EventStore(client.document("sources/deposits"))
        processes = [await start(emulator.address, path) for _ in range(2)]
        try:
            for _ in range(3):
                known = len(await store.get_events())
                for _ in range(12):
                    chain.step()
                    chain_module.write(path, chain.blocks)
                await until(
                    store.ref.collection("eventbox_store"), lambda held, known=known: len(held) > known
                )
                victim = rng.randrange(2)
                await kill(processes[victim])
                processes[victim] = await start(emulator.address, path)
            chain.seal()
            chain_module.write(path, chain.blocks)
            expected = chain_module.balances(chain.blocks)
            await until(client.collection("accounts"), lambda accounts: balances(accounts) == expected)
            events = await store.get_events()
            assert len(events) == sum(len(block.deposits) for block in chain.blocks)
            assert all(event.received for event in events)
        finally:
            for process in processes:
                await kill(process)


async def until(collection: Any, condition: Callable[[Mapping[str, Any]], bool]) -> None:
    """Return once it is so of the collection's documents."""
    async with asyncio.timeout(60), aclosing(listen(collection)) as snapshots:
        async for snapshot in snapshots:
            if condition(snapshot.documents):
                return


def balances(accounts: Mapping[str, Any]) -> dict[str, int]:
    return {one.id: one.get("balance") for one in accounts.values()}


def test_a_chain_is_the_same_for_the_same_seed_and_is_reorganised(tmp_path: Path, chain_module: Any) -> None:
    one, other = chain_module.Chain(1), chain_module.Chain(1)
    seen = set()
    for _ in range(50):
        one.step()
        other.step()
        seen.update(block.hash for block in one.blocks)
    assert one.blocks == other.blocks
    assert len(seen) > len(one.blocks)
    chain_module.write(tmp_path / "chain.json", one.blocks)
    assert chain_module.read(tmp_path / "chain.json") == one.blocks
    assert chain_module.read(tmp_path / "missing.json") == []
