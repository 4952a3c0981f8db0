"""Reading a git history: whatever names are in it, as a stream, and what git itself says about its totals."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path


class GitError(Exception):
    """Git is missing, there is no repository, or git refused; the message says which, and what to do."""


@dataclass(frozen=True, slots=True)
class Change:
    """What a commit did to a file. A binary file has no lines: 0 added, 0 removed."""

    path: bytes
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class Commit:
    """A commit and its changed files; a merge has none, as in `git log --numstat`."""

    id: str
    author: bytes
    day: str
    changes: tuple[Change, ...]


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a history: commits that changed any file, changes, lines."""

    commits: int
    changes: int
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository, and the range of its history that is asked for."""

    path: Path
    revisions: str | None  # None: it has no commit yet
    shallow: bool

    @classmethod
    async def open(cls, path: Path, since: str | None = None) -> Repository:
        """The repository that a folder lies in, from `since` (left out) to HEAD.

        Raises:
            GitError: there is none, git is missing, or `since` names no commit.
        """
        if not path.is_dir():
            raise GitError(f"{path} is not a folder")
        await _git(path, "rev-parse", "--git-dir")
        shallow = (await _git(path, "rev-parse", "--is-shallow-repository")).strip() == b"true"
        try:
            await _git(path, "rev-parse", "--verify", "--quiet", "HEAD^{commit}")
        except GitError:
            return cls(path, None, shallow)
        if since is None:
            return cls(path, "HEAD", shallow)
        try:
            start = await _git(
                path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{since}^{{commit}}"
            )
        except GitError as error:
            raise GitError(f"{since!r} names no commit of {path}") from error
        return cls(path, f"{start.decode().strip()}..HEAD", shallow)

    async def commits(self) -> AsyncIterator[Commit]:
        """The commits, the newest first, as git tells them."""
        if self.revisions is None:
            return
        process = await _start(
            self.path, "log", "-z", "--numstat", "--format=%x01%H%x1f%at%x1f%aN <%aE>", self.revisions, "--"
        )
        assert process.stdout is not None
        header: tuple[str, str, bytes] | None = None
        changes: list[Change] = []
        try:
            tokens = _tokens(process.stdout)
            async for token in tokens:
                if token.startswith(b"\x01"):
                    if header is not None:
                        yield Commit(*_named(header), tuple(changes))
                    header, changes = _header(token), []
                    continue
                added, removed, path = token.removeprefix(b"\n").split(b"\t", 2)
                if not path:  # a rename: the old name and the new one follow
                    await anext(tokens)
                    path = await anext(tokens)
                changes.append(Change(path, _lines(added), _lines(removed)))
            if header is not None:
                yield Commit(*_named(header), tuple(changes))
            await _finish(process)
        finally:
            await _end(process)

    async def totals(self) -> Totals:
        """The totals, from git's plain output: another path to them than `commits`."""
        if self.revisions is None:
            return Totals(0, 0, 0, 0)
        process = await _start(self.path, "log", "--numstat", "--format=tformat:commit", self.revisions, "--")
        assert process.stdout is not None
        commits = changes = added = removed = 0
        fresh = False
        try:
            async for line in process.stdout:
                if line == b"commit\n":
                    fresh = True
                    continue
                match = re.match(rb"(\d+|-)\t(\d+|-)\t", line)
                if match:
                    commits += fresh
                    fresh = False
                    changes += 1
                    added += _lines(match[1])
                    removed += _lines(match[2])
            await _finish(process)
        finally:
            await _end(process)
        return Totals(commits, changes, added, removed)


def readable(name: bytes) -> str:
    """Text that any terminal and any database takes, whatever the bytes."""
    text = name.decode("utf-8", "backslashreplace")
    return "".join(character if character.isprintable() else f"\\x{ord(character):02x}" for character in text)


async def clone(bundle: Path, target: Path) -> None:
    """Make a repository of a bundle.

    Raises:
        GitError: git refused.
    """
    await _git(bundle.parent, "clone", "--quiet", "--bare", str(bundle), str(target))


def _header(token: bytes) -> tuple[str, str, bytes]:
    commit_id, seconds, author = token[1:].split(b"\x1f", 2)
    return commit_id.decode(), seconds.decode(), author


def _named(header: tuple[str, str, bytes]) -> tuple[str, bytes, str]:
    commit_id, seconds, author = header
    try:
        day = datetime.fromtimestamp(int(seconds), UTC).date().isoformat()
    except (OverflowError, OSError, ValueError):  # git takes any number for a time
        day = ""
    return commit_id, author, day


def _lines(count: bytes) -> int:
    return 0 if count == b"-" else int(count)


async def _tokens(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    pending = b""
    while chunk := await stream.read(1 << 16):
        *whole, pending = (pending + chunk).split(b"\0")
        for token in whole:
            yield token


async def _start(path: Path, *arguments: str) -> asyncio.subprocess.Process:
    # settings that would put something else between the lines
    settings = ("-c", "log.showSignature=false", "-c", "log.showRoot=true", "-c", "color.ui=false")
    try:
        return await asyncio.create_subprocess_exec(
            "git",
            *settings,
            *arguments,
            cwd=path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=1 << 24,
            start_new_session=True,  # a Ctrl-C is for us; we end it
        )
    except FileNotFoundError as error:
        raise GitError("git is not installed, or not on the PATH") from error


async def _git(path: Path, *arguments: str) -> bytes:
    process = await _start(path, *arguments)
    try:
        output, errors = await process.communicate()
    finally:
        await _end(process)
    if process.returncode:
        raise GitError(_message(errors) or f"git {arguments[0]} failed in {path}")
    return output


async def _finish(process: asyncio.subprocess.Process) -> None:
    assert process.stderr is not None
    errors = await process.stderr.read()
    if await process.wait():
        raise GitError(_message(errors) or "git log failed")


async def _end(process: asyncio.subprocess.Process) -> None:
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    process._transport.close()  # type: ignore[attr-defined] # else it outlives the loop


def _message(errors: bytes) -> str:
    return errors.decode("utf-8", "replace").strip().removeprefix("fatal: ").partition("\n")[0]
