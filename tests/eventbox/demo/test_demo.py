"""The demo, on real repositories of every odd kind, and as a command."""

from __future__ import annotations

import asyncio
import importlib.util
import json
import os
import random
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from eventbox import NewEvent
from eventbox.cli import main
from eventbox.demo.git import Repository, Totals, readable
from eventbox.demo.history_events import events_of
from eventbox.demo.history_log import LogTotals
from eventbox.demo.report import difference
from eventbox.sources.ingestors.git_history import GitChange, GitCommit, GitHistory
from eventbox.sources.ingestors.git_process import GitError
from tests.eventbox.demo.running import ENVIRONMENT, demo
from tests.eventbox.sources.taking_in import take_in
from tests.served_app import until

linux = pytest.mark.skipif(sys.platform != "linux", reason="finds the workers in /proc")


class Git:
    """A repository that a test makes."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.mkdir(exist_ok=True)
        self("init", "--quiet", "--initial-branch=main")

    def __call__(self, *arguments: str | bytes, **environment: str) -> str:
        done = subprocess.run(
            ["git", *arguments],
            cwd=self.path,
            env={**ENVIRONMENT, **environment},
            check=True,
            capture_output=True,
        )
        return done.stdout.decode().strip()

    def write(self, name: str | bytes, content: bytes) -> None:
        path = os.path.join(os.fsencode(self.path), os.fsencode(name))
        os.makedirs(os.path.dirname(path), exist_ok=True)
        with open(path, "wb") as file:
            file.write(content)

    def commit(self, message: str = "x", **environment: str) -> str:
        self("add", "--all")
        self("commit", "--quiet", "--allow-empty", "--message", message, **environment)
        return self("rev-parse", "HEAD")


@pytest.fixture
def git(tmp_path: Path) -> Git:
    return Git(tmp_path / "repository")


async def commits_of(repository: Repository) -> list[GitCommit]:
    """What the demo takes in."""
    commits: list[GitCommit] = []

    def remember(commit: GitCommit) -> list[NewEvent]:
        commits.append(commit)
        return []

    assert repository.head is not None
    ingestor = GitHistory(
        "history",
        repository.path,
        remember,
        revision=repository.head,
        since=repository.since,
        interval=None,
    )
    await take_in(ingestor, None)
    return commits


def odd(git: Git) -> None:
    """Give the repository everything that is odd."""
    git.write("plain", b"a\nb\n")
    git.write("binary", bytes(range(256)))
    git.write("dir/with space/tab\tnew\nline\x01", b"1\n")
    git.write("ünïcode 🦊", b"1\n")
    git.write(b"not utf-8 \xff", b"1\n")
    git.write("..dots..", b"1\n")
    git.write("__x__", b"1\n")
    git.write('"quoted" \\', b"1\n")
    git.commit()
    git("mv", "plain", "renamed\nhere")
    git.write("renamed\nhere", b"a\nb\nc\n")
    git.commit(GIT_AUTHOR_NAME="\udcff\udcfe not text", GIT_AUTHOR_EMAIL="")
    git("switch", "--quiet", "--create", "side", "HEAD~1")
    git.write("side", b"1\n2\n")
    git.commit()
    git("switch", "--quiet", "main")
    git("merge", "--quiet", "--no-edit", "side")
    git.commit("nothing at all")
    git("rm", "--quiet", "binary")
    git.commit(GIT_AUTHOR_DATE="@1 +0000")


async def test_every_odd_name_and_change_is_read(git: Git) -> None:
    odd(git)
    commits = await commits_of(await Repository.open(git.path))
    changes = {change.path: (change.added, change.removed) for commit in commits for change in commit.changes}
    assert changes == {
        b"plain": (2, 0),
        b"binary": (0, 0),
        b"dir/with space/tab\tnew\nline\x01": (1, 0),
        "ünïcode 🦊".encode(): (1, 0),
        b"not utf-8 \xff": (1, 0),
        b"..dots..": (1, 0),
        b"__x__": (1, 0),
        b'"quoted" \\': (1, 0),
        b"renamed\nhere": (1, 0),
        b"side": (2, 0),
    }
    assert {len(commit.changes) for commit in commits} == {0, 1, 8}
    days = {json.loads(event.value).get("day") for commit in commits for event in events_of(commit)}
    assert days == {None, "2030-01-02", "1970-01-01"}  # None: an entry of the log
    assert len({commit.author for commit in commits}) == 2


async def test_the_totals_agree_with_what_was_read(git: Git) -> None:
    odd(git)
    repository = await Repository.open(git.path)
    commits = await commits_of(repository)
    changes = [change for commit in commits for change in commit.changes]
    assert await repository.totals() == Totals(
        sum(bool(commit.changes) for commit in commits),
        len(changes),
        sum(change.added for change in changes),
        sum(change.removed for change in changes),
    )
    assert await repository.count() == len(commits)


async def test_a_commit_whose_author_line_git_cannot_read_is_an_event_all_the_same(git: Git) -> None:
    tree = git("write-tree")
    for number, author in enumerate(("nobody", "A <a@b> 99999999999999999999 +0000")):
        git.write("raw", f"tree {tree}\nauthor {author}\ncommitter A <a@b> 1 +0000\n\nx\n".encode())
        head = git("hash-object", "-t", "commit", "-w", "--literally", "raw")
        git("update-ref", "refs/heads/main", head)
        [commit] = await commits_of(await Repository.open(git.path))
        git.write("raw", b"")
        assert [json.loads(event.value)["commit"] for event in events_of(commit)] == [head], number


def test_a_time_that_is_none_is_no_day() -> None:
    commit = GitCommit("1" * 40, b"A <a@b>", 10**30, (GitChange(b"a", 1, 0),))
    assert [json.loads(event.value).get("day") for event in events_of(commit)] == [None, "", ""]


async def test_since_leaves_out_what_came_before(git: Git) -> None:
    git.write("a", b"1\n")
    first = git.commit()
    git.write("a", b"1\n2\n")
    git.commit()
    repository = await Repository.open(git.path, first)
    assert await repository.totals() == Totals(1, 1, 1, 0)
    assert await repository.count() == len(await commits_of(repository)) == 1
    with pytest.raises(GitError, match="nothing names no commit"):
        await Repository.open(git.path, "nothing")
    with pytest.raises(GitError, match="names no commit"):
        await Repository.open(git.path, "--all")


async def test_what_is_no_repository_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(GitError, match="is not a folder"):
        await Repository.open(tmp_path / "missing")
    with pytest.raises(GitError, match="lies in no git repository"):
        await Repository.open(tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(GitError, match="git was not found"):
        await Repository.open(tmp_path)


def test_readable_names_have_nothing_that_a_terminal_obeys() -> None:
    assert readable(b"a\nb\x1b[31m\xff") == r"a\x0ab\x1b[31m\xff"


def test_a_difference_from_git_is_told() -> None:
    expected, files, log = Totals(2, 3, 10, 5), Totals(3, 3, 10, 5), LogTotals(4, 3, 10, 5)
    assert difference(expected, 4, expected, files, log) is None
    assert "the authors' 1 commits" in (difference(expected, 4, Totals(1, 3, 10, 5), files, log) or "")
    assert "the files' 2 commits" in (difference(expected, 4, expected, expected, log) or "")
    assert "the log's 4 entries" in (difference(expected, 5, expected, files, log) or "")
    assert "the log's 4 entries, 2 changes" in (
        difference(expected, 4, expected, files, LogTotals(4, 2, 10, 5)) or ""
    )


async def test_the_command_processes_a_history_and_agrees_with_git(git: Git) -> None:
    odd(git)
    code, output = await demo(git.path, "--workers", "3")
    assert output.splitlines()[-1] == "demo: ok: 22 events, totals equal to git's"
    assert (
        output.splitlines()[-2] == "The log has 6 entries, one for each commit."
    )  # a merge and an empty one, too
    assert code == 0
    assert "Ada <ada@example.com>" in output
    assert r"renamed\x0ahere" in output
    assert "events/s" in output


async def test_an_empty_repository_is_fine(git: Git) -> None:
    code, output = await demo(git.path)
    assert (code, output.splitlines()[-1]) == (0, "demo: ok: 0 events, totals equal to git's")


async def test_a_shallow_clone_is_read_as_far_as_it_goes(git: Git, tmp_path: Path) -> None:
    for n in range(3):
        git.write("a", b"1\n" * (n + 1))
        git.commit()
    git("clone", "--quiet", "--depth", "1", git.path.as_uri(), str(tmp_path / "shallow"))
    code, output = await demo(tmp_path / "shallow")
    assert code == 0
    assert "shallow clone" in output
    assert "demo: ok: 2 events" in output


async def test_without_a_repository_the_history_that_comes_along_is_taken(tmp_path: Path) -> None:
    code, output = await demo(tmp_path)
    assert code == 0
    assert "that comes with the demo" in output
    assert "totals equal to git's" in output.splitlines()[-1]


@pytest.mark.parametrize(
    ("arguments", "message", "code"),
    [
        (("--repo", "missing"), "demo: failed: missing is not a folder", 1),
        (("--repo", "."), "lies in no git repository", 1),
        (("--since", "HEAD"), "lies in no git repository", 1),
        (("--workers", "0"), "--workers", 2),
        (("extra",), "unexpected extra argument", 2),
    ],
)
async def test_bad_usage_is_one_clear_line(
    tmp_path: Path, arguments: tuple[str, ...], message: str, code: int
) -> None:
    found, output = await demo(tmp_path, *arguments)
    assert found == code
    assert message in output
    assert "Traceback" not in output


@linux
async def test_workers_that_are_killed_at_any_moment_lose_nothing_and_do_nothing_twice(git: Git) -> None:
    for n in range(150):
        for file in range(3):
            git.write(f"file-{(n + 5 * file) % 40}", f"{n}\n".encode() * (n % 5 + 1))
        git.commit(GIT_AUTHOR_EMAIL=f"{n % 3}@example.com")
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "eventbox", "demo", "--workers", "3", cwd=git.path, env=ENVIRONMENT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip

    assert process.stdout is not None
    while await process.stdout.readline() != b"3 workers are up.\n":
        pass

    async def kill() -> None:
        for _ in range(6):
            await asyncio.sleep(random.uniform(0.05, 0.8))
            if workers := workers_of(process.pid):
                os.kill(random.choice(workers), signal.SIGKILL)

    killing = asyncio.create_task(kill())
    output, _ = await process.communicate()
    killing.cancel()
    process._transport.close()  # type: ignore[attr-defined]
    assert output.decode().splitlines()[-1] == "demo: ok: 900 events, totals equal to git's"
    assert process.returncode == 0
    assert re.search(r"; \d+ workers died, and were begun anew", output.decode())


@linux
async def test_an_interrupt_in_the_middle_of_the_work_ends_the_workers_too(git: Git) -> None:
    for n in range(150):
        git.write(f"file-{n % 7}", f"{n}\n".encode())
        git.commit()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "eventbox", "demo", cwd=git.path, env=ENVIRONMENT,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip

    async def all_are_there() -> bool:
        return len(workers_of(process.pid)) == 4

    await until(all_are_there)
    process.send_signal(signal.SIGINT)
    output, _ = await process.communicate()  # the workers hold our pipe no longer, or this would hang
    process._transport.close()  # type: ignore[attr-defined]
    assert output.decode().splitlines()[-1] == "demo: interrupted"
    assert "Traceback" not in output.decode()
    assert process.returncode == 130


def test_without_a_server_it_is_told_how_to_get_one(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    result = CliRunner().invoke(main, ["demo"])
    assert result.exit_code == 1
    assert result.output == "demo: failed: uvicorn is missing: pip install 'eventbox[dev]'\n"


def workers_of(pid: int) -> list[int]:
    """The worker processes of a demo."""
    try:
        children = [int(one) for one in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return [
            one
            for one in children
            if b"eventbox.demo.worker_process" in Path(f"/proc/{one}/cmdline").read_bytes()
        ]
    except (FileNotFoundError, ProcessLookupError):  # one has just ended, before or after its file was opened
        return []


@pytest.mark.parametrize("imported", ["click.core", "rich.console", "grpc", "google.cloud.firestore"])
async def test_an_interrupt_during_the_imports_shows_no_traceback(git: Git, imported: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-X", "importtime", "-m", "eventbox", "demo", cwd=git.path, env=ENVIRONMENT,
        start_new_session=True, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    while not (line := await process.stdout.readline()).rstrip().endswith(f" {imported}".encode()):
        assert line
    os.killpg(process.pid, signal.SIGINT)
    output, _ = await process.communicate()
    process._transport.close()  # type: ignore[attr-defined]
    assert "Traceback" not in output.decode()
    assert process.returncode == 130


async def test_an_interrupt_ends_it_at_once_and_leaves_nothing_behind(git: Git) -> None:
    for n in range(40):
        git.write("a", str(n).encode())
        git.commit()
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "eventbox", "demo", cwd=git.path, env=ENVIRONMENT, start_new_session=True,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    assert process.stdout is not None
    assert b"Reading the history" in await process.stdout.readline()
    os.killpg(process.pid, signal.SIGINT)
    output, _ = await process.communicate()  # the emulator holds our pipe no longer, or this would hang
    process._transport.close()  # type: ignore[attr-defined]
    assert process.returncode == 130
    assert output.decode().splitlines()[-1] == "demo: interrupted"
    assert "Traceback" not in output.decode()
