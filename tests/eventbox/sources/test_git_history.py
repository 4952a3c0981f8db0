"""`GitHistory`: every commit once, however the history grows and wherever ingestion was interrupted."""

from __future__ import annotations

import subprocess
from collections import Counter
from pathlib import Path
from random import Random

import pytest

from eventbox import NewEvent
from eventbox.sources.ingestors.git_history import GitCommit, GitError, GitHistory, GitPosition
from tests.eventbox.sources.taking_in import take_in


class Repository:
    """One that the test commits to."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._n = 0
        self.git("init", "-q", "-b", "main")

    def git(self, *arguments: str) -> str:
        settings = ("user.name=A ü", "user.email=a@b", "commit.gpgsign=false", "merge.ff=false")
        done = subprocess.run(
            ["git", *(part for one in settings for part in ("-c", one)), *arguments],
            cwd=self.path, check=True, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout.strip()

    def commit(self) -> None:
        self._n += 1
        (self.path / f"file {self._n % 5}").write_text("line\n" * self._n)
        self.git("add", "-A")
        self.git("commit", "-q", "-m", f"{self._n}")

    def grow(self, rng: Random) -> None:
        for _ in range(rng.randint(1, 4)):
            if rng.random() < 0.4:
                self.git("checkout", "-q", "-b", f"b{self._n}", f"HEAD~{rng.randint(0, min(3, self._n - 1))}")
                for _ in range(rng.randint(1, 3)):
                    self._n += 1
                    (self.path / f"other {self._n}").write_text("x\n")
                    self.git("add", "-A")
                    self.git("commit", "-q", "-m", "branch")
                self.git("checkout", "-q", "main")
                self.git("merge", "-q", "--no-edit", "-")
            else:
                self.commit()

    def all(self) -> set[str]:
        return set(self.git("rev-list", "HEAD").split())


@pytest.fixture
def repository(tmp_path: Path) -> Repository:
    return Repository(tmp_path)


def events(commit: GitCommit) -> list[NewEvent]:
    lines = sum(change.added - change.removed for change in commit.changes)
    return [NewEvent(f"{commit.id} {lines}".encode())]


def ingestor(repository: Repository, **kwargs: object) -> GitHistory:
    return GitHistory("git", repository.path, events, interval=None, **kwargs)  # type: ignore[arg-type]


@pytest.mark.parametrize("seed", range(3))
async def test_every_commit_is_taken_in_once_while_the_history_grows_and_is_merged(
    repository: Repository, seed: int
) -> None:
    rng, place, seen = Random(seed), None, Counter[str]()
    repository.commit()
    for _ in range(6):
        repository.grow(rng)
        # interrupted anywhere, and gone on with after it has grown
        taken = await take_in(ingestor(repository), place, at_most=rng.choice([1, 2, 5, None]))
        place = taken.place
        seen.update(event.value.decode().split()[0] for event in taken.events)
    taken = await take_in(ingestor(repository), place)
    seen.update(event.value.decode().split()[0] for event in taken.events)
    assert set(seen) == repository.all()
    assert set(seen.values()) == {1}
    assert taken.place is not None
    assert ingestor(repository).pointer_metric(taken.place) == len(seen)


async def test_changes_are_gits(repository: Repository) -> None:
    repository.commit()
    (repository.path / "tab\there ü").write_bytes(b"\0binary")
    repository.git("mv", "file 1", "renamed")
    repository.git("add", "-A")
    repository.git("commit", "-q", "-m", "2", "--date", "2001-02-03T04:05:06Z")
    commits: list[GitCommit] = []

    def remember(commit: GitCommit) -> list[NewEvent]:
        commits.append(commit)
        return []

    await take_in(GitHistory("git", repository.path, remember, interval=None), None)
    assert [commit.id for commit in commits] == repository.git("rev-list", "--reverse", "HEAD").split()
    assert commits[1].author == "A ü <a@b>".encode()
    assert commits[1].authored_at == 981173106
    assert {(change.path, change.added, change.removed) for change in commits[1].changes} == {
        (b"renamed", 0, 0),
        ("tab\there ü".encode(), 0, 0),
    }


async def test_since_leaves_out_what_came_before(repository: Repository) -> None:
    for _ in range(3):
        repository.commit()
    first = repository.git("rev-list", "--reverse", "HEAD").split()[0]
    taken = await take_in(ingestor(repository, since=first), None, at_most=1)
    more = await take_in(ingestor(repository, since=first), taken.place)
    assert len(taken.events) == len(more.events) == 1


async def test_an_empty_history_is_waited_for(repository: Repository) -> None:
    assert not (await take_in(ingestor(repository), None)).events
    repository.commit()
    assert len((await take_in(ingestor(repository), None)).events) == 1


async def test_what_cannot_be_read_is_an_error_that_says_why(repository: Repository, tmp_path: Path) -> None:
    repository.commit()
    with pytest.raises(GitError, match=r"names no commit|unknown revision|Needed a single revision"):
        await take_in(ingestor(repository, since="nowhere"), None)
    with pytest.raises(GitError, match="is no folder"):
        await take_in(GitHistory("git", tmp_path / "missing", events), None)
    gone = GitPosition(1, "", "1" * 40, "2" * 40)
    with pytest.raises(GitError, match="bad object"):
        await take_in(ingestor(repository), gone.encode())
    head = repository.git("rev-parse", "HEAD")
    with pytest.raises(GitError, match="does not lie in"):
        await take_in(ingestor(repository), GitPosition(1, "", head, "2" * 40).encode())
    for pointer in (b"", b"\0" * 8, b"\0" * 8 + b" --output=x y", b"x" * 100):
        with pytest.raises(ValueError, match="no position in a git history"):
            await take_in(ingestor(repository), pointer)
    assert GitPosition.decode(gone.encode()) == gone
    with pytest.raises(TypeError, match="events_of"):
        GitHistory("git", tmp_path, "events")  # type: ignore[arg-type]
