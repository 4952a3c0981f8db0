"""Mistakes in commits, transactions, and what is made of lost answers."""

from __future__ import annotations

from typing import Any

from google.api_core.exceptions import GoogleAPICallError
from grpc import StatusCode

from dsset.wire import Wire
from eventbox import (
    ContentionError,
    box,
    commit as commit_module,
    run_in_transaction as run_module,
)
from eventbox.batch import Batch
from eventbox.commit import Outcome
from eventbox.staging import Staging
from eventbox.transaction import Transaction
from tests.simulation.mutants.patching import Change, mutant, rewritten


@mutant("transfers")
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


@mutant("transfers")
def a_lost_answer_is_taken_for_success() -> list[Change]:
    async def find_out(*_: Any) -> Any:
        return None

    return [(commit_module, "_find_out", find_out)]


@mutant("transfers")
def a_lost_answer_is_taken_for_contention() -> list[Change]:
    async def find_out(transaction: Any, writes: Any, lost: Exception, resolve: Any) -> Any:
        await transaction._end("lost")
        raise ContentionError("lost") from lost

    return [(commit_module, "_find_out", find_out)]


@mutant("transfers")
def a_resent_commit_that_fails_is_taken_for_contention() -> list[Change]:
    async def was_committed(*_: Any) -> Outcome:
        return Outcome.NEVER

    return [(Batch, "_was_committed", was_committed)]


@mutant("transfers")
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


@mutant("transfers")
def callbacks_of_the_commit_run_before_it() -> list[Change]:
    run = commit_module._run_callbacks
    original = commit_module.commit

    async def early(transaction: Any, **options: Any) -> Any:
        await run(transaction)
        transaction._on_commit.clear()
        return await original(transaction, **options)

    from eventbox import batch, run_in_transaction

    return [(batch, "commit", early), (run_in_transaction, "commit", early)]


@mutant("transfers")
def a_commit_of_the_users_own_is_resent() -> list[Change]:
    return [(Staging, "happens_once", property(lambda self: True))]


@mutant("transfers")
def an_unknown_outcome_is_tried_again() -> list[Change]:
    old = "except ContentionError as error:"
    new = "except Exception as error:"
    change = rewritten(run_module, "run_in_transaction", old, new)
    return [change, (box, "run_in_transaction", change[2])]


@mutant("transfers")
def callbacks_run_although_the_commit_failed() -> list[Change]:
    run = commit_module._run_callbacks
    original = Transaction._end

    async def end(self: Any, how: str) -> None:
        await original(self, how)
        if how in ("aborted", "refused", "lost"):
            await run(self)

    return [(Transaction, "_end", end)]


@mutant("transfers")
def what_a_skipped_side_effect_has_registered_stays() -> list[Change]:
    return [rewritten(Transaction, "_savepoint", "del self._on_commit[callbacks:]", "pass")]


@mutant("transfers")
def events_are_consumed_without_the_batchs_token() -> list[Change]:
    return [rewritten(Batch, "_apply", ", token=transaction.token", "")]


@mutant("transfers")
def reads_in_a_transaction_are_no_part_of_it() -> list[Change]:
    async def read(self: Any, rpc: Any, request: dict[str, Any], kwargs: dict[str, Any]) -> Any:
        plain = {key: value for key, value in request.items() if key != "transaction"}
        return aiter(await rpc(request=plain, **{**kwargs, "retry": None}))

    return [(Transaction, "_read", read)]
