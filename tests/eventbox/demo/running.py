"""Running `eventbox demo` as a command, and histories for it."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

ENVIRONMENT = {
    **{key: value for key, value in os.environ.items() if not key.startswith("GIT_")},
    "GIT_CONFIG_GLOBAL": os.devnull,
    "GIT_CONFIG_SYSTEM": os.devnull,
    "GIT_AUTHOR_NAME": "Ada",
    "GIT_AUTHOR_EMAIL": "ada@example.com",
    "GIT_AUTHOR_DATE": "2030-01-02T03:04:05Z",
    "GIT_COMMITTER_NAME": "Ada",
    "GIT_COMMITTER_EMAIL": "ada@example.com",
}


def make_history(path: Path, commits: int) -> None:
    """A bare repository; each commit changes two files, which makes four events."""
    changes = (
        f"commit refs/heads/main\ncommitter A{n % 3} <a@b> {n} +0000\ndata 1\nx\n"
        + "".join(f"M 644 inline {(n + 5 * i) % 40}\ndata {len(str(n))}\n{n}\n" for i in range(2))
        for n in range(commits)
    )
    for arguments, given in (
        (("init", "-q", "--bare", "-b", "main"), ""),
        (("fast-import", "--quiet"), "".join(changes)),
    ):
        subprocess.run(
            ["git", *arguments],
            cwd=path,
            input=given,
            text=True,
            check=True,
            capture_output=True,
            env=ENVIRONMENT,
        )


@asynccontextmanager
async def command(
    cwd: Path, *arguments: str, variables: Mapping[str, str] | None = None
) -> AsyncIterator[asyncio.subprocess.Process]:
    """`eventbox` with these arguments; it has ended afterwards."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "eventbox", *arguments, cwd=cwd, env={**ENVIRONMENT, **(variables or {})},
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            process.kill()
        await process.wait()
        process._transport.close()  # type: ignore[attr-defined]


async def demo(cwd: Path, *arguments: str) -> tuple[int | None, str]:
    """The exit code of `eventbox demo`, and all that it said."""
    async with command(cwd, "demo", *arguments) as process:
        output, _ = await process.communicate()
        return process.returncode, output.decode()


async def line_with(text: str, process: asyncio.subprocess.Process) -> str:
    """What it says next that has this in it."""
    assert process.stdout is not None
    while text.encode() not in (line := await process.stdout.readline()):
        assert line, f"it ended without saying {text!r}"
    return line.decode()
