"""The fixtures for other projects' tests, in a project of their own."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

CONFTEST = 'pytest_plugins = ["emulator.pytest_plugin"]\n'

SETTINGS = """
[pytest]
asyncio_mode = auto
asyncio_default_fixture_loop_scope = function
filterwarnings = error
"""

TESTS = """
import pytest
from google.auth.credentials import AnonymousCredentials
from google.cloud import firestore


@pytest.mark.parametrize("run", range(2))
async def test_the_asynchronous_client_has_an_empty_firestore(firestore_client, run):
    ref = firestore_client.document("cities/bern")
    assert not (await ref.get()).exists
    await ref.set({})


def test_the_clients_share_their_data(firestore_emulator, firestore_sync_client):
    firestore_sync_client.document("cities/bern").set({})
    assert firestore_emulator.counts.writes == 1


@pytest.mark.parametrize("run", range(2))
def test_code_that_makes_its_client_has_an_empty_firestore(firestore_emulator_host, run):
    client = firestore.Client(project="demo", credentials=AnonymousCredentials())
    assert not client.document("cities/bern").get().exists
    client.document("cities/bern").set({})
    client.close()


@pytest.mark.parametrize("run", range(2))
async def test_tasks_run_when_the_test_says_so(tasks_emulator, tasks_client, run):
    paths = []

    async def worker(scope, receive, send):
        paths.append(scope["path"])
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body"})

    tasks_emulator.mount("http://worker", worker)
    queue = tasks_emulator.create_queue("default")
    task = {"name": f"{queue}/tasks/t", "http_request": {"url": "http://worker/run"}}
    await tasks_client.create_task(parent=queue, task=task)
    assert paths == []
    assert await tasks_emulator.drain() == 1
    assert paths == ["/run"]
"""


def test_the_fixtures_work_in_another_project(tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(CONFTEST)
    (tmp_path / "test_cities.py").write_text(TESTS)
    (tmp_path / "pytest.ini").write_text(SETTINGS)
    run = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "7 passed" in run.stdout
