"""Running git, so that it says the same whatever the user's settings are."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from pathlib import Path

_SETTINGS = (
    # the user's own may put something else between the lines, or merges into them
    "log.showSignature=false",
    "log.showRoot=true",
    "log.diffMerges=off",
    "color.ui=false",
    "core.quotePath=false",
)

_ELSEWHERE = frozenset(
    ("GIT_DIR", "GIT_WORK_TREE", "GIT_COMMON_DIR", "GIT_INDEX_FILE", "GIT_OBJECT_DIRECTORY")
)
"""What would make git take another repository than the folder's: a git hook sets these."""

_MAX_LINE = 1 << 24  # bytes


class GitError(Exception):
    """Git is missing, the folder is no repository, or git refused; the message says which."""


async def start_git(path: Path, *arguments: str) -> asyncio.subprocess.Process:
    """Git in a folder, with its output to be read; `end_git` must follow.

    Raises:
        GitError: git is missing, or the folder.
    """
    settings = (part for setting in _SETTINGS for part in ("-c", setting))
    environment = {name: value for name, value in os.environ.items() if name not in _ELSEWHERE}
    try:
        return await asyncio.create_subprocess_exec(
            "git",
            *settings,
            *arguments,
            cwd=path,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            limit=_MAX_LINE,
            env={**environment, "LC_ALL": "C"},
            start_new_session=True,  # a Ctrl-C is for us; we end it
        )
    except FileNotFoundError as error:
        if not path.is_dir():
            raise GitError(f"{path} is no folder") from error
        raise GitError("git was not found: install it, or put it on the PATH") from error


async def finish_git(process: asyncio.subprocess.Process) -> None:
    """Wait for its end, once all of its output has been read.

    Raises:
        GitError: it failed.
    """
    assert process.stderr is not None
    errors = await process.stderr.read()
    if await process.wait():
        raise GitError(git_message(errors) or "git log failed")


async def end_git(process: asyncio.subprocess.Process) -> None:
    """End it, if it has not ended, and let go of it."""
    if process.returncode is None:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
    process._transport.close()  # type: ignore[attr-defined] # else it outlives the loop


def git_message(errors: bytes) -> str:
    """The first line of what it complained of."""
    return errors.decode("utf-8", "replace").strip().removeprefix("fatal: ").partition("\n")[0]
