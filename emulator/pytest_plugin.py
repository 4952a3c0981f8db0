"""Fixtures for pytest. Put into your conftest.py:

    pytest_plugins = ["emulator.pytest_plugin"]

`firestore_emulator` is an empty Firestore in the process of the test, new for each, with `firestore_client` and
`firestore_sync_client` on it. `firestore_emulator_host` is for code that makes its own client: it sets
FIRESTORE_EMULATOR_HOST to an emulator process that all tests share, emptied for each.

`tasks_emulator` is a Cloud Tasks without queues in the process of the test, new for each, with `tasks_client` on it.
It dispatches when the test says so: `await tasks_emulator.drain()`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from typing import TYPE_CHECKING

import pytest
from google.cloud.firestore import AsyncClient, Client

from emulator.firestore import Emulator
from emulator.process import EmulatorProcess

if TYPE_CHECKING:  # whoever has no tasks need not wait for their imports
    from google.cloud.tasks_v2 import CloudTasksAsyncClient

    from emulator.tasks import TasksEmulator


@pytest.fixture
def firestore_emulator() -> Iterator[Emulator]:
    """An empty Firestore in process."""
    emulator = Emulator()
    yield emulator
    emulator.close()


@pytest.fixture
def firestore_client(firestore_emulator: Emulator) -> AsyncClient:
    """google's asynchronous client of `firestore_emulator`, without a socket."""
    return firestore_emulator.client()


@pytest.fixture
def firestore_sync_client(firestore_emulator: Emulator) -> Client:
    """google's synchronous client of `firestore_emulator`, without a socket."""
    return firestore_emulator.sync_client()


@pytest.fixture
def tasks_emulator() -> Iterator[TasksEmulator]:
    """A Cloud Tasks in process, without queues: `create_queue` makes them, and `mount` puts workers in."""
    from emulator.tasks import TasksEmulator

    emulator = TasksEmulator()
    yield emulator
    emulator.close()


@pytest.fixture
def tasks_client(tasks_emulator: TasksEmulator) -> CloudTasksAsyncClient:
    """google's asynchronous client of `tasks_emulator`, without a socket."""
    return tasks_emulator.client()


class _SharedProcess:
    """An emulator process, called from code without an event loop."""

    def __init__(self) -> None:
        self._runner = asyncio.Runner()
        self._process = EmulatorProcess()
        self._runner.run(self._process.start())
        self.address = self._process.address

    def clear(self) -> None:
        self._runner.run(self._process.clear())

    def stop(self) -> None:
        self._runner.run(self._process.stop())
        self._runner.close()


@pytest.fixture(scope="session")
def _firestore_process() -> Iterator[_SharedProcess]:
    process = _SharedProcess()
    yield process
    process.stop()


@pytest.fixture
def firestore_emulator_host(
    _firestore_process: _SharedProcess, monkeypatch: pytest.MonkeyPatch
) -> Iterator[str]:
    """The address of an emulator process, empty, which google's clients find by FIRESTORE_EMULATOR_HOST."""
    monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", _firestore_process.address)
    yield _firestore_process.address
    _firestore_process.clear()
