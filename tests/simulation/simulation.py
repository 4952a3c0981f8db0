"""One simulation: the services, the processes, the faults, and the judgement, all from one seed."""

from __future__ import annotations

import asyncio
import gc
import logging
import random
from dataclasses import dataclass
from datetime import timedelta
from random import Random
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport

from emulator.channel import InProcessChannel
from emulator.firestore import Emulator
from eventbox import EventBox
from tests.simulation.accounts import Scene, recipient
from tests.simulation.actors import FAILURES, Producer, Worker
from tests.simulation.history import History
from tests.simulation.judge import judge
from tests.simulation.ledger import Ledger
from tests.simulation.loop import SimulatedLoop, StuckError
from tests.simulation.network import CALM, Network, Weather
from tests.simulation.process import Process, SimulatedClock
from tests.simulation.tasks import Tasks
from tests.simulation.truth import Truth

TOMBSTONES_DELAY = timedelta(hours=24)
_ROUNDS = 40
"""Of draining all recipients, after which everything has to be consumed once faults have stopped."""

_BURIAL_STEPS = 200_000

_SETTLING = 400.0
"""Seconds after which the last late request has come, and the last forgotten transaction has expired."""


@dataclass(frozen=True)
class Result:
    """What came of a seed."""

    seed: int
    digest: str
    violations: list[str]
    rpcs: int
    events: int
    committed: int
    contended: int
    deaths: int
    lines: list[str] | None


def simulate(seed: int, *, trace: bool = False) -> Result:
    """Run the simulation of a seed."""
    random.seed(seed)  # google.api_core's own retries
    rng = Random(seed)
    loop = SimulatedLoop(Random(rng.getrandbits(64)), disorder=rng.choice((0.0, 0.3, 0.9)))
    history = History(loop.time, trace=trace)
    collecting = gc.isenabled()
    gc.disable()  # what it would close would be closed at another moment each time
    logging.disable(logging.CRITICAL)
    try:
        with loop.running():
            world = World(rng, history, Random(f"tasks {seed}"))
        try:
            loop.run_until_complete(world.run())
        except StuckError as error:
            history.violate("liveness", str(error))
        world.check_failures(loop)
        digest = history.digest
        history.closed = True
        loop.allow(_BURIAL_STEPS)
        loop.run_until_complete(world.bury(loop))
        return world.result(seed, digest)
    finally:
        loop.close()
        logging.disable(logging.NOTSET)
        if collecting:
            gc.enable()


class World:
    """The services and the processes."""

    def __init__(self, rng: Random, history: History, tasks_rng: Random) -> None:
        self.rng = rng
        self.history = history
        self.weather = Weather.draw(rng)
        self.clock = SimulatedClock()
        self.emulator = Emulator(
            clock=self.clock, concurrency=rng.choice(("optimistic", "pessimistic")), seed=rng.getrandbits(32)
        )
        self.truth = Truth(self.emulator, history, forget_after=TOMBSTONES_DELAY // timedelta(microseconds=1))
        self.network = Network(
            self.emulator._front, Random(rng.getrandbits(64)), history, self.weather, self.truth.observe
        )
        recipients = [f"accounts/{number}" for number in range(rng.randint(1, 3))]
        recipients += [f"plain/{number}" for number in range(rng.randint(1, 2))]
        self.scene = Scene(rng, history, Ledger(), self.truth, self.clock, recipients)
        self.processes: list[Process] = []
        self.skew = rng.choice((0.0, 0.0, 2.0, 30.0))
        self.deaths = 0
        self.tasks = (
            Tasks(self.scene, self.clock, tasks_rng, self.weather) if tasks_rng.random() < 0.4 else None
        )

    def process(self, name: str, *, mortal: bool = True) -> Process:
        """A new process; its clock is as wrong as clocks are in this world."""
        skew = timedelta(seconds=self.rng.uniform(-self.skew, self.skew)) if mortal else timedelta(0)
        process = Process(f"{name}.{len(self.processes)}", SimulatedClock(skew), mortal)
        self.processes.append(process)
        return process

    def client(self, process: Process) -> AsyncClient:
        """google's client, over this network."""
        client = AsyncClient(project="demo", credentials=AnonymousCredentials())
        channel = InProcessChannel(self.network.front(process))
        client._firestore_api_internal = FirestoreAsyncClient(
            transport=FirestoreGrpcAsyncIOTransport(channel=channel)
        )
        return client

    def box(self, process: Process) -> EventBox:
        """The library, new in a process."""
        return EventBox(
            self.client(process),
            clock=process.clock,
            tombstones_delay=TOMBSTONES_DELAY,
            concurrency=self.rng.choice(("optimistic", "optimistic", "pessimistic")),
            share_emits=self.rng.random() < 0.3,
            quarantine_after=1_000_000,
            rng=Random(self.rng.getrandbits(64)),
        )

    async def run(self) -> None:
        """All of it: trouble, calm, and the judgement."""
        if self.tasks is None:
            await self.trouble()
            await self.calm()
        else:
            async with self.tasks.emulator.running():
                await self.trouble()
                await self.calm()
            self.tasks.judge()
        judge(self.scene)

    async def trouble(self) -> None:
        """Let producers and workers go about their business while everything fails."""
        producers = [
            asyncio.ensure_future(self.keep_alive(f"producer{number}", self.produce, once=True))
            for number in range(self.rng.randint(1, 4))
        ]
        others = [
            asyncio.ensure_future(self.keep_alive(f"worker{number}", self.work))
            for number in range(self.rng.randint(1, 4))
        ]
        if self.tasks is not None:
            others += [
                asyncio.ensure_future(self.keep_alive(f"service{number}", self.serve)) for number in range(2)
            ]
        others.append(asyncio.ensure_future(self.haunt()))
        await asyncio.wait(producers)
        await asyncio.sleep(self.rng.uniform(0.0, 30.0))
        for process in self.processes:
            process.die()
        for other in others:
            other.cancel()
        await asyncio.wait(others)
        for task in [*producers, *others]:
            if not task.cancelled():
                task.result()

    async def keep_alive(self, name: str, work: Any, *, once: bool = False) -> None:
        """Start a process, and another one when it has died."""
        for _ in range(50):
            process = self.process(name)
            try:
                if await process.run(work(process)) or (once and self.rng.random() < 0.3):
                    return
            except Exception as error:
                self.history.violate("errors are those that are promised", f"{process.name}: {error!r:.300}")
                return
            self.deaths += 1
            self.history.add(process.name, "is dead")
            await asyncio.sleep(self.rng.uniform(0.0, 5.0))

    async def produce(self, process: Process) -> None:
        box = self.box(process)
        queue = None if self.tasks is None else self.tasks.queue(process, box)
        await Producer(self.scene, box, process.name, queue).work(self.rng.randint(1, 8))

    async def serve(self, process: Process) -> None:
        assert self.tasks is not None
        await self.tasks.serve(process, self.box(process))

    async def work(self, process: Process) -> None:
        await Worker(self.scene, self.box(process), process.name).work()

    async def haunt(self) -> None:
        """Kill, let clocks jump, and bring storms."""
        kills = self.rng.choice((0.0, 0.05, 0.3))
        while True:
            await asyncio.sleep(self.rng.expovariate(1.0))
            alive = [process for process in self.processes if not process.dead]
            if not alive:
                continue
            draw = self.rng.random()
            victim = self.rng.choice(alive)
            if draw < kills:
                self.history.add(victim.name, "is killed")
                victim.die()
            elif draw < kills + 0.1 and self.skew:
                victim.clock.skew = timedelta(seconds=self.rng.uniform(-self.skew, self.skew))
            self.network.stormy = self.rng.random() < 0.2

    async def calm(self) -> None:
        """No more faults: everything has to be consumed soon."""
        self.network.stormy = False
        self.network.weather = CALM
        self.scene.unruly = False
        if self.tasks is not None:
            self.tasks.network.weather = CALM
            service = self.process("service", mortal=False)
            service.start(self.serve(service))
            await self.tasks.settle()
        await asyncio.sleep(_SETTLING)
        process = self.process("judge", mortal=False)
        try:
            await process.run(self.finish(process))
        except Exception as error:
            self.history.violate("errors are those that are promised", f"in the end: {error!r:.300}")

    async def finish(self, process: Process) -> None:
        worker = Worker(self.scene, self.box(process), process.name)
        for _ in range(_ROUNDS):
            left = 0
            for path in self.scene.recipients:
                try:
                    left += not await worker.drain(path)
                except FAILURES as error:
                    self.history.violate("liveness", f"without faults, a drain of {path} fails: {error!r}")
                    return

            if not left and not [
                event
                for path in self.scene.recipients
                for event in await worker.box.list_events(recipient(worker.box.client, path))
            ]:
                return
        self.history.violate("liveness", f"events are left after {_ROUNDS} rounds without faults")

    def check_failures(self, loop: SimulatedLoop) -> None:
        """What nobody has caught is a violation."""
        for failure in loop.failures:
            self.history.violate("nothing fails unheard", f"{failure}")

    async def bury(self, loop: SimulatedLoop) -> None:
        """Let the dead clean up now that nothing can come of it, so that nothing is closed by chance later."""
        self.network.over = True
        if self.tasks is not None:
            self.tasks.network.over = True
        for process in self.processes:
            process.dead = False
            loop.bring_back(process.limbo)
        for _ in range(100):
            left = [task for process in self.processes for task in process.tasks if not task.done()]
            if not left:
                break
            for task in left:
                task.cancel()
            await asyncio.wait(left, timeout=120.0)
        for process in self.processes:
            for task in process.tasks:
                if task.done() and not task.cancelled():
                    task.exception()

    def result(self, seed: int, digest: str) -> Result:
        ledger = self.scene.ledger
        return Result(
            seed,
            digest,
            list(self.history.violations),
            self.history.rpcs,
            len(ledger.emissions),
            ledger.committed,
            ledger.contended,
            self.deaths,
            self.history.lines,
        )
