"""`run`: a world is made, torn at for some seconds, let run out, and judged."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, closing
from dataclasses import dataclass, field
from datetime import timedelta
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

from emulator.process import EmulatorProcess
from emulator.tasks.process import TasksEmulatorProcess
from eventbox.dev.environment import Environment
from eventbox.dev.listening_socket import listening_socket
from eventbox.dev.queues import UNLIMITED, create_queues
from tests.chaos.actor import cloud_tasks_client, firestore_client
from tests.chaos.crew import Kept, KeptActor, KeptEmulator, free_port
from tests.chaos.ending import Ending
from tests.chaos.evidence import Evidence, stored
from tests.chaos.forgetful_emulator import ForgetfulEmulatorProcess
from tests.chaos.journal import Journal, Journals, Record
from tests.chaos.judge import Finding, judge
from tests.chaos.killer import Killer
from tests.chaos.mistakes import FORGETFUL_EMULATOR
from tests.chaos.setting import PROJECT, Setting

_LARGE = {
    "worker-1": ("work",), "worker-2": ("work",), "worker-3": ("work",), "poller": ("poll",), "sweeper": ("sweep",),
    "producer-1": ("produce",), "producer-2": ("produce",), "orderer-1": ("order",), "orderer-2": ("order",),
    "follower-1": ("follow",), "follower-2": ("follow",), "leader-1": ("ingest",), "leader-2": ("ingest",),
}  # fmt: skip
_SMALL = {
    "worker-1": ("work", "poll"), "worker-2": ("work", "sweep"), "producer-1": ("produce",),
    "follower-1": ("order", "follow", "ingest"), "follower-2": ("order", "follow", "ingest"),
}  # fmt: skip
"""The processes, and what they do."""

_EMULATORS_WEIGHT = 0.6
_ACTORS_WEIGHT = 1.0
"""How likely each is to be struck. While an emulator is down, all stand still."""

_RATE = 15.0
"""Acts a second of each producer."""

_ACCOUNTS = 24
_ACCOUNTS_EVERY = 4
"""One account more for so many seconds, so that no state grows beyond a document's limit."""

_UP = 60.0
"""Seconds for all to be up."""

_LOOK_EVERY = 0.05
_LAG = 1.0
"""The feed ends a little ahead: nobody has seen a block of a later time when they are told."""

_MIN_BACKOFF, _MAX_BACKOFF = timedelta(milliseconds=100), timedelta(seconds=2)


@dataclass(frozen=True)
class Plan:
    """What is done.

    Args:
        seconds: for how long processes are killed.
        seed: who is, and what everybody does; not in which order.
        small: with fewer processes, none of which locks what it reads, as for a test.
        mistake: one that is planted.
        only: the names of those who are struck; all by default.
        patience: within how many seconds everything has to have run out.
    """

    seconds: float
    seed: int
    small: bool = False
    mistake: str | None = None
    only: Sequence[str] = ()
    patience: float = 120.0


@dataclass
class State:
    """How far a run is; it changes all the time."""

    phase: str = "starting"
    crew: Sequence[Kept] = ()
    records: list[Record] = field(default_factory=list)
    findings: Sequence[Finding] = ()

    @property
    def violations(self) -> list[str]:
        """All of them, each with its promise."""
        return [f"{one.promise}: {violation}" for one in self.findings for violation in one.violations]


@dataclass(frozen=True)
class _World:
    setting: Setting
    emulators: Sequence[KeptEmulator[Any]]
    actors: Sequence[KeptActor]
    ending: Ending
    journal: Journal


async def run(plan: Plan, folder: Path, state: State) -> None:
    """Do all of it, in an empty folder; `state` tells how far it is, and has the findings in the end.

    Raises:
        RuntimeError: it could not begin.
    """
    journals = Journals(folder / "journals")
    async with asyncio.TaskGroup() as group:
        reading = group.create_task(_read(journals, state))
        try:
            async with _world(plan, folder) as world:
                state.crew = [*world.emulators, *world.actors]
                evidence = await _attack(plan, world, state)
        finally:
            reading.cancel()
    state.records += journals.new()
    found = stored(folder / "firestore")
    state.findings = judge(
        Evidence(
            **{
                **vars(evidence),
                **vars(found),
                "fell": [f"{one.name} {how}" for one in state.crew for how in one.fell],
            }
        )
    )
    state.phase = "over"


async def _attack(plan: Plan, world: _World, state: State) -> Evidence:
    """Kill, let run out, and gather what can be known only while the emulators run."""
    await _until_up(world.actors, state)
    state.phase = "killing"
    weights: dict[Kept, float] = dict.fromkeys(world.emulators, _EMULATORS_WEIGHT)
    weights.update(dict.fromkeys(world.actors, _ACTORS_WEIGHT))
    victims = {one: weight for one, weight in weights.items() if not plan.only or one.name in plan.only}
    killing = asyncio.create_task(Killer(victims, Random(f"kill {plan.seed}"), world.journal).wreak())
    await asyncio.wait([killing], timeout=plan.seconds)
    killing.cancel()
    await asyncio.wait([killing])
    state.phase = "running out"
    await _until_answering(world)
    world.setting.end(time.time() + _LAG)
    await asyncio.sleep(_LAG)
    ending = world.ending
    waited_for = await ending.wait(state.records, plan.patience)
    again = await ending.emit_again(state.records)
    waited_for += await ending.wait(state.records, 5.0) if not waited_for else []
    state.phase = "judging"
    return Evidence(
        documents={},
        records=state.records,
        paths=world.setting.paths,
        logs=await ending.logs(),
        blocks=world.setting.blocks(time.time()),
        committed_block=await ending.committed_block(),
        again=again,
        waited_for=waited_for,
    )


@asynccontextmanager
async def _world(plan: Plan, folder: Path) -> AsyncIterator[_World]:
    """The processes, while inside; all of them are killed at the end."""
    (folder / "journals").mkdir(parents=True)
    journal = Journal(folder / "journals", "chaos", 1)
    kind = ForgetfulEmulatorProcess if plan.mistake == FORGETFUL_EMULATOR else EmulatorProcess
    ports = [free_port(Random()) for _ in range(3)]  # not by the seed: runs may go on side by side
    firestore = KeptEmulator(
        "firestore", partial(kind, data_dir=folder / "firestore", port=ports[0]), journal
    )
    tasks = KeptEmulator(
        "tasks",
        partial(TasksEmulatorProcess, data_dir=folder / "tasks", port=ports[1], certs_port=ports[2]),
        journal,
    )
    async with AsyncExitStack() as stack:
        listening = stack.enter_context(closing(listening_socket("127.0.0.1", 0)))
        for emulator in (firestore, tasks):
            stack.push_async_callback(emulator.end)
            await emulator.start()
        environment = Environment(
            project=PROJECT,
            queue="chaos",
            target=f"http://127.0.0.1:{listening.getsockname()[1]}",
            firestore=f"127.0.0.1:{ports[0]}",
            tasks=f"127.0.0.1:{ports[1]}",
            certs_url=tasks.process.certs_url,
        )
        await create_queues(
            environment.tasks,
            {environment.queue_name: UNLIMITED},
            min_backoff=_MIN_BACKOFF,
            max_backoff=_MAX_BACKOFF,
        )
        accounts = _ACCOUNTS + int(plan.seconds) // _ACCOUNTS_EVERY
        setting = Setting(
            folder, environment, plan.seed, time.time(), accounts, _RATE, not plan.small, plan.mistake
        )
        client, queue = firestore_client(environment.firestore), cloud_tasks_client(environment.tasks)
        for one in (client._firestore_api, queue):
            stack.push_async_callback(one.transport.close)
        roles = _SMALL if plan.small else _LARGE
        actors = [KeptActor(setting, name, own, listening) for name, own in roles.items()]
        ending = Ending(
            setting,
            client,
            queue,
            journal=journal,
            producers=[name for name, own in roles.items() if "produce" in own],
            followers=[name for name, own in roles.items() if "follow" in own],
        )
        async with _kept([firestore, tasks, *actors]):
            yield _World(setting, [firestore, tasks], actors, ending, journal)


@asynccontextmanager
async def _kept(crew: Sequence[Kept]) -> AsyncIterator[None]:
    async with asyncio.TaskGroup() as group:
        keeping = [group.create_task(one.keep()) for one in crew]
        try:
            yield
        finally:
            for task in keeping:
                task.cancel()


async def _until_up(actors: Sequence[KeptActor], state: State) -> None:
    async with asyncio.timeout(_UP):
        while {one.name for one in actors} - {one.who for one in state.records if one.what == "up"}:  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY)


async def _until_answering(world: _World) -> None:
    """Until both emulators are there again."""
    async with asyncio.timeout(_UP):
        while not all(one.is_up for one in world.emulators):  # noqa: ASYNC110
            await asyncio.sleep(_LOOK_EVERY)


async def _read(journals: Journals, state: State) -> None:
    while True:
        state.records += journals.new()
        await asyncio.sleep(0.2)
