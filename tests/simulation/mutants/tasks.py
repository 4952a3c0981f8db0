"""Mistakes in tasks, wake-ups, the sweeper and the worker."""

from __future__ import annotations

import asyncio
from typing import Any

from eventbox.tasks import Sweeper, SweepReport, TaskQueue
from eventbox.tasks.creating import Creator
from eventbox.tasks.placing import Placing
from eventbox.tasks.recipient_turns import Turn
from eventbox.tasks.reminders import Reminder
from eventbox.tasks.sweeper import _Sweep
from eventbox.tasks.wakeups import WakeUp
from eventbox.tasks.waking import _WakeUpRun
from tests.simulation.mutants.patching import Change, mutant, rewritten


@mutant("transfers")
def the_sweeper_does_nothing() -> list[Change]:
    async def sweep(*_: Any, **__: Any) -> SweepReport:
        return SweepReport(0, 0, 0)

    return [(Sweeper, "sweep", sweep)]


@mutant("transfers")
def tasks_are_created_before_the_commit() -> list[Change]:
    original = TaskQueue._remind_in

    def remind(self: Any, transaction: Any, reminder: Any) -> None:
        original(self, transaction, reminder)
        asyncio.ensure_future(self._after_commit(transaction, [reminder]))  # noqa: RUF006

    return [(TaskQueue, "_remind_in", remind)]


@mutant("transfers")
def a_reminder_is_deleted_before_its_task_is_created() -> list[Change]:
    old = "await self.create(reminder, commit_time, remaining)"
    new = "self._removal.add(self._deletion(reminder, commit_time))\n        " + old
    return [rewritten(Placing, "_place_one", old, new)]


@mutant("transfers")
def a_reminder_is_deleted_where_its_task_could_not_be_created() -> list[Change]:
    old = 'logger.log(level, "a task of a commit is left to the sweeper: %s", error)\n        return'
    return [rewritten(Placing, "_place_one", old, "pass")]


@mutant("transfers")
def a_transaction_leaves_no_reminder() -> list[Change]:
    old = "transaction._add_write_pbs([wrap_write(self._shelf.write(reminder))])"
    return [rewritten(TaskQueue, "_remind_in", old, "")]


@mutant("transfers")
def an_event_is_sent_without_a_reminder() -> list[Change]:
    return [rewritten(TaskQueue, "send", "[self._shelf.write(reminder)]", "[]")]


@mutant("transfers")
def a_duplicate_wakes_nobody() -> list[Change]:
    return [rewritten(TaskQueue, "send", "await self.notify(to, process_after, timeout=timeout)", "pass")]


@mutant("transfers")
def a_wake_up_is_for_the_second_of_the_commit() -> list[Change]:
    from eventbox.tasks import reminders, wakeups

    change = rewritten(wakeups, "second_after", "// _SECOND + 1", "// _SECOND")
    return [change, (reminders, "second_after", change[2])]


@mutant("transfers")
def a_wake_up_goes_by_the_clock() -> list[Change]:
    old = "reminder.wake_up(commit_time)"
    return [rewritten(Placing, "create", old, "reminder.wake_up(self._clock.now())")]


@mutant("transfers")
def a_wake_up_is_named_by_its_recipient_alone() -> list[Change]:
    old = "what = f\"{self.recipient}\\n{self.second}{_FRESH if self.fresh else ''}\""
    return [rewritten(WakeUp, "name", old, "what = self.recipient")]


@mutant("transfers")
def a_delayed_event_wakes_at_once_alone() -> list[Change]:
    return [
        rewritten(Reminder, "wake_up", "second_after(commit_time, self.eta)", "second_after(commit_time)")
    ]


@mutant("transfers")
def what_is_left_gets_no_wake_up() -> list[Change]:
    return [rewritten(_WakeUpRun, "_again", "await self._queue.wake(", "(lambda *_, **__: None)(")]


@mutant("transfers")
def contention_gets_no_wake_up() -> list[Change]:
    old = "return await self._again(Outcome.CONTENDED, reason, idle=0 if moved else self._wakeup.idle + 1)"
    return [rewritten(_WakeUpRun, "_contended", old, "return self._answer(Outcome.CONTENDED, reason)")]


@mutant("transfers")
def a_run_that_fails_is_taken_for_done() -> list[Change]:
    old = 'return self._answer(failure(error), "the run failed", error)'
    return [rewritten(_WakeUpRun, "_run", old, 'return self._answer(Outcome.DONE, "the run failed", error)')]


@mutant("transfers")
def a_late_wake_up_is_dropped() -> list[Change]:
    old = "return await self._again(Outcome.LATE, reason, fresh=True)"
    return [rewritten(_WakeUpRun, "answer", old, "return self._answer(Outcome.LATE, reason)")]


@mutant("transfers")
def a_worker_that_stops_drops_what_comes() -> list[Change]:
    old = 'return await self._again(Outcome.LEFT, "the worker is stopping")'
    return [
        rewritten(_WakeUpRun, "_in_turn", old, 'return self._answer(Outcome.LEFT, "the worker is stopping")')
    ]


@mutant("transfers")
def a_run_under_way_does_the_work_of_what_comes_meanwhile() -> list[Change]:
    old = "settled[0] > self._arrived and settled[1] >= until"
    return [rewritten(Turn, "is_settled", old, "True")]


@mutant("transfers")
def the_sweeper_deletes_without_creating() -> list[Change]:
    old = "await self._placing.create(found.reminder, found.created_at, _CREATE_TIMEOUT)"
    return [rewritten(_Sweep, "_create", old, "pass")]


@mutant("transfers")
def a_task_that_is_there_already_is_taken_for_a_failure() -> list[Change]:
    old = 'self._telemetry.created(kind, "existed")'
    new = "raise EnqueueError(self._queue, name, 'it is there', transient=False)"
    return [rewritten(Creator, "create", old, new)]


@mutant("transfers")
def what_the_sweeper_has_created_stays() -> list[Change]:
    return [rewritten(_Sweep, "_finish", "writes.append(one.delete())", "pass")]
