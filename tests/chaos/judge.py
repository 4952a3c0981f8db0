"""The promises, each compared with the evidence."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from typing import NamedTuple

from eventbox.document_processor import EVERSION
from tests.account import OPENING
from tests.chaos.accounts import CHANGING, counter_of, trace_id
from tests.chaos.case import Case
from tests.chaos.evidence import Evidence
from tests.chaos.log_judge import copies, one_order

_SHOWN = 20


class Finding(NamedTuple):
    """What became of a promise: in what it was broken; nothing where it was kept."""

    promise: str
    violations: list[str]


def judge(evidence: Evidence) -> list[Finding]:
    """Every promise, in the order in which they are told; of each at most 20 violations, and how many more."""
    case = Case(evidence)
    findings = []
    for promise, check in PROMISES.items():
        found = list(check(case))
        more = [f"... and {len(found) - _SHOWN} more"] if len(found) > _SHOWN else []
        findings.append(Finding(promise, found[:_SHOWN] + more))
    return findings


def nothing_lost(case: Case) -> Iterator[str]:
    for id in case.acknowledged:
        act = case.acts[id]
        if act.kind == "transaction":
            if id not in case.markers:
                yield f"the transaction {id} was acknowledged, and its marker is not there"
            continue
        for order in act.orders:
            if order.do != "noise" and not case.applied(order):
                yield f"{order.id} for {order.at} was acknowledged ({act.kind}), and never applied"
    for id, order in case.orders.items():
        if id not in case.traces and "|" in order.id:
            yield f"the credit {order.id} of a transfer that was applied never was"
        if id not in case.traces and order.id.startswith("block."):
            yield f"the event {order.id} for {order.at} of a block that was taken in was never applied"


def exactly_once(case: Case) -> Iterator[str]:
    for id, trace in case.traces.items():
        if trace.n != 1 or len(trace.by) != 1:
            yield f"{id} was applied {trace.n} times, by {trace.by}"
    for path in case.evidence.paths:
        record = case.evidence.documents.get(path, {}).get("applied", [])
        twice = [id for id, times in Counter(record).items() if times > 1]
        if twice:
            yield f"the state of {path} has {twice} more than once"


def nothing_invented(case: Case) -> Iterator[str]:
    for id in case.traces.keys() - case.orders.keys():
        yield f"{id} was applied, and nobody has sent it"
    for id, order in case.orders.items():
        if order.do == "noise" and id in case.traces:
            yield f"{id} was garbage, and was applied"


def all_or_nothing(case: Case) -> Iterator[str]:
    for path in case.evidence.paths:
        record = {trace_id(path, id) for id in case.evidence.documents.get(path, {}).get("applied", [])}
        traced = {
            id
            for id, order in case.orders.items()
            if order.at == path and order.do in CHANGING and id in case.traces
        }
        if record != traced:
            yield f"the state of {path} and the side effects differ: {sorted(record ^ traced)[:5]}"
    for id, act in case.acts.items():
        if act.kind == "transaction":
            for order in act.orders:
                if order.do != "noise" and case.applied(order) != (id in case.markers):
                    yield f"{order.id} and the marker of its transaction are not both there, or both not"


def the_sum_stays(case: Case) -> Iterator[str]:
    accounts = [case.evidence.documents.get(path, {}) for path in case.evidence.paths]
    held = sum(account.get("balance", OPENING) for account in accounts)
    outside = sum(
        order.amount
        for order in case.orders.values()
        if order.do == "credit" and "|" not in order.id and case.applied(order)
    )
    total = OPENING * len(accounts) + outside
    if held != total:
        yield f"the accounts hold {held}, not {total}"


def versions(case: Case) -> Iterator[str]:
    batches: dict[str, set[str]] = {}
    for id, trace in case.traces.items():
        if id in case.orders and case.orders[id].do in CHANGING:
            batches.setdefault(case.orders[id].at, set()).update(mark.partition(".")[0] for mark in trace.by)
    for path in case.evidence.paths:
        eversion = case.evidence.documents.get(path, {}).get(EVERSION, 0)
        if eversion != len(batches.get(path, ())):
            yield f"{len(batches.get(path, ()))} batches saved {path}, and its eversion is {eversion}"


def isolation(case: Case) -> Iterator[str]:
    reads = Counter(
        counter_of(order.at) for id, order in case.orders.items() if order.do == "read" and id in case.traces
    )
    for path in reads.keys() | {path for path in case.evidence.documents if path.startswith("counters/")}:
        count = case.evidence.documents.get(path, {}).get("n", 0)
        if count != reads[path]:
            yield f"{reads[path]} side effects counted in {path}, which says {count}"


def callbacks(case: Case) -> Iterator[str]:
    told = {one["batch"] for one in case.evidence.records if one.what == "batch"}
    for id, trace in case.traces.items():
        for mark in trace.by:
            if mark.partition(".")[0] not in told:
                yield f"{id} was applied by {mark}, which no journal has"
    times: Counter[str] = Counter()
    for record in case.evidence.records:
        if record.what == "committed":
            times[record["mark"]] += 1
            for id in record["ids"]:
                found = case.traces.get(trace_id(record["path"], id))
                if found is None or record["mark"] not in found.by:
                    yield f"{record.who} was told that {record['mark']} with {id} was committed, and it was not"
    yield from (f"the callback of {mark} ran {n} times" for mark, n in times.items() if n > 1)


def duplicates_told(case: Case) -> Iterator[str]:
    for id, duplicates in case.acknowledged.items():
        if duplicates and case.attempts[id] == 1:
            yield f"{duplicates} were sent once, and said to be duplicates"


def no_resurrection(case: Case) -> Iterator[str]:
    for id, duplicate in case.evidence.again.items():
        if duplicate is not True:
            yield f"{id} was emitted again after it had been applied, and was taken for new"


def tasks(case: Case) -> Iterator[str]:
    yield from (f"the task of {id} ran without its commit" for id in sorted(case.tasks - case.markers))
    yield from (f"{id} was committed, and its task never ran" for id in sorted(case.markers - case.tasks))


def one_chain(case: Case) -> Iterator[str]:
    taken = Counter(
        block
        for record in case.evidence.records
        if record.what == "taken in"
        for block in range(record["first"], record["last"] + 1)
    )
    yield from (f"block {block} was committed {n} times" for block, n in taken.items() if n > 1)
    if case.evidence.committed_block != case.evidence.blocks:
        yield f"the feed has {case.evidence.blocks} blocks, and {case.evidence.committed_block} were taken in"


def nothing_early(case: Case) -> Iterator[str]:
    for record in case.evidence.records:
        if record.what == "early":
            yield f"{record['id']} was handed to {record.who} before its time"


def progress(case: Case) -> Iterator[str]:
    evidence = case.evidence
    yield from (f"still to come: {what}" for what in evidence.waited_for)
    yield from (f"{path} is outstanding" for path in evidence.outstanding)
    yield from (f"{path} is left" for path in evidence.reminders)
    yield from (f"{path} was set aside, and there is no poison" for path in evidence.quarantined)


def errors(case: Case) -> Iterator[str]:
    yield from case.evidence.fell
    for record in case.evidence.records:
        if record.what == "unheard":
            yield f"{record.who}, life {record.life}: {record['message']}"


PROMISES: Mapping[str, Callable[[Case], Iterator[str]]] = {
    "nothing lost": nothing_lost,
    "effect exactly once": exactly_once,
    "nothing invented": nothing_invented,
    "all or nothing": all_or_nothing,
    "the sum stays": the_sum_stays,
    "versions": versions,
    "isolation": isolation,
    "callbacks after their commit": callbacks,
    "duplicates are told": duplicates_told,
    "no resurrection": no_resurrection,
    "a task if and only if its commit": tasks,
    "one contiguous order": one_order,
    "the same for all followers": copies,
    "no commit by a lost lease": one_chain,
    "nothing early": nothing_early,
    "progress": progress,
    "no error that nobody expects": errors,
}
"""All that is checked."""
