"""How the emulator's process ends while clients are at it."""

from __future__ import annotations

import os
import subprocess
import sys

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


@pytest.mark.parametrize("emulator", ["firestore", "tasks"])
def test_a_process_whose_parent_has_gone_before_it_was_up_ends_without_a_word(emulator: str) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    command = [sys.executable, "-m", "emulator", emulator, "--port", "0"]
    try:
        ended = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=writing,
            stderr=subprocess.PIPE,
            timeout=100,
            check=False,
        )
    finally:
        os.close(writing)
    assert (ended.returncode, ended.stderr) == (1, b"")


@pytest.mark.parametrize("emulator", ["firestore", "tasks"])
def test_a_process_ends_where_nobody_reads_its_answers_any_more(emulator: str) -> None:
    command = [sys.executable, "-m", "emulator", emulator, "--port", "0", "--control-stdio"]
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        try:
            while not (line := process.stdout.readline()).startswith((b"certs: ", b"export FIRESTORE")):
                assert line, "it has ended before it was up"
            process.stdout.close()
            process.stdin.write(b"counts\n")
            process.stdin.flush()
            process.wait(timeout=60)
        finally:
            process.kill()
        assert process.stderr.read() == b""
