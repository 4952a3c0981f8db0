"""`--data-dir`, `export` and `import` on the command line: what they do, and the one line when they cannot."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

import pytest

from emulator.firestore import Emulator
from emulator.firestore.journal import Journal
from emulator.process import EmulatorProcess
from tests.fronts import connect

DOCUMENTS = "projects/demo/databases/(default)/documents"


async def command(*arguments: object, stdin: Any = asyncio.subprocess.DEVNULL) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable, "-m", "emulator", *map(str, arguments),
        stdin=stdin, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        env={**os.environ, "GRPC_VERBOSITY": "NONE"},
    )  # fmt: skip


async def run(*arguments: object, input: str | None = None) -> tuple[int | None, str, str]:
    """The exit status, the output and what was said on standard error."""
    process = await command(*arguments, stdin=asyncio.subprocess.PIPE)
    output, errors = await process.communicate(None if input is None else input.encode())
    process._transport.close()  # type: ignore[attr-defined]
    assert "Traceback" not in errors.decode()
    return process.returncode, output.decode(), errors.decode()


def line(path: str, **fields: Any) -> str:
    """A document in one line, with times that an import keeps."""
    times = {"createTime": "2020-01-01T00:00:00Z", "updateTime": "2021-01-01T00:00:00.000001Z"}
    content = {"name": f"{DOCUMENTS}/{path}", "fields": fields, **times}
    return json.dumps(content, ensure_ascii=False) + "\n"


# firestore --data-dir -------------------------------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_says_where_the_data_are_and_closes_the_folder_on_a_signal(
    tmp_path: Path, number: signal.Signals
) -> None:
    folder = tmp_path / "data"
    process = await command("firestore", "--port", 0, "--data-dir", folder)
    assert process.stdout is not None
    address = (await process.stdout.readline()).decode().strip().rpartition("=")[2]
    assert f"with its data in {folder};" in (await process.stdout.readline()).decode()
    async with connect(address, project="demo") as client:
        await client.document("a/1").set({"n": 1})
    process.send_signal(number)
    output, errors = await process.communicate()
    process._transport.close()  # type: ignore[attr-defined]
    assert (process.returncode, output, errors) == (0, b"", b"")
    # closed, it is one file
    assert [one.name for one in folder.iterdir()] == ["firestore.sqlite3"]
    async with EmulatorProcess(data_dir=folder) as again, connect(again.address, project="demo") as client:
        assert (await client.document("a/1").get()).to_dict() == {"n": 1}


async def test_without_a_folder_it_says_that_the_data_are_in_memory() -> None:
    process = await command("firestore", "--port", 0)
    assert process.stdout is not None
    await process.stdout.readline()
    assert b"with its data in memory;" in await process.stdout.readline()
    process.terminate()
    await process.communicate()
    process._transport.close()  # type: ignore[attr-defined]


async def test_a_process_on_a_folder_in_use_does_not_come_up(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    async with EmulatorProcess(data_dir=tmp_path):
        with pytest.raises(RuntimeError, match="did not come up"):
            await EmulatorProcess(data_dir=tmp_path).start()
        assert "in use by another emulator" in capfd.readouterr().err


def in_use(folder: Path) -> Any:
    return Journal(folder).close


def a_file(folder: Path) -> None:
    folder.write_text("x")


def no_database(folder: Path) -> None:
    folder.mkdir()
    (folder / "firestore.sqlite3").write_text("x" * 1_000)


def newer(folder: Path) -> None:
    journal = Journal(folder)
    journal._database.execute("PRAGMA user_version = 2")
    journal.close()


@pytest.mark.parametrize("arguments", [("firestore", "--port", 0, "--data-dir"), ("export",), ("import",)])
@pytest.mark.parametrize(
    ("make", "message"),
    [
        (in_use, "the data folder {} is in use by another emulator; stop it, or take another folder"),
        (a_file, "the data folder {} cannot be used: it is a file"),
        (
            no_database,
            "{}/firestore.sqlite3 is not an emulator's data, or is damaged: file is not a database",
        ),
        (newer, "{}/firestore.sqlite3 has format 2, and this emulator reads format 1: export the data with"),
    ],
)
async def test_a_folder_that_cannot_be_used_is_one_clear_line(
    tmp_path: Path, arguments: tuple[Any, ...], make: Any, message: str
) -> None:
    folder = tmp_path / "data"
    close = make(folder)
    file = ["-"] if arguments == ("import",) else []
    code, output, errors = await run(*arguments, folder, *file, input="")
    assert (code, output) == (1, "")
    assert errors.startswith("Error: " + message.format(folder))
    assert errors.count("\n") == 1
    if close is not None:
        close()


# export and import ----------------------------------------------------------------------------------------


async def test_what_is_imported_is_exported_to_the_byte_and_served(tmp_path: Path) -> None:
    folder, file, other = tmp_path / "data", tmp_path / "x.ndjson", tmp_path / "y.ndjson"
    lines = [line("a/1", n={"integerValue": "1"}), line("a/2", x={"stringValue": "ü😀"})]
    text = "".join(lines)
    other.write_text("".join(reversed(lines)), encoding="utf-8")
    file.write_text(text, encoding="utf-8")
    assert await run("import", folder, other) == (0, "", f"Imported 2 documents into {folder}.\n")
    assert await run("export", folder) == (0, text, "Exported 2 documents.\n")
    assert await run("export", folder, other) == (0, "", f"Exported 2 documents to {other}.\n")
    assert other.read_bytes() == file.read_bytes()
    code, _, errors = await run("import", folder, "-", input=line("a/1", n={"integerValue": "2"}))
    assert (code, errors) == (0, f"Imported 1 document into {folder}.\n")
    async with EmulatorProcess(data_dir=folder) as process:
        async with connect(process.address, project="demo") as client:
            found = {one.id: one.to_dict() async for one in client.collection("a").stream()}
            assert found == {"1": {"n": 2}, "2": {"x": "ü😀"}}
            await client.document("a/3").set({})
    emulator = Emulator(data_dir=folder)
    assert emulator.export_documents(other) == 3
    emulator.close()
    assert (await run("export", folder, "-"))[1] == other.read_text(encoding="utf-8")


async def test_a_bad_line_is_told_with_file_and_number_and_nothing_is_imported(tmp_path: Path) -> None:
    folder, file = tmp_path / "data", tmp_path / "x.ndjson"
    await run("import", folder, "-", input=line("a/1"))
    file.write_text(line("a/1", n={"integerValue": "1"}) + line("a/2") + line("a"))
    code, _, errors = await run("import", folder, file)
    assert code == 1
    assert errors.startswith(f"Error: {file}, line 3: Document name ")
    assert errors.endswith("; nothing was imported\n")
    code, _, errors = await run("import", folder, "-", input="x")
    assert (code, errors.startswith("Error: standard input, line 1: ")) == (1, True)
    assert (await run("export", folder))[1] == line("a/1")


async def test_files_and_folders_that_are_missing_are_told(tmp_path: Path) -> None:
    code, _, errors = await run("export", tmp_path / "nowhere")
    assert (code, errors) == (1, f"Error: there are no emulator's data in {tmp_path / 'nowhere'}\n")
    assert not (tmp_path / "nowhere").exists()
    code, _, errors = await run("import", tmp_path / "data", tmp_path / "missing")
    assert (code, "No such file" in errors, str(tmp_path / "missing") in errors) == (1, True, True)
    await run("import", tmp_path / "data", "-", input="")
    code, _, errors = await run("export", tmp_path / "data", tmp_path / "no" / "file")
    assert (code, "No such file" in errors) == (1, True)


async def test_a_reader_that_has_enough_ends_an_export_quietly(tmp_path: Path) -> None:
    await run("import", tmp_path, "-", input="".join(line(f"a/{n}") for n in range(2_000)))
    process = await command("export", tmp_path)
    assert process.stdout is not None
    assert process.stderr is not None
    await process.stdout.readline()
    process._transport.get_pipe_transport(1).close()  # type: ignore[attr-defined]
    assert await process.stderr.read() == b""
    assert await process.wait() == 1
    process._transport.close()  # type: ignore[attr-defined]


async def test_an_import_that_is_killed_leaves_nothing(tmp_path: Path) -> None:
    await run("import", tmp_path, "-", input=line("a/1"))
    process = await command("import", tmp_path, "-", stdin=asyncio.subprocess.PIPE)
    assert process.stdin is not None
    log = tmp_path / "firestore.sqlite3-wal"
    n = 0
    while not log.exists() or log.stat().st_size < 1_000_000:  # it has written a good part of it
        process.stdin.write("".join(line(f"a/{n + one}") for one in range(1_000)).encode())
        await process.stdin.drain()
        n += 1_000
    process.kill()
    await process.communicate()
    process._transport.close()  # type: ignore[attr-defined]
    assert (await run("export", tmp_path))[1] == line("a/1")
