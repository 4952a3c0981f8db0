"""One simulation: a stage, a workload, the faults, and the judgement, all from one seed."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import timedelta
from random import Random

from tests.simulation.history import History
from tests.simulation.loop import SimulatedLoop, StuckError
from tests.simulation.stage import Stage
from tests.simulation.workload import Role, Workload
from tests.simulation.workloads import draw

_BURIAL_STEPS = 200_000

_FEWEST_RPCS = 50
_MOST_ROUNDS = 20
_ENOUGH_RPCS = 600
"""After which the trouble ends, so that no history goes on for too long."""

_SETTLING = 400.0
"""Seconds after which the last late request has come, and the last forgotten transaction has expired."""


@dataclass(frozen=True)
class Result:
    """What came of a seed.

    Attributes:
        figures: what the workload counted.
        checks: how often each promise was compared with what happened.
        faults: how often each kind of fault happened.
    """

    seed: int
    workload: str
    digest: str
    violations: list[str]
    rpcs: int
    deaths: int
    figures: dict[str, int]
    checks: dict[str, int]
    faults: dict[str, int]
    lines: list[str] | None

    @staticmethod
    def failed(seed: int, why: str) -> Result:
        """Of a seed whose history could not be simulated."""
        return Result(seed, "none", "", [why], 0, 0, {}, {}, {}, None)


def simulate(seed: int, *, workload: str | None = None, trace: bool = False) -> Result:
    """Run the simulation of a seed; of this workload, where it is not for the seed to choose."""
    random.seed(seed)  # google.api_core's own retries
    rng = Random(seed)
    loop = SimulatedLoop(Random(rng.getrandbits(64)), disorder=rng.choice((0.0, 0.3, 0.9)))
    history = History(loop.time, trace=trace)
    collecting = gc.isenabled()
    gc.disable()  # what it would close would be closed at another moment each time
    logging.disable(logging.CRITICAL)
    try:
        with loop.running():
            stage = Stage(rng, history)
            play = draw(seed, stage, workload)
        try:
            loop.run_until_complete(_run(stage, play))
        except StuckError as error:
            history.violate("liveness", str(error))
        for failure in loop.failures:  # what nobody has caught
            history.violate("nothing fails unheard", f"{failure}")
        digest = history.digest
        history.closed = True
        loop.allow(_BURIAL_STEPS)
        loop.run_until_complete(_bury(stage, loop))
        return Result(
            seed,
            play.name,
            digest,
            list(history.violations),
            history.rpcs,
            stage.deaths,
            play.figures(),
            dict(stage.checks),
            dict(history.faults),
            history.lines,
        )
    finally:
        loop.close()
        logging.disable(logging.NOTSET)
        if collecting:
            gc.enable()


async def _run(stage: Stage, play: Workload) -> None:
    """All of it: trouble, calm, and the judgement."""
    stage.observers.append(play.observe)
    async with AsyncExitStack() as stack:
        for service in stage.services:
            await stack.enter_async_context(service)
        roles = play.roles()
        stage.history.tell(f"{play.name}: {', '.join(role.name for role in roles)}; {stage.weather}")
        survivors = await _trouble(stage, roles)
        stage.history.tell("all faults stop" + ("" if survivors else ", and all processes are dead"))
        stage.calm()
        play.calmed()
        await asyncio.sleep(_SETTLING)
        process = stage.process("judge", mortal=False)
        try:
            await process.run(play.finish(process))
        except Exception as error:
            stage.history.violate("errors are those that are promised", f"in the end: {error!r:.300}")
        await _end(survivors)
    stage.history.tell("the judgement")
    play.judge()


async def _trouble(stage: Stage, roles: Sequence[Role]) -> list[asyncio.Future[None]]:
    """Let all go about their business while everything fails; those who go on after that."""

    def start(role: Role) -> asyncio.Future[None]:
        return asyncio.ensure_future(stage.keep_alive(role.name, role.play, once=role.ends))

    enders: list[asyncio.Future[None]] = []
    survivors = [start(role) for role in roles if role.survives]
    others = [start(role) for role in roles if not (role.ends or role.survives)]
    others.append(asyncio.ensure_future(_haunt(stage)))
    enough = stage.history.reaches(_ENOUGH_RPCS)
    for _ in range(_MOST_ROUNDS):  # again, where all who end have died too soon
        enders += [start(role) for role in roles if role.ends]
        while (left := [one for one in enders if not one.done()]) and not enough.done():
            await asyncio.wait([*left, enough], return_when=asyncio.FIRST_COMPLETED)
        if stage.history.rpcs >= _FEWEST_RPCS:
            break
    await asyncio.wait([enough], timeout=stage.rng.uniform(0.0, 30.0))
    surviving = {role.name for role in roles if role.survives}
    for process in stage.processes:
        if process.name.rpartition(".")[0] not in surviving:
            process.die()
    await _end([*enders, *others])
    return survivors


async def _end(futures: Sequence[asyncio.Future[None]]) -> None:
    """Cancel them; raise what they have failed with."""
    for future in futures:
        future.cancel()
    if futures:
        await asyncio.wait(futures)
    for future in futures:
        if not future.cancelled():
            future.result()


async def _haunt(stage: Stage) -> None:
    """Kill, let clocks jump, and bring storms."""
    rng = stage.rng
    kills = rng.choice((0.0, 0.05, 0.3))
    starves = rng.choice((0.0, 0.0, 0.1))
    longest = rng.choice((1.0, 10.0, 90.0))
    while True:
        await asyncio.sleep(rng.expovariate(1.0))
        alive = [process for process in stage.processes if not process.dead]
        if not alive:
            continue
        draw = rng.random()
        victim = rng.choice(alive)
        if draw < kills:
            stage.history.fault(victim.name, "killed", "is killed")
            victim.die()
        elif draw < kills + 0.1 and stage.skew:
            victim.clock.skew = timedelta(seconds=rng.uniform(-stage.skew, stage.skew))
            stage.history.fault(victim.name, "clock jumps", f"its clock jumps to {victim.clock.skew}")
        elif rng.random() < starves:
            seconds = rng.uniform(0.0, longest)
            stage.history.fault(victim.name, "starved", f"stands still for {seconds:.1f} s")
            victim.stand_still(seconds)
        if rng.random() < stage.weather.outages:
            seconds = rng.choice((5.0, 30.0, 120.0)) * rng.random()
            for network in stage.networks:
                network.break_down(seconds)
        stormy = rng.random() < 0.2
        for network in stage.networks:
            network.stormy = stormy


async def _bury(stage: Stage, loop: SimulatedLoop) -> None:
    """Let the dead clean up now that nothing can come of it, so that nothing is closed by chance later."""
    for network in stage.networks:
        network.over = True
    for process in stage.processes:
        process.dead = False
        process.standing = False
        process.steps = None
        loop.bring_back(process)
    for _ in range(100):
        left = [task for process in stage.processes for task in process.tasks if not task.done()]
        if not left:
            break
        for task in left:
            task.cancel()
        await asyncio.wait(left, timeout=120.0)
    for process in stage.processes:
        for task in process.tasks:
            if task.done() and not task.cancelled():
                task.exception()
