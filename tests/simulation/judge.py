"""The promises of the transfers, each compared with what happened."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection

from dsset.documents import document_id
from tests.account import OPENING
from tests.simulation.accounts import CHANGING
from tests.simulation.scene import Scene, trace_id, trace_path
from tests.simulation.truth import ROOT


class Judge:
    """Compares what the application was told with what lies in the database, once everything is consumed."""

    def __init__(self, scene: Scene, added_by_emits: Collection[str]) -> None:
        self._added_by_emits = added_by_emits
        self._scene = scene
        self._ledger = scene.ledger
        self._truth = scene.stage.truth
        traces = self._truth.collection("traces")
        self._applied = {id: fields["n"].integer_value for id, fields in traces.items()}
        self._by = {one.string_value for fields in traces.values() for one in fields["by"].array_value.values}
        self._markers = self._truth.collection("markers")

    def judge(self) -> None:
        self._emissions()
        self._accounts()
        self._reads()
        self._batches()
        self._transactions()

    def _emissions(self) -> None:
        check = self._scene.check
        for id, times in self._applied.items():
            check("effect exactly once", times == 1, f"{id} was applied {times} times")
        for (path, id), emission in self._ledger.emissions.items():
            was_applied = trace_id(path, id) in self._applied
            if emission.kind == "noise":
                check("garbage has no effect", not was_applied, f"{id} was garbage, and was applied")
                continue
            name = f"{ROOT}{path}/eventbox_inbox/{document_id(id)}"
            if name in self._added_by_emits and not emission.unknown and not emission.marker:
                detail = f"an emit has added {id} to {path}, and none was told"
                check("duplicates", emission.added == 1, detail)
            if emission.accepted:
                check("nothing lost", was_applied, f"{id} was emitted to {path}, and never applied")
            if emission.marker is not None:
                both = was_applied == (emission.marker in self._markers)
                detail = f"{id} and its marker {emission.marker} are not both there, or both not"
                check("all or nothing", both, detail)

    def _accounts(self) -> None:
        check = self._scene.check
        traced: dict[str, set[str]] = defaultdict(set)
        for id in self._applied:
            traced[trace_path(id)].add(id)
        kinds = {trace_id(*key): emission.kind for key, emission in self._ledger.emissions.items()}
        held = 0
        for path in self._scene.recipients:
            fields = self._truth.fields(path)
            applied = fields["applied"].array_value.values if fields and "applied" in fields else ()
            state_ids = [one.string_value for one in applied]
            twice = [id for id, times in Counter(state_ids).items() if times > 1]
            check("effect exactly once", not twice, f"the state of {path} has {twice} twice")
            told = {trace_id(path, id) for id in state_ids}
            # what another account has sent is a credit
            changing = {id for id in traced[path] if kinds.get(id, "credit") in CHANGING}
            detail = f"state and side effects of {path} differ: {sorted(told ^ changing)}"
            check("all or nothing", told == changing, detail)
            held += fields["balance"].integer_value if fields and "balance" in fields else OPENING
            if path.startswith("accounts/"):
                touched = fields["touched"].integer_value if fields and "touched" in fields else 0
                expected = sum(kinds.get(id) == "touch" for id in traced[path])
                detail = f"{expected} side effects have touched {path}, and it says {touched}"
                check("all or nothing", touched == expected, detail)
        credited = sum(
            emission.amount
            for (path, id), emission in self._ledger.emissions.items()
            if emission.kind == "credit" and trace_id(path, id) in self._applied
        )
        total = OPENING * len(self._scene.recipients) + credited
        check("the sum stays", held == total, f"the accounts hold {held}, not {total}")

    def _reads(self) -> None:
        reads = sum(
            emission.kind == "read" and trace_id(*key) in self._applied
            for key, emission in self._ledger.emissions.items()
        )
        shared = self._truth.fields("shared/count")
        count = 0 if shared is None else shared["n"].integer_value
        self._scene.check(
            "isolation", count == reads, f"{reads} side effects counted, and the count is {count}"
        )

    def _batches(self) -> None:
        check, ledger = self._scene.check, self._ledger
        committed = {mark.partition(".")[0] for mark in self._by}
        for batch, error in ledger.refused.items():
            detail = f"{batch} was committed, but the caller got {error}"
            check("contention is reported as such", batch not in committed, detail)
        for mark in sorted(ledger.done):
            check("all or nothing", mark in self._by, f"{mark} was reported as committed, and was not")
        for mark in sorted(self._by):
            if mark.partition(".")[0] in ledger.heard:
                detail = f"{mark} was committed and its caller was told, and its callback never ran"
                check("post-process runs where its caller lives", ledger.post_processed[mark] > 0, detail)

    def _transactions(self) -> None:
        check, ledger = self._scene.check, self._ledger
        for marker, error in ledger.refused_markers.items():
            detail = f"{marker} was committed, but the caller got {error}"
            check("contention is reported as such", marker not in self._markers, detail)
        for marker, fields in self._markers.items():
            times = fields["n"].integer_value
            check(
                "effect exactly once",
                times == 1,
                f"the transaction of {marker} was carried out {times} times",
            )
        for marker in sorted(ledger.accepted_markers):
            check(
                "all or nothing", marker in self._markers, f"{marker} was reported as committed, and was not"
            )
