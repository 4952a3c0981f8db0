"""What `eventbox demo` does."""

from __future__ import annotations

import tempfile
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager
from importlib.resources import as_file, files
from pathlib import Path

from rich.console import Console

from eventbox.demo.git import NoRepositoryError, Repository, clone
from eventbox.demo.history_events import LOG
from eventbox.demo.history_log import log_totals
from eventbox.demo.kept_process import kept
from eventbox.demo.progress import Progress
from eventbox.demo.report import difference, rates, shown, top_table
from eventbox.demo.run import AUTHORS, FILES, PROJECT, World, run, stored_totals, world

BUNDLE = "history.bundle"


async def demo(
    repo: Path | None, since: str | None, workers: int, console: Console, *, chaos: bool = False
) -> bool:
    """Run it, with `chaos` while processes are killed again and again; whether the totals are git's.

    Raises:
        GitError: there is no history to read; the message says why.
    """
    async with _repository(repo, since, console) as repository:
        if repository.shallow:
            _say(console, "The repository is a shallow clone: only the history that it has is read.")
        if repository.revisions is None:
            _say(console, f"{repository.path} has no commit yet.")
        else:
            _say(console, f"Reading the history of {repository.path} (a merge itself changes no file) ...")
        expected = await repository.totals()
        commits = await repository.count()
        progress = Progress(commits=commits, events=2 * expected.changes)
        async with world(workers, repository, progress) as on:
            _say(console, f"{workers} worker{'s are' if workers > 1 else ' is'} up.")
            async with kept(on.crew.ingestors):
                if on.crew.ingestors:
                    _say(
                        console,
                        f"Two processes compete for taking it in. To see the log meanwhile: {_tail(on)}",
                    )
                async with shown(progress, console):
                    await run(on, progress, chaos=chaos)
            client = on.client
            summary = rates(progress, await on.firestore.counts())
            if progress.processed:
                for table in (
                    await top_table(client, AUTHORS, "Top authors", "Author"),
                    await top_table(client, FILES, "Top files", "File"),
                ):
                    console.print()
                    console.print(table)
                _say(console, f"\n{summary}")
            authors = await stored_totals(client, AUTHORS)
            files, log = await stored_totals(client, FILES), await log_totals(client)
            problem = difference(expected, commits, authors, files, log)
    if problem is not None:
        _say(console, f"demo: failed: {problem}")
        return False
    _say(console, f"The log has {log.entries} entries, one for each commit.")
    _say(console, f"demo: ok: {progress.processed} events, totals equal to git's")
    return True


@asynccontextmanager
async def _repository(repo: Path | None, since: str | None, console: Console) -> AsyncIterator[Repository]:
    """The repository that is asked for; else the one that we stand in; else the one that comes with the package."""
    if repo is not None:
        yield await Repository.open(repo, since)
        return
    try:
        here = await Repository.open(Path.cwd(), since)
    except NoRepositoryError:
        if since is not None:
            raise
    else:
        yield here
        return
    _say(console, "No git repository here: taking a small real one that comes with the demo.")
    with tempfile.TemporaryDirectory(prefix="eventbox-demo-") as folder, _bundle() as bundle:
        target = Path(folder) / "history.git"
        await clone(bundle, target)
        yield await Repository.open(target)


def _tail(on: World) -> str:
    """What to paste into another shell."""
    return (
        f"FIRESTORE_EMULATOR_HOST={on.firestore.address} eventbox log tail --follow --project {PROJECT} {LOG}"
    )


def _say(console: Console, text: str) -> None:
    """Print what holds names of any kind: as it is, and on one line."""
    console.print(text, highlight=False, markup=False, soft_wrap=True)


def _bundle() -> AbstractContextManager[Path]:
    return as_file(files("eventbox.demo").joinpath(BUNDLE))
