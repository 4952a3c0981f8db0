"""A git history of any size, to run the demo on: `python -m benchmarks.generate_history DIRECTORY --commits 50000`.

The same arguments give the same history. Authors and files are drawn so that a few of them get most of the changes,
as in real repositories.
"""

from __future__ import annotations

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import click

_FIRST_DAY = 1_700_000_000  # s since the epoch


def stream(commits: int, authors: int, files: int, seed: int) -> Iterator[bytes]:
    """What `git fast-import` reads."""
    rng = random.Random(seed)
    lines: dict[int, list[str]] = {}
    for n in range(1, commits + 1):
        author = _skewed(rng, authors)
        who = f"Author {author} <author{author}@example.com> {_FIRST_DAY + 600 * n} +0000"
        message = f"Change {n}"
        yield f"commit refs/heads/main\nmark :{n}\nauthor {who}\ncommitter {who}\n".encode()
        yield f"data {len(message)}\n{message}\n".encode()
        if n > 1:
            yield f"from :{n - 1}\n".encode()
        for file in {_skewed(rng, files) for _ in range(rng.randint(1, 4))}:
            content = lines.setdefault(file, [])
            del content[: rng.randint(0, min(3, len(content)))]
            content.extend(f"line {n} {i}" for i in range(rng.randint(1, 5)))
            del content[:-50]
            data = ("\n".join(content) + "\n").encode()
            yield (
                f"M 100644 inline src/{file % 37}/file{file}.txt\ndata {len(data)}\n".encode() + data + b"\n"
            )


def _skewed(rng: random.Random, n: int) -> int:
    return min(int(rng.paretovariate(0.6)), n)


@click.command()
@click.argument("directory", type=click.Path(path_type=Path))
@click.option("--commits", default=50_000, show_default=True, type=click.IntRange(1))
@click.option("--authors", default=300, show_default=True, type=click.IntRange(1))
@click.option("--files", default=5_000, show_default=True, type=click.IntRange(1))
@click.option("--seed", default=0, show_default=True)
def main(directory: Path, commits: int, authors: int, files: int, seed: int) -> None:
    """Make DIRECTORY a bare repository with a generated history."""
    if directory.exists() and any(directory.iterdir()):
        raise click.UsageError(f"{directory} is not empty")
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", str(directory)], check=True)
    with subprocess.Popen(["git", "fast-import", "--quiet"], cwd=directory, stdin=subprocess.PIPE) as process:
        assert process.stdin is not None
        for part in stream(commits, authors, files, seed):
            process.stdin.write(part)
        process.stdin.close()
    if process.returncode:
        raise click.ClickException("git fast-import failed")
    click.echo(f"{directory}: {commits} commits")


if __name__ == "__main__":
    main()
