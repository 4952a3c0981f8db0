"""`GitHistory`: the commits of a repository, the oldest first, and then those that come."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable, Sequence
from contextlib import aclosing
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

from dsset.clock import Clock, SystemClock
from eventbox.events import NewEvent
from eventbox.sources.committer import Pointer, check_name
from eventbox.sources.ingestor import Result
from eventbox.sources.ingestors.git_process import GitError, end_git, finish_git, git_message, start_git
from eventbox.sources.writers import Writer

_FORMAT = ("-z", "--numstat", "--format=%x01%H%x1f%at%x1f%aN <%aE>")

_OBJECT_ID = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class GitChange:
    """What a commit did to a file. A binary file has no lines: 0 added, 0 removed."""

    path: bytes
    added: int
    removed: int


@dataclass(frozen=True, slots=True)
class GitCommit:
    """A commit and its changed files; a merge has none, as in `git log --numstat`.

    `author` is "name <address>", as the repository's mailmap has it; `authored_at` seconds since the epoch.
    """

    id: str
    author: bytes
    authored_at: int
    changes: tuple[GitChange, ...]


@dataclass(frozen=True, slots=True)
class GitPosition:
    """A place in the history: the `number`th commit, which is `commit` in the range that leads from `base` to `tip`.

    The order of a history changes when it grows: a merge puts commits between others. That of a range whose ends are
    fixed does not, so one range is finished before the next begins, from its tip to what the tip is then.
    """

    number: int
    base: str  # empty: from the first commit on
    tip: str
    commit: str

    def encode(self) -> Pointer:
        """The pointer, which compares by the number."""
        return self.number.to_bytes(8, "big") + " ".join((self.base, self.tip, self.commit)).encode()

    @classmethod
    def decode(cls, pointer: Pointer) -> GitPosition:
        """The place that a pointer tells.

        Raises:
            ValueError: it is none of a git history.
        """
        base, *others = pointer[8:].decode("ascii", "replace").split(" ")
        if len(others) != 2 or not all(map(_OBJECT_ID.fullmatch, (*others, *([base] if base else [])))):
            raise ValueError(f"no position in a git history: {pointer!r:.200}")
        return cls(int.from_bytes(pointer[:8], "big"), base, *others)


class GitHistory:
    """An `Ingestor` of a repository's history: a block for each commit, the oldest first.

        ingestor = GitHistory("history", Path("."), lambda commit: [NewEvent(commit.id.encode())])
        await run(lock, committer, BoxWriter(box, to), ingestor)

    Every commit that can be reached is taken in once, also when the history grows, branches and is merged. What a
    rewritten history leaves behind was taken in; its new commits are taken in too.

    Args:
        name: under which its place is kept.
        path: a folder in the repository.
        events_of: what to emit for a commit.
        revision: what is followed: a branch, or HEAD.
        since: a revision: leave out this commit and what came before it.
        interval: how often to look for new commits; None: never, it ends with what is there.
        clock: what it waits by.
    """

    def __init__(
        self,
        name: str,
        path: Path,
        events_of: Callable[[GitCommit], Sequence[NewEvent]],
        *,
        revision: str = "HEAD",
        since: str | None = None,
        interval: timedelta | None = timedelta(seconds=5),
        clock: Clock | None = None,
    ) -> None:
        if not callable(events_of):
            raise TypeError(f"events_of must be a function, not {type(events_of).__name__}")
        self.name = check_name(name)
        self._path = Path(path)
        self._events_of = events_of
        self._revision = revision
        self._since = since
        self._interval = interval
        self._clock = clock or SystemClock()

    async def ingest(self, writer: Writer, parent: Pointer | None) -> AsyncIterator[Awaitable[Result]]:
        """See `Ingestor.ingest`. GitError where git fails, or a commit that the place tells of is gone."""
        place = None if parent is None else GitPosition.decode(parent)
        if place is not None:
            async with aclosing(self._range(place, skip_to=place.commit)) as commits:
                async for position, commit in commits:
                    yield self._block(writer, parent, position, commit)
                    parent, place = position.encode(), position
        while True:
            base = await self._resolved(self._since) if place is None and self._since else ""
            tip = await self._resolved(self._revision, missing_ok=True)
            start = (
                GitPosition(0, base, tip, "")
                if place is None
                else GitPosition(place.number, place.tip, tip, "")
            )
            if tip not in ("", start.base):
                async with aclosing(self._range(start, skip_to=None)) as commits:
                    async for position, commit in commits:
                        yield self._block(writer, parent, position, commit)
                        parent, place = position.encode(), position
            if self._interval is None:
                return
            await self._clock.sleep(self._interval)

    def pointer_metric(self, pointer: Pointer) -> int:
        """How many commits that makes."""
        return int.from_bytes(pointer[:8], "big")

    async def _block(
        self, writer: Writer, parent: Pointer | None, position: GitPosition, commit: GitCommit
    ) -> Result:
        block = position.encode()
        await writer.write(self.name, block, self._events_of(commit))
        return Result(parent, block)

    async def _range(
        self, start: GitPosition, *, skip_to: str | None
    ) -> AsyncGenerator[tuple[GitPosition, GitCommit], None]:
        """The commits of a range, the oldest first; those behind `skip_to` alone, where that is given."""
        revisions = f"{start.base}..{start.tip}" if start.base else start.tip
        number, skipping = start.number, skip_to is not None
        process = await start_git(self._path, "log", "--reverse", "--topo-order", *_FORMAT, revisions, "--")
        try:
            assert process.stdout is not None
            async for commit in _commits(process.stdout):
                if skipping:
                    skipping = commit.id != skip_to
                    continue
                number += 1
                yield GitPosition(number, start.base, start.tip, commit.id), commit
            await finish_git(process)
        finally:
            await end_git(process)
        if skipping:
            raise GitError(f"commit {skip_to} does not lie in {revisions} of {self._path} any more")

    async def _resolved(self, revision: str, *, missing_ok: bool = False) -> str:
        """The ID of the commit that a revision names; "" where there is none yet."""
        process = await start_git(
            self._path, "rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}"
        )
        try:
            output, errors = await process.communicate()
        finally:
            await end_git(process)
        if not process.returncode:
            return output.decode().strip()
        if missing_ok and not errors:
            return ""
        raise GitError(git_message(errors) or f"{revision} names no commit of {self._path}")


async def _commits(stream: asyncio.StreamReader) -> AsyncIterator[GitCommit]:
    """What `git log -z --numstat` tells."""
    header: tuple[str, bytes, int] | None = None
    changes: list[GitChange] = []
    tokens = _tokens(stream)
    async for token in tokens:
        if token.startswith(b"\x01"):
            if header is not None:
                yield GitCommit(*header, tuple(changes))
            header, changes = _header(token), []
            continue
        added, removed, path = token.removeprefix(b"\n").split(b"\t", 2)
        if not path:  # a rename: the old name and the new one follow
            await anext(tokens)
            path = await anext(tokens)
        changes.append(GitChange(path, _lines(added), _lines(removed)))
    if header is not None:
        yield GitCommit(*header, tuple(changes))


async def _tokens(stream: asyncio.StreamReader) -> AsyncIterator[bytes]:
    pending = b""
    while chunk := await stream.read(1 << 16):
        *whole, pending = (pending + chunk).split(b"\0")
        for token in whole:
            yield token


def _header(token: bytes) -> tuple[str, bytes, int]:
    commit_id, seconds, author = token[1:].split(b"\x1f", 2)
    return commit_id.decode(), author, int(seconds or 0)  # none: an author line that git itself cannot read


def _lines(count: bytes) -> int:
    return 0 if count == b"-" else int(count)
