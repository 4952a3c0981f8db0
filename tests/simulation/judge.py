"""The promises, each compared with what happened."""

from __future__ import annotations

from collections import Counter

from tests.simulation.accounts import CHANGING, OPENING, Scene, trace_id


def judge(scene: Scene) -> None:
    """Compare what the application was told with what lies in the database, once everything is consumed."""
    ledger, truth, violate = scene.ledger, scene.truth, scene.history.violate
    traces = truth.collection("traces")
    applied = {id: fields["n"].integer_value for id, fields in traces.items()}
    by = {one.string_value for fields in traces.values() for one in fields["by"].array_value.values}

    for id, times in applied.items():
        if times != 1:
            violate("effect exactly once", f"{id} was applied {times} times")
    markers = truth.collection("markers")
    expected = dict.fromkeys(scene.recipients, OPENING)
    reads = 0
    for (path, id), emission in ledger.emissions.items():
        was_applied = trace_id(path, id) in applied
        if emission.kind == "noise":
            if was_applied:
                violate("garbage", f"{id} was garbage, and was applied")
            continue
        if emission.accepted and not was_applied:
            violate("nothing lost", f"{id} was emitted to {path}, and never applied")
        if emission.marker is not None and was_applied != (emission.marker in markers):
            violate(
                "all or nothing", f"{id} and its marker {emission.marker} are not both there, or both not"
            )
        if was_applied:
            reads += emission.kind == "read"
    for path in scene.recipients:
        fields = truth.fields(path)
        state_ids = (
            [] if fields is None else [one.string_value for one in fields["applied"].array_value.values]
        )
        twice = [id for id, times in Counter(state_ids).items() if times > 1]
        if twice:
            violate("effect exactly once", f"the state of {path} has {twice} twice")
        told = {trace_id(path, id) for id in state_ids}
        traced = {id for id in applied if id.startswith(trace_id(path, ""))}
        notes = {
            trace_id(path, id)
            for (to, id), emission in ledger.emissions.items()
            if to == path and emission.kind not in CHANGING
        }
        if told != traced - notes:
            difference = sorted(told ^ (traced - notes))
            violate("all or nothing", f"state and side effects of {path} differ: {difference}")
        expected[path] = OPENING if fields is None else fields["balance"].integer_value
    credited = sum(
        emission.amount
        for (path, id), emission in ledger.emissions.items()
        if emission.kind == "credit" and trace_id(path, id) in applied
    )
    total = OPENING * len(scene.recipients) + credited
    if sum(expected.values()) != total:
        violate("the sum stays", f"the accounts hold {sum(expected.values())}, not {total}")
    shared = truth.fields("shared/count")
    if (0 if shared is None else shared["n"].integer_value) != reads:
        violate("isolation", f"{reads} side effects counted, and the count is {shared}")
    for batch, error in ledger.refused.items():
        if any(mark.startswith(f"{batch}.") for mark in by):
            violate("contention is reported as such", f"{batch} was committed, but the caller got {error}")
    for mark in ledger.done - by:
        violate("all or nothing", f"{mark} was reported as committed, and was not")
