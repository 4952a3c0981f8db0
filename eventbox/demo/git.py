"""The repository whose history is taken in, and what git itself says about its totals."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from eventbox.sources.ingestors.git_process import GitError, end_git, finish_git, git_message, start_git


class NoRepositoryError(GitError):
    """The folder lies in no repository."""


@dataclass(frozen=True, slots=True)
class Totals:
    """Sums over a history: commits that changed any file, changes, lines."""

    commits: int
    changes: int
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class Repository:
    """A repository, and the range of its history that is asked for.

    The range is fixed when it is opened: what is committed meanwhile is not read.
    """

    path: Path
    head: str | None  # None: it has no commit yet
    since: str | None
    shallow: bool

    @classmethod
    async def open(cls, path: Path, since: str | None = None) -> Repository:
        """The repository that a folder lies in, from `since` (left out) to HEAD.

        Raises:
            NoRepositoryError: there is none.
            GitError: git is missing or refused, or `since` names no commit.
        """
        if not path.is_dir():
            raise NoRepositoryError(f"{path} is not a folder; --repo takes one that has a git repository")
        await _git(path, "rev-parse", "--git-dir")
        shallow = (await _git(path, "rev-parse", "--is-shallow-repository")).strip() == b"true"
        start = None if since is None else await _commit(path, since)
        if since is not None and start is None:
            raise GitError(f"--since {since} names no commit of {path}")
        return cls(path, await _commit(path, "HEAD"), start, shallow)

    @property
    def revisions(self) -> str | None:
        """The range, as git is told it; None where there is no commit yet."""
        return self.head if self.head is None or self.since is None else f"{self.since}..{self.head}"

    async def count(self) -> int:
        """How many commits the range has, merges and empty ones too."""
        if self.revisions is None:
            return 0
        return int(await _git(self.path, "rev-list", "--count", self.revisions, "--"))

    async def totals(self) -> Totals:
        """The totals, from git's plain output: another path to them than that of `GitHistory`."""
        if self.revisions is None:
            return Totals(0, 0, 0, 0)
        process = await start_git(
            self.path, "log", "--numstat", "--format=tformat:commit", self.revisions, "--"
        )
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
            await finish_git(process)
        finally:
            await end_git(process)
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


async def _commit(path: Path, revision: str) -> str | None:
    """The ID of the commit that a revision names; None where it names none."""
    arguments = ("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
    process = await start_git(path, *arguments)
    try:
        output, _ = await process.communicate()
    finally:
        await end_git(process)
    return None if process.returncode else output.decode().strip()


def _lines(count: bytes) -> int:
    return 0 if count == b"-" else int(count)


async def _git(path: Path, *arguments: str) -> bytes:
    process = await start_git(path, *arguments)
    try:
        output, errors = await process.communicate()
    finally:
        await end_git(process)
    if not process.returncode:
        return output
    message = git_message(errors)
    if message.startswith("not a git repository"):
        raise NoRepositoryError(f"{path} lies in no git repository: name one by --repo")
    raise GitError(message or f"git {arguments[0]} failed in {path}")
