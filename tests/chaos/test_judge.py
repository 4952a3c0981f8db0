"""The judge finds out a doctored store, and doctored journals."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest

from eventbox.document_processor import EVERSION
from tests.chaos.accounts import counter_of, credit_id, trace_id
from tests.chaos.acts import Act, Order
from tests.chaos.evidence import Entry, Evidence
from tests.chaos.journal import Record
from tests.chaos.judge import PROMISES, judge

FROM, TO = "accounts/0", "plain/1"
TRANSFER = Order("p.1.0", FROM, "transfer", 10, TO)
CREDIT = Order("p.2.0", TO, "credit", 7)
NOTE = Order("p.2.1", FROM, "note")
READ = Order("p.3.0", FROM, "read")
NOISE = Order("p.4.0", FROM, "noise")
ACTS = [
    Act("p.1", "emit", [TRANSFER]),
    Act("p.2", "transaction", [CREDIT, NOTE]),
    Act("p.3", "send", [READ]),
    Act("p.4", "emit", [NOISE]),
    Act("p.5", "append"),
    Act("p.6", "append trimable"),
]
MARKS = {
    trace_id(FROM, "p.1.0"): "b1.1",
    trace_id(TO, credit_id(TRANSFER)): "b2.1",
    trace_id(TO, "p.2.0"): "b3.1",
    trace_id(FROM, "p.2.1"): "b4.1",
    trace_id(FROM, "p.3.0"): "b5.1",
    trace_id(TO, "block.1"): "b6.1",
}
LOG = [Entry("act", "p.5"), Entry("block", "block.1"), Entry("act", "p.2")]
TRIMABLE = [LOG[0], Entry("act", "p.6"), *LOG[1:]]


def sound() -> Evidence:
    """What a run leaves behind in which every promise was kept."""
    documents: dict[str, dict[str, Any]] = {
        FROM: {"balance": 990, "applied": ["p.1.0", "p.3.0"], EVERSION: 2},
        TO: {"balance": 1_018, "applied": [credit_id(TRANSFER), "p.2.0", "block.1"], EVERSION: 3},
        "markers/p.2": {"at": 1.0},
        "tasks/p.2": {"n": 2},
        counter_of(FROM): {"n": 1},
        **{f"traces/{id}": {"n": 1, "by": [mark]} for id, mark in MARKS.items()},
        **{
            f"copies/{track}/f/{id}": {"n": 1, "kind": entry.kind, "payload": entry.payload}
            for track, entries in (("persistent", LOG), ("trimable", TRIMABLE))
            for id, entry in enumerate(entries)
        },
    }
    records = []
    for act in ACTS:
        records.append(Record("p", 1, 0.0, "intended", {"act": act.told()}))
        records.append(Record("p", 1, 0.0, "acknowledged", {"id": act.id, "duplicates": []}))
    records += [Record("w", 1, 0.0, "batch", {"batch": f"b{n}"}) for n in range(1, 7)]
    records.append(Record("w", 1, 0.0, "committed", {"mark": "b1.1", "path": FROM, "ids": ["p.1.0"]}))
    records.append(Record("l", 1, 0.0, "taken in", {"first": 1, "last": 1}))
    return Evidence(
        documents, records, [FROM, TO], {"persistent": LOG, "trimable": TRIMABLE},
        blocks=1, committed_block=1, again={"p.1.0": True},
    )  # fmt: skip


Doctor = Callable[[Evidence], Evidence]


def without(path: str) -> Doctor:
    return lambda evidence: replace(
        evidence, documents={one: fields for one, fields in evidence.documents.items() if one != path}
    )


def having(path: str, **fields: Any) -> Doctor:
    return lambda evidence: replace(
        evidence, documents={**evidence.documents, path: {**evidence.documents.get(path, {}), **fields}}
    )


def told(what: str, **details: Any) -> Doctor:
    return lambda evidence: replace(evidence, records=[*evidence.records, Record("w", 2, 0.0, what, details)])


def logged(*entries: Entry) -> Doctor:
    return lambda evidence: replace(evidence, logs={**evidence.logs, "persistent": entries})


def both(*doctors: Doctor) -> Doctor:
    def doctor(evidence: Evidence) -> Evidence:
        for one in doctors:
            evidence = one(evidence)
        return evidence

    return doctor


def trace(path: str, id: str) -> str:
    return f"traces/{trace_id(path, id)}"


CASES: list[tuple[str, Doctor]] = [
    ("nothing lost", both(without(trace(FROM, "p.3.0")), having(FROM, applied=["p.1.0"]))),
    ("nothing lost", without("markers/p.2")),
    ("nothing lost", without(trace(TO, credit_id(TRANSFER)))),
    ("nothing lost", without(trace(TO, "block.1"))),
    ("effect exactly once", having(trace(FROM, "p.3.0"), n=2)),
    ("effect exactly once", having(trace(FROM, "p.3.0"), by=["b5.1", "b6.1"])),
    ("effect exactly once", having(FROM, applied=["p.1.0", "p.3.0", "p.3.0"])),
    ("nothing invented", having(trace(FROM, "p.9.0"), n=1, by=["b1.1"])),
    ("nothing invented", having(trace(FROM, "p.4.0"), n=1, by=["b1.1"])),
    ("all or nothing", having(FROM, applied=["p.1.0"])),
    ("all or nothing", without(trace(FROM, "p.2.1"))),
    ("the sum stays", having(FROM, balance=991)),
    ("versions", having(FROM, **{EVERSION: 3})),
    ("isolation", having(counter_of(FROM), n=2)),
    ("callbacks after their commit", told("committed", mark="b1.1", path=FROM, ids=["p.1.0"])),
    ("callbacks after their commit", told("committed", mark="b9.1", path=FROM, ids=["p.1.0"])),
    ("callbacks after their commit", having(trace(FROM, "p.1.0"), by=["b9.1"])),
    ("duplicates are told", told("acknowledged", id="p.1", duplicates=["p.1.0"])),
    ("no resurrection", lambda evidence: replace(evidence, again={"p.1.0": False})),
    ("a task if and only if its commit", without("tasks/p.2")),
    ("a task if and only if its commit", having("tasks/p.9", n=1)),
    ("one contiguous order", logged(*LOG[:2])),
    ("one contiguous order", logged(*LOG[1:])),
    ("one contiguous order", logged(*LOG, LOG[0])),
    ("one contiguous order", logged(*LOG, Entry("act", "p.6"))),
    (
        "one contiguous order",
        lambda evidence: replace(evidence, logs={**evidence.logs, "trimable": [*TRIMABLE[1::-1], *LOG[1:]]}),
    ),
    ("the same for all followers", having("copies/persistent/f/0", n=2)),
    ("the same for all followers", having("copies/persistent/f/0", payload="p.2")),
    ("the same for all followers", without("copies/trimable/f/3")),
    ("the same for all followers", having("copies/trimable/f/4", n=1, kind="act", payload="p.7")),
    ("no commit by a lost lease", told("taken in", first=1, last=2)),
    ("no commit by a lost lease", lambda evidence: replace(evidence, committed_block=0)),
    ("nothing early", told("early", id="p.1.0")),
    ("progress", lambda evidence: replace(evidence, outstanding=["accounts/0/eventbox_inbox/x"])),
    ("progress", lambda evidence: replace(evidence, reminders=["eventbox_queues/q-00/eventbox_reminders/x"])),
    ("progress", lambda evidence: replace(evidence, quarantined=["accounts/0/eventbox_quarantine/x"])),
    ("progress", lambda evidence: replace(evidence, waited_for=["2 tasks are on the queue"])),
    ("no error that nobody expects", told("unheard", message="never retrieved")),
    ("no error that nobody expects", lambda evidence: replace(evidence, fell=["worker-1 ended with 1"])),
]


def broken(evidence: Evidence) -> set[str]:
    return {one.promise for one in judge(evidence) if one.violations}


def test_a_run_that_kept_all_promises_is_found_sound() -> None:
    assert broken(sound()) == set()


@pytest.mark.parametrize(("promise", "doctor"), CASES, ids=[f"{n} {one}" for n, (one, _) in enumerate(CASES)])
def test_a_broken_promise_is_found_out(promise: str, doctor: Doctor) -> None:
    assert promise in broken(doctor(sound()))


def test_every_promise_has_a_case() -> None:
    assert {promise for promise, _ in CASES} == set(PROMISES)


def test_what_was_never_acknowledged_may_have_happened_or_not() -> None:
    lost = Act("p.7", "send", [Order("p.7.0", FROM, "note")])
    evidence = told("intended", act=lost.told())(sound())
    assert broken(evidence) == set()
    done = having(trace(FROM, "p.7.0"), n=1, by=["b1.1"])
    assert broken(done(evidence)) == set()


def test_of_many_violations_the_first_are_told_and_how_many_more() -> None:
    evidence = replace(sound(), outstanding=[f"accounts/0/eventbox_inbox/{n}" for n in range(50)])
    (progress,) = [one for one in judge(evidence) if one.promise == "progress"]
    assert len(progress.violations) == 21
    assert progress.violations[-1] == "... and 30 more"
