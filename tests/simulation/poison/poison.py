"""The workload of poison: events whose processor fails again and again are set aside, and the others go on. IDs come
again, within and after the time for which they are remembered, and TTL deletes what it may."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Any

from google.api_core.exceptions import GoogleAPICallError

from eventbox import (
    ContentionError,
    DocumentProcessor,
    EmitError,
    Event,
    EventBox,
    Mutation,
    Receipt,
    Recipient,
    Transition,
    UnknownOutcomeError,
)
from tests.simulation.poison.ward import Sent, Ward
from tests.simulation.process import Process
from tests.simulation.stage import Stage
from tests.simulation.workload import Role, Workload

DELAY = timedelta(minutes=5)
"""For which IDs are remembered: longer than any request is under way, with all its resends."""

_DELAY_US = DELAY // timedelta(microseconds=1)
_SURELY_US = _DELAY_US + 1_000_000
_ALONE = 300.0
"""Seconds after which no emit of the same ID by somebody else is under way."""

_ROUNDS = 12


class PoisonError(Exception):
    """An event that cannot be processed."""


FAILURES = (GoogleAPICallError, ContentionError, UnknownOutcomeError, EmitError)


@dataclass
class Applied:
    """The state: the values of all events that were processed."""

    applied: list[str] = field(default_factory=list)


class _Frail(DocumentProcessor[Applied]):
    def __init__(self, to: Recipient, workload: Poison) -> None:
        super().__init__(to, Applied)
        self._workload = workload

    async def prepare_mutation(self, events: Sequence[Event], state: Applied) -> Mutation[Applied]:
        values = [str(json.loads(event.value)["value"]) for event in events]
        self._fail(values, "prepare")
        transitions = []
        for value, event in zip(values, events, strict=True):
            state = replace(state, applied=[*state.applied, value])

            async def effect(transaction: Any, value: str = value, alone: bool = len(events) == 1) -> None:
                self._fail([value], "effect", alone=alone)

            transitions.append(Transition(state, events=[event], side_effect=effect))
        return Mutation(transitions)

    def _fail(self, values: list[str], way: str, *, alone: bool = True) -> None:
        workload = self._workload
        for value in values:
            fails = workload.ward.fails(value)
            if fails == way or (fails == "flaky" and workload.unruly and workload.rng.random() < 0.3):
                if alone and len(values) == 1:
                    workload.ward.sent[value].alone += 1
                raise PoisonError(f"{value} fails: {fails}")


class Poison(Workload):
    """Good events, poison, and IDs that are used again and again."""

    name = "poison"

    def __init__(self, stage: Stage, rng: Any) -> None:
        super().__init__(stage, rng)
        self.quarantine_after = rng.randint(1, 3)
        self.ward = Ward(stage, self.quarantine_after)
        self.paths = [f"frail/{number}" for number in range(rng.randint(1, 2))]
        self.ids = [f"hook-{number}" for number in range(rng.randint(1, 6))]
        self.unruly = True
        self.count = 0
        self.begun: Counter[tuple[str, str]] = Counter()
        self.began: dict[tuple[str, str], float] = {}
        stage.truth.forget_after = _DELAY_US

    def roles(self) -> Sequence[Role]:
        rng = self.rng
        roles = [Role(f"producer{number}", self._produce, ends=True) for number in range(rng.randint(1, 3))]
        roles += [Role(f"worker{number}", self._work) for number in range(rng.randint(1, 3))]
        roles += [Role("operator", self._operate)] if rng.random() < 0.9 else []
        return roles

    def _box(self, process: Process) -> EventBox:
        return self.stage.box(process, tombstones_delay=DELAY, quarantine_after=self.quarantine_after)

    # What they do -----------------------------------------------------------------------------------------

    async def _produce(self, process: Process) -> None:
        rng, box = self.rng, self._box(process)
        for _ in range(rng.randint(3, 12)):
            if rng.random() < 0.5:
                await self._emit(process, box, rng.choice(self.paths), rng.choice(self.ids))
            else:
                self.count += 1
                await self._emit(process, box, rng.choice(self.paths), f"once-{self.count}")
            longest = rng.choice((0.1, 2.0, 20.0)) if rng.random() < 0.9 else 1_000.0
            await process.clock.sleep(timedelta(seconds=rng.uniform(0.0, longest)))

    async def _emit(self, process: Process, box: EventBox, path: str, event_id: str) -> None:
        rng, ward, key = self.rng, self.ward, (path, event_id)
        self.count += 1
        value = f"{event_id}#{self.count}"
        kind = rng.choice(("good", "good", "good", "prepare", "effect", "flaky"))
        sent = ward.sent[value] = Sent(path, event_id, kind)
        for _ in range(rng.choice((1, 1, 2))):
            now = self.stage.clock.monotonic()
            alone = now - self.began.get(key, -_ALONE) >= _ALONE
            age_us = ward.tombstone_age_us(path, event_id, self._now_us())
            self.begun[key] += 1
            self.began[key] = now
            mine = self.begun[key]
            sent.unknown += 1
            try:
                receipt = await box.emit(
                    ward.encode(value), Recipient(box.client.document(path), "frail"), id=event_id
                )
            except FAILURES as error:
                self._note(process, error)
                continue
            sent.unknown -= 1
            sent.new += receipt.duplicate is False
            self.stage.history.add(process.name, f"emitted {value} to {path}, duplicate: {receipt.duplicate}")
            if alone and self.begun[key] == mine and age_us is not None and age_us > _SURELY_US:
                self._check(
                    "an ID comes again", not receipt.duplicate, f"{event_id} was used up {age_us} us ago"
                )

    async def _work(self, process: Process) -> None:
        rng, box = self.rng, self._box(process)
        while True:
            try:
                await self._drain(process, box, rng.choice(self.paths))
            except FAILURES as error:
                self._note(process, error)
            await process.clock.sleep(timedelta(seconds=rng.uniform(0.0, rng.choice((0.5, 5.0, 20.0)))))

    async def _drain(self, process: Process, box: EventBox, path: str) -> None:
        to = Recipient(box.client.document(path), "frail")
        try:
            report = await box.drain(to, _Frail(to, self), max_events=self.rng.choice((2, 5, 1_000)))
        except PoisonError as error:
            self._note(process, error)
        else:
            self.stage.history.add(process.name, f"drained {path}: {report}")

    async def _operate(self, process: Process) -> None:
        """Look what is in quarantine: put back, mended or not, or discard."""
        rng, box = self.rng, self._box(process)
        while True:
            await process.clock.sleep(timedelta(seconds=rng.uniform(0.5, 12.0)))
            to = Recipient(box.client.document(rng.choice(self.paths)), "frail")
            try:
                found = await box.quarantined(to)
                if not found:
                    continue
                chosen = rng.sample(found, rng.randint(1, len(found)))
                ids = [one.event.id for one in chosen]
                if rng.random() < 0.2:
                    for value, sent in self.ward.sent.items():
                        if sent.id in ids and sent.path == to.path and value in self.ward.in_quarantine():
                            sent.ways_out.add("discarded")
                    # what comes there while the request is under way goes, too
                    gone = await box.discard(to, ids)
                    self.stage.history.add(process.name, f"discarded {gone} of {ids}")
                    continue
                if rng.random() < 0.6:
                    self.ward.healed.update(json.loads(one.event.value)["value"] for one in chosen)
                await box.requeue(to, ids)
            except FAILURES as error:
                self._note(process, error)

    def _now_us(self) -> int:
        now = self.stage.clock.now()
        return round(now.timestamp() * 1e6)

    def _note(self, process: Process, error: Exception) -> None:
        self.stage.history.add(process.name, f"failed: {error!r:.150}")

    def _check(self, promise: str, kept: bool, detail: str) -> None:
        self.stage.checks[promise] += 1
        if not kept:
            self.stage.history.violate(promise, detail)

    # What may never happen, and the end -------------------------------------------------------------------

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        self.ward.observe(rpc, request, response)

    def calmed(self) -> None:
        self.unruly = False

    async def finish(self, process: Process) -> None:
        box = self._box(process)
        await self._settle(process, box)
        for path in self.paths:
            for _ in range(3):  # an ID that is outstanding again lets the one in quarantine wait
                to = Recipient(box.client.document(path), "frail")
                found = await box.quarantined(to)
                self.ward.healed.update(json.loads(one.event.value)["value"] for one in found)
                moved = await box.requeue(to, [one.event.id for one in found])
                self._check(
                    "what is put back is outstanding", moved == len(found), f"{moved} of {len(found)}"
                )
                await self._settle(process, box)
        left = self.ward.in_quarantine()
        self._check("what is put back is outstanding", not left, f"{left} are in quarantine for ever")
        await self._use_again(process, box)

    async def _settle(self, process: Process, box: EventBox) -> None:
        """Drain until nothing is outstanding. Each time something good comes, too: where several events are due and all
        of them fail, nothing tells that it is not the processor that does, and none of them is set aside."""
        for path in self.paths:
            to = Recipient(box.client.document(path), "frail")
            for _ in range(_ROUNDS):
                if not await box.list_events(to):
                    break
                self.count += 1
                value = f"good-{self.count}"
                self.ward.sent[value] = Sent(path, value, "good", new=1)
                await box.emit(self.ward.encode(value), to, id=value)
                await self._drain(process, box, path)
            left = [json.loads(event.value) for event in await box.list_events(to)]
            self._check("liveness", not left, f"{left} block {path}, or do not go on, in {_ROUNDS} drains")

    async def _use_again(self, process: Process, box: EventBox) -> None:
        """Within the delay an ID adds nothing; after it, it does so once, and is not taken by TTL while it waits."""
        path, event_id, half = self.paths[0], self.ids[0], DELAY / 2
        await self._emit_again(box, path, event_id)
        await self._drain(process, box, path)
        await asyncio.sleep(half.total_seconds())
        within = await self._emit_again(box, path, event_id)
        self._check("an ID comes again", within.duplicate is True, f"{event_id} after {half}: {within}")
        await asyncio.sleep(half.total_seconds())
        due = self.stage.clock.now() + timedelta(minutes=15)
        after = await asyncio.gather(*(self._emit_again(box, path, event_id, due) for _ in range(2)))
        told = sorted(bool(receipt.duplicate) for receipt in after)
        self._check("an ID comes again", told == [False, True], f"{event_id} after {DELAY}: {after}")
        await asyncio.sleep(timedelta(minutes=16).total_seconds())
        await self._drain(process, box, path)

    async def _emit_again(
        self, box: EventBox, path: str, event_id: str, due: datetime | None = None
    ) -> Receipt:
        self.count += 1
        value = f"{event_id}#{self.count}"
        sent = self.ward.sent[value] = Sent(path, event_id, "good")
        to = Recipient(box.client.document(path), "frail")
        receipt = await box.emit(self.ward.encode(value), to, id=event_id, process_after=due)
        sent.new += receipt.duplicate is False
        return receipt

    def judge(self) -> None:
        self.ward.judge()

    def figures(self) -> dict[str, int]:
        return {
            "emitted": len(self.ward.sent),
            "set aside": self.ward.set_aside,
            "requeued": self.ward.requeued,
        }
