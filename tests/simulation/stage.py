"""The stage: the services, the network to them, the processes, and how wrong their clocks are."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Awaitable, Callable
from contextlib import AbstractAsyncContextManager
from datetime import timedelta
from pathlib import Path
from random import Random
from typing import Any

from google.auth.credentials import AnonymousCredentials
from google.cloud.firestore_v1.async_client import AsyncClient
from google.cloud.firestore_v1.services.firestore import FirestoreAsyncClient
from google.cloud.firestore_v1.services.firestore.transports import FirestoreGrpcAsyncIOTransport

from emulator.channel import InProcessChannel
from emulator.firestore import Emulator
from eventbox import EventBox
from tests.simulation.history import History
from tests.simulation.network import CALM, Network, Weather
from tests.simulation.process import Process, SimulatedClock
from tests.simulation.truth import Truth

TOMBSTONES_DELAY = timedelta(hours=24)
_INDEXES = Path(__file__).parents[2] / "firestore.indexes.json"
_LIVES = 50
"""How often a process is started again."""


class Stage:
    """The services and the processes of one history.

    Attributes:
        rng: what the seed decides about the world; a workload has one of its own.
        clock: the right one, which the services go by.
        truth: what really lies in the database.
        checks: how often each promise was compared with what happened.
        observers: called with each RPC that was carried out: name, request, response.
    """

    def __init__(self, rng: Random, history: History) -> None:
        self.rng = rng
        self.history = history
        self.weather = Weather.draw(rng)
        self.clock = SimulatedClock()
        self.emulator = Emulator(
            clock=self.clock,
            concurrency=rng.choice(("optimistic", "pessimistic")),
            indexes=_INDEXES,
            seed=rng.getrandbits(32),
        )
        self._let_ttl_wait(rng.choice((0, 0, 600, 100_000)))
        self.emulator._service._store.life = f"{rng.getrandbits(128):032x}"  # in resume tokens
        self.truth = Truth(self.emulator, history, forget_after=TOMBSTONES_DELAY // timedelta(microseconds=1))
        self.observers: list[Callable[[str, Any, Any], None]] = [self.truth.observe]
        self.networks: list[Network] = []
        self.network = self.connect(self.emulator._front, rng, self._observe)
        self.services: list[AbstractAsyncContextManager[Any]] = []
        """Entered before the trouble, left before the judgement."""
        self.processes: list[Process] = []
        self.skew = rng.choice((0.0, 2.0, 2.0, 30.0))
        self.deaths = 0
        self._clients: dict[Process, AsyncClient] = {}
        self.checks: Counter[str] = Counter()

    def _let_ttl_wait(self, seconds: int) -> None:
        """TTL deletes so long after a document's time has come, if anybody looks then: at once, late, or never."""
        ttl = self.emulator._service._ttl
        due = ttl.due
        ttl.due = lambda now_us: due(now_us - seconds * 1_000_000)  # type: ignore[method-assign]

    def connect(self, front: Any, rng: Random, observe: Callable[[str, Any, Any], None]) -> Network:
        """A network to a service, with this stage's weather."""
        network = Network(front, Random(rng.getrandbits(64)), self.history, self.weather, observe)
        self.networks.append(network)
        return network

    def _observe(self, rpc: str, request: Any, response: Any) -> None:
        for observer in self.observers:
            observer(rpc, request, response)

    def process(self, name: str, *, mortal: bool = True) -> Process:
        """A new process; its clock is as wrong as clocks are in this world, and right where it is immortal."""
        skew = timedelta(seconds=self.rng.uniform(-self.skew, self.skew)) if mortal else timedelta(0)
        process = Process(f"{name}.{len(self.processes)}", SimulatedClock(skew), mortal)
        if mortal and self.weather.death and self.rng.random() < 0.3:
            process.steps = int(self.rng.expovariate(1.0) * 200)
        if mortal and self.weather.slow and self.rng.random() < 0.4:
            process.slowness = self.rng.choice((10.0, 30.0))
        self.processes.append(process)
        slow = f", its RPCs take {process.slowness:.0f} times as long" if process.slowness > 1 else ""
        self.history.add(process.name, f"starts, its clock {skew.total_seconds():+.3f} s{slow}")
        return process

    def client(self, process: Process) -> AsyncClient:
        """google's client, over this network; one for each process."""
        if process in self._clients:
            return self._clients[process]
        client = self._clients[process] = AsyncClient(project="demo", credentials=AnonymousCredentials())
        channel = InProcessChannel(self.network.front(process))
        client._firestore_api_internal = FirestoreAsyncClient(
            transport=FirestoreGrpcAsyncIOTransport(channel=channel)
        )
        return client

    def box(self, process: Process, **options: Any) -> EventBox:
        """The library, new in a process."""
        drawn: dict[str, Any] = {
            "tombstones_delay": TOMBSTONES_DELAY,
            "concurrency": self.rng.choice(("optimistic", "optimistic", "pessimistic")),
            "share_emits": self.rng.random() < 0.3,
            "quarantine_after": 1_000_000,
            "rng": Random(self.rng.getrandbits(64)),
        }
        return EventBox(self.client(process), clock=process.clock, **drawn | options)

    async def keep_alive(
        self, name: str, work: Callable[[Process], Awaitable[Any]], *, once: bool = False
    ) -> None:
        """Start a process, and another one when it has died; with `once`, perhaps not."""
        for _ in range(_LIVES):
            process = self.process(name)
            try:
                if await process.run(work(process)) or (once and self.rng.random() < 0.3):  # type: ignore[arg-type]
                    return
            except Exception as error:
                self.history.violate("errors are those that are promised", f"{process.name}: {error!r:.300}")
                return
            self.deaths += 1
            if process.steps is not None and process.steps < 0:
                self.history.fault(process.name, "dies at an await", "died between two steps")
            self.history.add(process.name, "is dead")
            await asyncio.sleep(self.rng.uniform(0.0, 5.0))

    def calm(self) -> None:
        """No more faults, on any network."""
        for network in self.networks:
            network.stormy = network.down = False
            network.weather = CALM
