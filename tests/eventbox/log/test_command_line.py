"""`eventbox log tail` and `eventbox log stats`, as commands."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from asyncio.subprocess import PIPE, Process
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import timedelta

import pytest
from click.testing import CliRunner

from emulator.firestore import Emulator
from eventbox import EventBox
from eventbox.cli import main
from eventbox.log import EventLog
from tests.eventbox.log.support import Recording, append, append_and_order
from tests.fronts import connect


@dataclass(frozen=True)
class Command:
    """Runs `eventbox log` on a log's Firestore."""

    log: EventLog
    environment: dict[str, str]

    async def start(self, *arguments: str) -> Process:
        return await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "eventbox",
            "log",
            *arguments,
            stdout=PIPE,
            stderr=PIPE,
            env=self.environment,
        )

    async def __call__(self, *arguments: str) -> tuple[int | None, str, str]:
        process = await self.start(*arguments)
        out, err = await process.communicate()
        return process.returncode, out.decode(), err.decode()


@pytest.fixture
async def command() -> AsyncIterator[Command]:
    async with Emulator().serving("127.0.0.1:0") as address, connect(address, "demo") as client:
        environment = {
            **os.environ,
            "FIRESTORE_EMULATOR_HOST": address,
            "GOOGLE_CLOUD_PROJECT": "demo",
            "COLUMNS": "100",
        }
        yield Command(EventLog(EventBox(client), client.document("logs/main")), environment)


def ids(lines: str) -> list[int]:
    return [int(line.split()[0]) for line in lines.splitlines()]


async def test_tail_shows_the_last_entries_or_those_from_a_position(command: Command) -> None:
    await append_and_order(command.log, *map(str, range(20)))
    await command.log.append("left", b"\xff\x00", module=("door", 3))
    await command.log.append("said", b"line\nbreak" + b"x" * 300)
    await command.log.order()
    code, out, _ = await command("tail", "logs/main")
    assert code == 0
    assert ids(out) == list(range(12, 22))
    assert "left door/3  ff 00" in out
    assert "said  line\\nbreakxxx" in out
    assert out.splitlines()[-1].endswith("... (310 bytes)")
    _, out, _ = await command("tail", "logs/main", "--from", "5", "--kind", "left")
    assert ids(out) == [20]
    _, out, _ = await command("tail", "logs/main", "-n", "3")
    assert ids(out) == [19, 20, 21]


async def test_tail_writes_json_lines_with_the_whole_payload(command: Command) -> None:
    await command.log.append("said", b"x" * 500, module=("door", 3))
    await command.log.append("said", b"\xff")
    await command.log.order()
    _, out, _ = await command("tail", "logs/main", "--json")
    first, second = map(json.loads, out.splitlines())
    assert (first["id"], first["kind"], first["module"], first["payload"]) == (
        0,
        "said",
        ["door", 3],
        "x" * 500,
    )
    assert (second["id"], second["module"], second["payload_base64"]) == (1, None, "/w==")


async def test_tail_follows_until_interrupted(command: Command) -> None:
    await append_and_order(command.log, "a")
    process = await command.start("tail", "-f", "logs/main")
    assert process.stdout is not None
    assert (await process.stdout.readline()).endswith(b"said  a\n")
    for payload in "bc":
        await append_and_order(command.log, payload)
        assert (await process.stdout.readline()).endswith(f"said  {payload}\n".encode())
    process.send_signal(signal.SIGINT)
    _, err = await process.communicate()
    assert (process.returncode, err) == (130, b"")


async def test_tail_says_so_where_there_is_nothing_to_show(command: Command) -> None:
    assert await command("tail", "logs/main") == (0, "", "log: nothing of logs/main to show\n")


async def test_tail_goes_on_behind_what_was_trimmed(command: Command) -> None:
    await append_and_order(command.log, *map(str, range(10)))
    await command.log.trim(min_id_age=3, min_age=timedelta(0))
    code, out, err = await command("tail", "logs/main", "--trimable", "--from", "0")
    assert (code, ids(out)) == (0, [8, 9])
    assert err == "log: positions 0 to 7 have been trimmed\n"


async def test_stats_tell_how_far_the_log_and_its_followers_are(command: Command) -> None:
    code, out, _ = await command("stats", "logs/main")
    assert (code, "last entry never" in out) == (0, True)
    await append_and_order(command.log, *map(str, range(10)))
    await append(command.log, "waits")
    await command.log.handle_events("mails", Recording(), until_idle=True)
    await command.log.move_cursor("search", 4, trimable=True)
    _, out, _ = await command("stats", "logs/main")
    assert "1 waiting to be ordered" in out
    assert "persistent  10 entries: 0 to 9" in out
    assert out.splitlines()[-1].split() == ["search", "trimable", "4", "6"]
    _, out, _ = await command("stats", "logs/main", "--json")
    told = json.loads(out)
    assert (told["next_id"], told["first_id"], told["unordered"]) == (10, 0, 1)
    assert told["followers"] == [
        {"follower": "mails", "trimable": False, "position": 10, "behind": 0},
        {"follower": "search", "trimable": True, "position": 4, "behind": 6},
    ]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["tail", "logs/main", "--from", "-1"], "--from"),
        (["tail", "logs/main", "-n", "x"], "--lines"),
        (["stats"], "Missing argument"),
    ],
)
def test_bad_arguments_are_told(arguments: list[str], message: str) -> None:
    result = CliRunner().invoke(main, ["log", *arguments])
    assert result.exit_code == 2
    assert message in result.output


async def test_a_path_that_is_no_document_is_told(command: Command) -> None:
    code, _, err = await command("tail", "logs")
    assert (code, "is no document" in err, "Traceback" in err) == (2, True, False)
