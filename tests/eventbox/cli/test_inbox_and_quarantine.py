"""`eventbox inbox` and `eventbox quarantine`, as commands in processes of their own."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from asyncio.subprocess import PIPE
from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

import pytest

from emulator.firestore import Emulator
from eventbox import EventBox, Recipient
from eventbox.cli.printing import print_table
from tests.eventbox.poisoned import Poisoned, in_quarantine
from tests.eventbox.support import Recording, emit, outstanding
from tests.fronts import connect


@dataclass(frozen=True)
class Command:
    """Runs `eventbox` on the Firestore of a box."""

    box: EventBox
    to: Recipient
    environment: dict[str, str]

    async def __call__(
        self, *arguments: str, stdin: bytes = b"", env: dict[str, str | None] | None = None
    ) -> tuple[int | None, str, str]:
        environment = {**self.environment, **(env or {})}
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "eventbox", *arguments,
            stdin=PIPE, stdout=PIPE, stderr=PIPE,
            env={key: value for key, value in environment.items() if value is not None},
        )  # fmt: skip
        out, err = await process.communicate(stdin)
        return process.returncode, out.decode(), err.decode()

    async def json(self, *arguments: str) -> list[Any]:
        code, out, err = await self(*arguments, "--json")
        assert (code, err) == (0, "")
        return [json.loads(line) for line in out.splitlines()]


@pytest.fixture
async def command() -> AsyncIterator[Command]:
    async with Emulator().serving("127.0.0.1:0") as address, connect(address, "demo") as client:
        environment = {**os.environ, "FIRESTORE_EMULATOR_HOST": address, "GOOGLE_CLOUD_PROJECT": "demo"}
        box = EventBox(client, quarantine_after=1)
        yield Command(box, Recipient(client.document("orders/1"), "order"), environment)


async def set_aside(command: Command, *ids: str) -> None:
    await emit(command.box, command.to, f"good beside {ids[0]}", *ids)
    await command.box.drain(command.to, Poisoned(command.to))


async def test_an_inbox_is_listed_as_a_table_and_as_json(command: Command) -> None:
    assert (await command("inbox", "list", "orders/1"))[:2] == (0, "nothing is outstanding for orders/1\n")
    due = datetime(2040, 1, 2, 3, 4, 5, tzinfo=UTC)
    await command.box.emit(b'{"n": 1}', command.to, id="later [red]", process_after=due)
    await command.box.emit(b"\xff\x00", command.to, id="bin\x1b[31mary\n")
    code, table, _ = await command("inbox", "list", "/orders/1")
    lines = table.splitlines()
    assert (code, len(lines)) == (0, 3)
    assert lines[0].split() == ["id", "emitted", "process", "after", "bytes", "value"]
    assert lines[1].startswith("bin\\x1b[31mary\\n")
    assert "ff 00" in lines[1]
    assert lines[2].startswith("later [red]")
    assert "2040-01-02 03:04:05Z" in lines[2]
    binary, later = await command.json("inbox", "list", "orders/1")
    assert (binary["id"], binary["value_base64"]) == ("bin\x1b[31mary\n", "/wA=")
    assert (later["value"], later["process_after"]) == ('{"n": 1}', "2040-01-02T03:04:05+00:00")


async def test_an_event_is_emitted_from_the_command_line(command: Command) -> None:
    code, out, _ = await command("inbox", "emit", "orders/1", "päid", "--id", "a")
    assert (code, out) == (0, "a emitted\n")
    code, out, _ = await command("inbox", "emit", "orders/1", "-", "--id", "b", stdin=b"\xff")
    assert (code, out) == (0, "b emitted\n")
    code, out, _ = await command("inbox", "emit", "orders/1", "again", "--id", "a")
    assert (code, out) == (0, "a was emitted already: nothing has changed\n")
    values = {event.id: event.value for event in await command.box.list_events(command.to)}
    assert values == {"a": "päid".encode(), "b": b"\xff"}


async def test_a_quarantine_is_listed_and_shown(command: Command) -> None:
    assert (await command("quarantine", "list", "orders/1"))[1] == "nothing of orders/1 is in quarantine\n"
    await set_aside(command, "bad 1", "bad 2")
    code, table, _ = await command("quarantine", "list", "orders/1")
    assert code == 0
    assert sorted(line.split("  ")[0] for line in table.splitlines()[1:]) == ["bad 1", "bad 2"]
    assert "PoisonError: cannot read bad 1" in table
    found = await command.json("quarantine", "list", "orders/1")
    first, second = sorted(found, key=lambda one: str(one["id"]))
    assert (first["id"], first["attempts"], first["value"]) == ("bad 1", 1, "bad 1")
    assert (second["error"], "Traceback" in second["traceback"]) == ("PoisonError: cannot read bad 2", True)
    code, shown, _ = await command("quarantine", "show", "orders/1", "bad 2")
    assert code == 0
    assert "bad 1" not in shown
    assert "    Traceback (most recent call last):" in shown
    code, shown, _ = await command("quarantine", "show", "orders/1")
    assert ("id              bad 1" in shown, "id              bad 2" in shown) == (True, True)
    code, out, err = await command("quarantine", "show", "orders/1", "unknown")
    assert (code, out, err) == (1, "", "Error: not in the quarantine of orders/1: unknown\n")


def test_an_id_stays_whole_on_a_terminal_of_80_columns(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {"TTY_COMPATIBLE": "1", "TERM": "dumb", "COLUMNS": "80"}.items():
        monkeypatch.setenv(name, value)
    print_table(("id", "error", "value"), [("0123456789abcdef" * 2, "wrong " * 20, "long " * 20)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[1].startswith("0123456789abcdef" * 2 + "  ")
    assert max(map(len, lines)) <= 80


async def test_events_are_requeued_discarded_and_purged(command: Command) -> None:
    await set_aside(command, *(f"bad {n}" for n in range(6)))
    code, out, err = await command("quarantine", "requeue", "orders/1", "bad 0", "unknown")
    assert (code, out) == (0, "1 event put back into the inbox\n")
    assert "1 could not be found" in err
    assert await outstanding(command.box, command.to) == {"bad 0"}
    assert (await command("quarantine", "discard", "orders/1", "bad 1", "bad 2", "--yes"))[1] == (
        "2 events deleted\n"
    )
    code, _, err = await command("quarantine", "purge", "orders/1", stdin=b"n\n")
    assert (code, "Aborted!" in err) == (1, True)
    assert await in_quarantine(command.box, command.to) == ["bad 3", "bad 4", "bad 5"]
    code, out, _ = await command("quarantine", "discard", "orders/1", "bad 3", stdin=b"y\n")
    assert out.endswith("1 event deleted\n")
    assert (await command("quarantine", "requeue", "orders/1", "--all"))[1].startswith("2 events")
    await command.box.process_batch(command.to, Recording(command.to))
    await set_aside(command, "bad 7")
    assert (await command("quarantine", "discard", "orders/1", "--all", "-y"))[1].endswith("deleted\n")
    assert await in_quarantine(command.box, command.to) == []
    assert (await command("quarantine", "purge", "orders/1", "-y"))[1] == "0 events deleted\n"


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["inbox", "list", "orders"], "'orders' is no document"),
        (["inbox", "list", ""], "'' is no document"),
        (["inbox", "emit", "orders/1", "x", "--id", "x" * 300], "an ID must have 1 to 256 bytes"),
        (["quarantine", "requeue", "orders/1"], "give the IDs of events, or --all"),
        (["quarantine", "discard", "orders/1", "a", "--all"], "give the IDs of events, or --all"),
        (["quarantine", "purge", "orders/1/x", "--yes"], "'orders/1/x' is no document"),
    ],
)
async def test_what_makes_no_sense_is_refused(command: Command, arguments: list[str], told: str) -> None:
    code, out, err = await command(*arguments)
    assert code in (1, 2)
    assert told in " ".join(err.split())
    assert (out, "Traceback" in err) == ("", False)


async def test_where_nothing_answers_it_says_so_at_once(command: Command) -> None:
    code, _, err = await command("inbox", "list", "orders/1", env={"FIRESTORE_EMULATOR_HOST": "127.0.0.1:1"})
    assert code == 1
    assert "nothing answers at 127.0.0.1:1, which FIRESTORE_EMULATOR_HOST names" in err


async def test_without_credentials_it_says_what_to_do(command: Command) -> None:
    nowhere: dict[str, str | None] = {
        "FIRESTORE_EMULATOR_HOST": None,
        "GOOGLE_APPLICATION_CREDENTIALS": "/nonexistent",
        "NO_GCE_CHECK": "true",
    }
    code, _, err = await command("quarantine", "list", "orders/1", env=nowhere)
    assert code == 1
    assert "credentials" in err
    assert "FIRESTORE_EMULATOR_HOST" in err
    assert "Traceback" not in err
