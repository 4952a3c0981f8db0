"""The workload of the event log: appended to, ordered by two at once, followed, read and trimmed, all at once."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import timedelta
from random import Random
from typing import Any

from eventbox.log.track import PERSISTENT, TRIMABLE
from tests.simulation.actors import FAILURES
from tests.simulation.log.actors import Follower, Orderer, Reader, Trimmer
from tests.simulation.log.appender import Appender
from tests.simulation.log.judge import judge_log
from tests.simulation.log.ledger import LogLedger
from tests.simulation.log.scene import LOG, Following, LogScene
from tests.simulation.log.truth import LogTruth, TrimRules
from tests.simulation.process import Process
from tests.simulation.stage import Stage
from tests.simulation.workload import Role, Workload

_ROUNDS = 12
"""Of ordering and following, after which everything has to be ordered and followed once faults have stopped."""

_WHILE = 30.0
"""Seconds that those who live get in each round to do what there is to do."""


class Log(Workload):
    """One log, and all that one does with it."""

    name = "log"

    def __init__(self, stage: Stage, rng: Random) -> None:
        super().__init__(stage, rng)
        rules = TrimRules(
            rng.choice((0, 1, 1, 3)), timedelta(seconds=rng.choice((0, 1, 2, 20))), rng.random() < 0.5
        )
        self.truth = LogTruth(stage, LOG, rules)
        followers = [
            Following(f"follower{number}", rng.random() < 0.6, rng.random() < 0.3)
            for number in range(rng.randint(1, 3))
        ]
        self.scene = LogScene(stage, rng, LogLedger(), self.truth, rules, followers)
        for following in followers:
            self.scene.ledger.followers[following.trimable, following.base] = 0
        self.truth.starts = self.scene.ledger.followers
        self.live_orderers = rng.choice((0, 1, 1, 2))
        self.live_followers = [following for following in followers if rng.random() < 0.6]

    def observe(self, rpc: str, request: Any, response: Any) -> None:
        self.truth.observe(rpc, request, response)

    def roles(self) -> Sequence[Role]:
        rng = self.rng
        roles = [Role(f"appender{number}", self._append, ends=True) for number in range(rng.randint(1, 3))]
        for number in range(2):
            live = number < self.live_orderers
            roles.append(Role(f"orderer{number}", self._listen if live else self._order, survives=live))
        for following in self.scene.followers:
            live = following in self.live_followers
            play = self._following(following, live)
            roles += [
                Role(f"{following.base}.{number}", play, survives=live)
                for number in range(rng.choice((1, 2)))
            ]
        roles += [Role(f"trimmer{number}", self._trim) for number in range(rng.choice((0, 1, 2)))]
        if rng.random() < 0.5:
            roles.append(Role("reader", self._read))
        return roles

    async def _append(self, process: Process) -> None:
        await Appender(self.scene, *self.scene.log(process), process.name).work(self.rng.randint(2, 10))

    async def _order(self, process: Process) -> None:
        await Orderer(self.scene, *self.scene.log(process), process.name).step()

    async def _listen(self, process: Process) -> None:
        await Orderer(self.scene, *self.scene.log(process), process.name).listen()

    def _following(self, following: Following, live: bool) -> Any:
        async def follow(process: Process) -> None:
            await Follower(self.scene, *self.scene.log(process), process.name).follow(following, live=live)

        return follow

    async def _trim(self, process: Process) -> None:
        await Trimmer(self.scene, *self.scene.log(process), process.name).work()

    async def _read(self, process: Process) -> None:
        await Reader(self.scene, *self.scene.log(process), process.name).work()

    def calmed(self) -> None:
        self.scene.unruly = False

    async def finish(self, process: Process) -> None:
        box, log = self.scene.log(process)
        orderer = Orderer(self.scene, box, log, process.name)
        follower = Follower(self.scene, box, log, process.name)
        trimmer = Trimmer(self.scene, box, log, process.name)
        try:
            for _ in range(_ROUNDS):
                while not self.live_orderers and await orderer.order():
                    pass
                for following in self.scene.followers:
                    if following not in self.live_followers:
                        await follower.catch_up(following)
                if self._is_done():
                    break
                await asyncio.sleep(_WHILE)
            else:
                self.stage.history.violate("liveness", f"after {_ROUNDS} rounds: {self._left()}")
            await asyncio.sleep(self.scene.rules.min_age.total_seconds())
            await trimmer.trim()
        except FAILURES as error:
            self.stage.history.violate("liveness", f"without faults: {error!r:.300}")
            return
        self._check_trimmed()

    def _is_done(self) -> bool:
        return not self._left()

    def _left(self) -> list[str]:
        """What is not done yet."""
        left = [
            name
            for name in self.stage.truth.below("eventbox_inbox")
            if not self.stage.truth.is_consumed(name)
        ]
        for following in self.scene.followers:
            name = self.scene.name_of(following)
            truth = self.truth.tracks[following.track]
            start = self.scene.ledger.followers[following.trimable, name]
            if truth.cursors.get(name, start) != len(truth.entries):
                left.append(f"{name} is at {truth.cursors.get(name)} of {len(truth.entries)}")
        return left

    def _check_trimmed(self) -> None:
        """Nothing is left that may go."""
        rules, truth = self.scene.rules, self.truth.tracks[TRIMABLE]
        until = len(truth.entries) - rules.min_id_age + 1
        if rules.respect_cursors:
            until = min([until, *truth.cursors.values()])
        until = max(truth.first, min(until, len(truth.entries)))
        self.stage.checks["all is trimmed that may be"] += 1
        if truth.first != until:
            self.stage.history.violate(
                "all is trimmed that may be", f"the first entry is {truth.first}, and not {until}"
            )

    def judge(self) -> None:
        judge_log(self.scene)

    def figures(self) -> dict[str, int]:
        ledger = self.scene.ledger
        return {
            "appends": len(ledger.appends),
            "entries": len(self.truth.tracks[TRIMABLE].entries),
            "persistent": len(self.truth.tracks[PERSISTENT].entries),
            "handled": ledger.handled,
            "trimmed": self.truth.tracks[TRIMABLE].first,
            "contended": ledger.contended,
        }
