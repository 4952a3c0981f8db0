"""The attack, attacked: mistakes that a good engineer makes, each of which the simulation has to find.

`python -m tests.simulation.mutants` (`make mutants`) tells by which seed each mutant is caught, and the promise broken.
"""

from __future__ import annotations

import asyncio
import os
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from typing import Any
from unittest.mock import patch

import click
from google.api_core.exceptions import GoogleAPICallError
from grpc import StatusCode

from dsset import documents, protos
from dsset.adding import Adding
from dsset.dsset import DSSet
from dsset.wire import Wire
from eventbox import ContentionError, DocumentProcessor, EventBox, commit as commit_module
from eventbox.batch import Batch
from eventbox.commit import Outcome
from eventbox.staging import Staging
from eventbox.tasks import Sweeper, SweepReport, TaskQueue
from eventbox.transaction import Transaction
from tests.simulation.processors import PlainProcessor
from tests.simulation.simulation import simulate

WITHIN = 500
"""Seeds."""

Change = tuple[Any, str, Any]


def _writes(change: Callable[[Staging, list[Any]], list[Any]]) -> list[Change]:
    original = Staging.writes
    return [(Staging, "writes", lambda self: change(self, original(self)))]


def _message(write: Any) -> Any:
    return write.message() if hasattr(write, "message") else write


def no_precondition_on_consumed_events() -> list[Change]:
    def change(staging: Staging, writes: list[Any]) -> list[Any]:
        pops = [_message(write) for write in writes[: staging.pops]]
        for pop in pops:
            pop.ClearField("current_document")
        return [*pops, *writes[staging.pops :]]

    return _writes(change)


def consumed_events_are_deleted_without_a_tombstone() -> list[Change]:
    def change(staging: Staging, writes: list[Any]) -> list[Any]:
        pops = [_message(write) for write in writes[: staging.pops]]
        deletes = [
            protos.Write(delete=pop.update.name, current_document=pop.current_document) for pop in pops
        ]
        return [*deletes, *writes[staging.pops :]]

    return _writes(change)


def events_are_not_consumed() -> list[Change]:
    return _writes(lambda staging, writes: writes[staging.pops :])


def no_version_check_of_documents() -> list[Change]:
    return [(Transaction, "_verify", lambda self, name, version: None)]


def no_version_check_of_plain_processors() -> list[Change]:
    class Whatever(int):
        def __ne__(self, other: object) -> bool:
            return False

        __hash__ = int.__hash__

    async def unread(self: Any, transaction: Any) -> int:  # nothing is read in the transaction
        return Whatever(0)

    return [(PlainProcessor, "fetch_eversion", unread)]


def the_state_is_saved_under_the_old_eversion() -> list[Change]:
    original = DocumentProcessor.save_state

    async def save(self: Any, transaction: Any, state: Any, eversion: int) -> None:
        await original(self, transaction, state, eversion - 1)

    return [(DocumentProcessor, "save_state", save)]


def commits_are_resent_blindly() -> list[Change]:
    original = Wire.commit

    async def commit(self: Any, writes: Any, **options: Any) -> Any:
        writes = list(writes)
        for _ in range(3):
            try:
                return await original(self, writes, **options)
            except GoogleAPICallError as error:
                if error.grpc_status_code is not StatusCode.UNAVAILABLE:
                    raise
        return await original(self, writes, **options)

    return [(Wire, "commit", commit)]


def a_lost_answer_is_taken_for_success() -> list[Change]:
    async def find_out(*_: Any) -> Any:
        return None

    return [(commit_module, "_find_out", find_out)]


def a_lost_answer_is_taken_for_contention() -> list[Change]:
    async def find_out(transaction: Any, writes: Any, lost: Exception, resolve: Any) -> Any:
        await transaction._end("lost")
        raise ContentionError("lost") from lost

    return [(commit_module, "_find_out", find_out)]


def a_resent_commit_that_fails_is_taken_for_contention() -> list[Change]:
    async def was_committed(*_: Any) -> Outcome:
        return Outcome.NEVER

    return [(Batch, "_was_committed", was_committed)]


def the_commit_is_split_in_two() -> list[Change]:
    original = Wire.commit

    async def commit(self: Any, writes: Any, **options: Any) -> Any:
        writes = list(writes)
        if len(writes) > 1 and not options.get("transaction"):
            last = await original(self, writes[-1:], **options)
            response = await original(self, writes[:-1], **options)
            response.write_results.extend(last.write_results)
            return response
        return await original(self, writes, **options)

    return [(Wire, "commit", commit)]


def what_a_skipped_side_effect_wrote_stays() -> list[Change]:
    @contextmanager
    def savepoint(self: Any) -> Iterator[Callable[[], None]]:
        yield lambda: None

    return [(Transaction, "_savepoint", savepoint)]


def callbacks_of_the_commit_run_before_it() -> list[Change]:
    run = commit_module._run_callbacks
    original = commit_module.commit

    async def early(transaction: Any, **options: Any) -> Any:
        await run(transaction)
        transaction._on_commit.clear()
        return await original(transaction, **options)

    from eventbox import batch, run_in_transaction

    return [(batch, "commit", early), (run_in_transaction, "commit", early)]


def post_process_runs_before_the_commit() -> list[Change]:
    original = Batch._apply

    async def apply(self: Any, transaction: Any, listing: Any, left: Any, transitions: Any) -> Any:
        kept = await original(self, transaction, listing, left, transitions)
        for transition in kept:
            if transition.post_process is not None:
                await transition.post_process()
        return kept

    return [(Batch, "_apply", apply)]


def post_process_is_returned_twice() -> list[Change]:
    original = EventBox.process_batch

    async def process_batch(self: Any, *arguments: Any, **options: Any) -> Any:
        return (await original(self, *arguments, **options)) * 2

    return [(EventBox, "process_batch", process_batch)]


def adds_overwrite_what_is_there() -> list[Change]:
    original = documents.create

    def create(name: str, item: Any, token: bytes) -> Any:
        write = original(name, item, token)
        write.ClearField("current_document")
        return write

    return [(documents, "create", create)]


def adds_in_transactions_lower_due() -> list[Change]:
    def merge(name: str, item: Any) -> Any:
        return protos.Write(update=protos.Document(name=name, fields=documents._fields(item, b"")))

    return [(documents, "merge", merge)]


def a_resent_add_takes_itself_for_a_duplicate() -> list[Change]:
    original = Adding.looked

    def looked(self: Any, response: Any, token: bytes, delay: Any) -> None:
        original(self, response, b"another", delay)

    return [(Adding, "looked", looked)]


def an_add_that_was_refused_is_taken_for_done() -> list[Change]:
    def written(self: Any, code: StatusCode, message: str) -> bool:
        self.finish(code is StatusCode.OK)
        return False

    return [(Adding, "written", written)]


def events_come_before_they_are_due() -> list[Change]:
    original = DSSet._run

    def run(self: Any, due_by: int, limit: int, after: Any, timeout: float) -> Any:
        return original(self, documents.GONE - 1, limit, after, timeout)

    decode = documents.decode

    def undated(document: Any) -> Any:
        item = decode(document)
        if item.process_after is not None:
            object.__setattr__(item, "process_after", None)
        return item

    return [(DSSet, "_run", run), (documents, "decode", undated)]


def garbage_is_not_deleted() -> list[Change]:
    async def delete(*_: Any) -> None:
        return None

    return [(Batch, "_delete", delete)]


def the_sweeper_does_nothing() -> list[Change]:
    async def sweep(*_: Any, **__: Any) -> SweepReport:
        return SweepReport(0, 0, 0)

    return [(Sweeper, "sweep", sweep)]


def tasks_are_created_before_the_commit() -> list[Change]:
    original = TaskQueue._remind_in

    def remind(self: Any, transaction: Any, reminder: Any) -> None:
        original(self, transaction, reminder)
        asyncio.ensure_future(self._after_commit(transaction, [reminder]))  # noqa: RUF006

    return [(TaskQueue, "_remind_in", remind)]


def a_lagging_state_goes_with_a_later_listing() -> list[Change]:
    """The state is loaded before the listing, and nothing ties the two together."""
    return [*no_precondition_on_consumed_events(), *no_version_check_of_documents()]


MUTANTS: dict[str, Callable[[], list[Change]]] = {
    mutant.__name__.replace("_", " "): mutant
    for mutant in (
        no_precondition_on_consumed_events,
        consumed_events_are_deleted_without_a_tombstone,
        events_are_not_consumed,
        no_version_check_of_documents,
        no_version_check_of_plain_processors,
        the_state_is_saved_under_the_old_eversion,
        commits_are_resent_blindly,
        a_lost_answer_is_taken_for_success,
        a_lost_answer_is_taken_for_contention,
        a_resent_commit_that_fails_is_taken_for_contention,
        the_commit_is_split_in_two,
        what_a_skipped_side_effect_wrote_stays,
        callbacks_of_the_commit_run_before_it,
        post_process_runs_before_the_commit,
        post_process_is_returned_twice,
        adds_overwrite_what_is_there,
        adds_in_transactions_lower_due,
        a_resent_add_takes_itself_for_a_duplicate,
        an_add_that_was_refused_is_taken_for_done,
        events_come_before_they_are_due,
        garbage_is_not_deleted,
        the_sweeper_does_nothing,
        tasks_are_created_before_the_commit,
        a_lagging_state_goes_with_a_later_listing,
    )
}


@contextmanager
def applied(mutant: str) -> Iterator[None]:
    """The library with this mistake in it."""
    patches = [patch.object(*change) for change in MUTANTS[mutant]()]
    for one in patches:
        one.start()
    try:
        yield
    finally:
        for one in reversed(patches):
            one.stop()


def caught(mutant: str, seeds: range = range(WITHIN)) -> tuple[str, int | None, str]:
    """The mutant, the first seed that catches it, and the promise broken; None where none does."""
    with applied(mutant):
        for seed in seeds:
            violations = simulate(seed).violations
            if violations:
                return mutant, seed, violations[0]
    return mutant, None, ""


def main() -> None:
    """Print a line for each mutant; exit status 1 where one is not caught."""
    missed = 0
    with ProcessPoolExecutor(os.cpu_count() or 1) as pool:
        for mutant, seed, violation in pool.map(caught, MUTANTS, chunksize=1):
            missed += seed is None
            told = "NOT CAUGHT" if seed is None else f"seed {seed:3}  {violation:.110}"
            click.echo(f"{mutant:55} {told}")
    click.echo(f"{len(MUTANTS)} mutants, {missed} not caught")
    sys.exit(bool(missed))


if __name__ == "__main__":
    main()
