"""Listeners: registered once, run by one process at a time, none left behind."""

from __future__ import annotations

import asyncio
import functools
import json
import logging
import sys
from collections.abc import Iterator
from datetime import timedelta
from importlib.metadata import EntryPoint
from typing import Any

import pytest
from click.testing import CliRunner
from google.cloud.firestore import AsyncClient

from emulator.firestore import Emulator, Fault
from emulator.process import EmulatorProcess
from eventbox import EventBox
from eventbox.cli import main
from eventbox.sources import (
    DistributedLock,
    EventStore,
    ListenerError,
    ListenerManager,
    ListenerStore,
    Service,
    get_listener,
    listener_registry,
    load_listeners,
    register_listener,
    registered_listeners,
)
from eventbox.testing import ManualClock
from tests.advancing import while_advancing
from tests.fronts import connect

HEARTBEAT = timedelta(seconds=5)
SERVICE = Service("shop", config={"a": "b"})


@pytest.fixture(autouse=True)
def _registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(listener_registry, "_registry", listener_registry.ListenerRegistry())
    monkeypatch.setattr(listener_registry, "entry_points", lambda group: [])
    return


async def nothing(service: Service, store: ListenerStore) -> None:
    """Ends at once."""


class Listening:
    """A listener that runs until it is told to end, or to fail."""

    running = 0

    def __init__(self) -> None:
        self.starts = 0
        self.now = 0
        self.stores: list[ListenerStore] = []
        self._fail: BaseException | None = None
        self._end = asyncio.Event()

    async def __call__(self, service: Service, store: ListenerStore) -> None:
        assert service is SERVICE
        self.stores.append(store)
        self.starts += 1
        self.now += 1
        try:
            await self._end.wait()
            if self._fail is not None:
                raise self._fail
        finally:
            self.now -= 1

    def end(self, error: BaseException | None = None) -> None:
        self._fail = error
        self._end.set()


class World:
    def __init__(self, client: AsyncClient, clock: ManualClock, count: int = 2, **kwargs: Any) -> None:
        self.lock = DistributedLock(client, "listeners", heartbeat=HEARTBEAT, clock=clock)
        self.listeners = [Listening() for _ in range(count)]
        store = EventStore(client.document("sources/1"), clock=clock)
        named = {f"L{n}": listening for n, listening in enumerate(self.listeners)}
        kwargs = {"listeners": named, **kwargs}
        self.manager = ListenerManager(SERVICE, store, self.lock, clock=clock, **kwargs)
        self.task = asyncio.create_task(self.manager.run())

    @property
    def now(self) -> list[int]:
        return [listening.now for listening in self.listeners]


async def settle() -> None:
    for _ in range(200):
        await asyncio.sleep(0)


def test_a_name_is_case_insensitive_and_registered_once() -> None:
    register_listener("Deposits", nothing)
    assert get_listener("DEPOSITS") is get_listener("deposits") is nothing
    assert get_listener("other") is None
    assert dict(registered_listeners()) == {"deposits": nothing}
    with pytest.raises(ValueError, match="'deposits' is registered already"):
        register_listener("dePosits", nothing)
    with pytest.raises(TypeError):
        registered_listeners()["x"] = nothing  # type: ignore[index]


@pytest.mark.parametrize("name", ["", "a b", " a", "a\n", "a\tb", "a\u00a0b", "x" * 257])
def test_what_is_no_name_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match="name of a listener"):
        register_listener(name, nothing)
    assert not registered_listeners()


def test_what_is_no_listener_is_refused(local_client: AsyncClient) -> None:
    with pytest.raises(TypeError, match="name of a listener"):
        register_listener(1, nothing)  # type: ignore[arg-type]
    with pytest.raises(TypeError, match="asynchronous function"):
        register_listener("a", None)  # type: ignore[arg-type]
    store = EventStore(local_client.document("sources/1"))
    lock = DistributedLock(local_client, "a", heartbeat=HEARTBEAT)
    with pytest.raises(ValueError, match="two listeners 'a'"):
        ListenerManager(SERVICE, store, lock, listeners={"a": nothing, "A": nothing})
    for bad in ({"service": "shop"}, {"store": 1}, {"ready": True}, {"listeners": {"a": 1}}):
        with pytest.raises(TypeError):
            ListenerManager(**{"service": SERVICE, "store": store, "lock": lock, **bad})  # type: ignore[arg-type]
    for arguments in ((1,), ("a", "logger"), ("a", logging.getLogger("a"), 1)):
        with pytest.raises(TypeError):
            Service(*arguments)  # type: ignore[arg-type]
    with pytest.raises(ValueError, match="empty"):
        Service("")


def test_installed_packages_register_listeners(monkeypatch: pytest.MonkeyPatch) -> None:
    here = "tests.eventbox.sources.test_listeners"
    found = [EntryPoint("Installed", f"{here}:nothing", listener_registry.GROUP)]
    monkeypatch.setattr(listener_registry, "entry_points", lambda group: found)
    load_listeners()
    load_listeners()
    assert dict(registered_listeners()) == {"installed": nothing}
    found.append(EntryPoint("broken", f"{here}:missing", listener_registry.GROUP))
    with pytest.raises(ListenerError, match=r"listener 'broken' failed.*missing.*could not be loaded"):
        load_listeners()


async def test_all_are_started_once_the_service_is_ready(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    ready = False

    async def is_ready() -> bool:
        return ready

    world = World(local_client, clock, ready=is_ready)
    await settle()
    clock.advance(timedelta(seconds=1))
    await settle()
    assert world.now == [0, 0]
    assert not world.lock.held
    ready = True
    clock.advance(timedelta(seconds=1))
    await settle()
    assert world.now == [1, 1]
    world.task.cancel()
    await asyncio.wait([world.task])
    assert world.now == [0, 0]
    assert not world.lock.held
    assert asyncio.all_tasks() == {asyncio.current_task()}


async def test_one_that_ends_leaves_the_others_running_and_run_returns_after_the_last(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    world = World(local_client, clock)
    await settle()
    world.listeners[0].end()
    await settle()
    assert world.now == [0, 1]
    world.listeners[1].end()
    await while_advancing(clock, world.task)
    assert not world.lock.held


@pytest.mark.parametrize("error", [OSError("broken"), asyncio.CancelledError()])
async def test_one_that_fails_ends_them_all_and_run_raises_with_its_name(
    local_client: AsyncClient, clock: ManualClock, error: BaseException
) -> None:
    world = World(local_client, clock, 3)
    await settle()
    world.listeners[1].end(error)
    with pytest.raises(ListenerError, match="listener 'l1' failed") as raised:
        await while_advancing(clock, world.task)
    assert raised.value.name == "l1"
    assert isinstance(raised.value.__cause__, type(error))
    assert world.now == [0, 0, 0]
    assert not world.lock.held


async def test_they_are_cancelled_when_the_lease_is_lost_and_started_again_when_it_is_back(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock, caplog: pytest.LogCaptureFixture
) -> None:
    first = World(local_client, clock)
    await settle()
    second = World(local_client, clock)
    await settle()
    assert (first.now, second.now) == ([1, 1], [0, 0])
    emulator.faults.add(Fault(rpc="Commit", error="UNAVAILABLE", times=1_000))
    for _ in range(15):
        clock.advance(timedelta(seconds=1))
        await settle()
    assert first.now == [0, 0]  # before anybody else has begun
    assert second.now == [0, 0]
    emulator.faults.clear()
    for _ in range(60):
        clock.advance(timedelta(seconds=1))
        await settle()
        assert [*first.now, *second.now] in ([1, 1, 0, 0], [0, 0, 1, 1], [0, 0, 0, 0])
    assert sum(first.now + second.now) == 2
    leader, other = (first, second) if first.now == [1, 1] else (second, first)
    starts = other.listeners[0].starts
    leader.task.cancel()
    await while_advancing(clock, asyncio.wait([leader.task]))
    await settle()
    assert other.now == [1, 1]
    assert other.listeners[0].starts == starts + 1
    other.task.cancel()
    await asyncio.wait([other.task])


async def test_a_listener_has_keys_of_its_own_and_broadcasts_events(
    local_client: AsyncClient, clock: ManualClock
) -> None:
    world = World(local_client, clock)
    await settle()
    one, other = (listening.stores[0] for listening in world.listeners)
    await one.set(b"k", b"1")
    await other.set(b"k", b"2")
    assert (await one.get(b"k"), await other.get(b"k")) == (b"1", b"2")
    store = EventStore(local_client.document("sources/1"))
    for prefix in (b"l0", b"listener", b"listenerl0"):
        assert await store.kv(prefix).get(b"k") is None
    await one.delete(b"k")
    assert await one.get(b"k") is None
    assert await ListenerStore(store, "L1").get(b"k") == b"2"
    event_id = await one.broadcast("t", b"data")
    assert await other.broadcast("t", b"data") == event_id
    box = EventBox(local_client)
    await box.run_in_transaction(lambda txn: one.broadcast("t", b"more", transaction=txn))
    assert [event.data for event in await store.get_unreceived_events()] == [b"data", b"more"]
    world.task.cancel()
    await asyncio.wait([world.task])


async def test_registered_ones_are_run_by_default_and_none_is_no_work(
    emulator: Emulator, local_client: AsyncClient, clock: ManualClock
) -> None:
    store = EventStore(local_client.document("sources/1"))
    lock = DistributedLock(local_client, "a", heartbeat=HEARTBEAT)
    await ListenerManager(SERVICE, store, lock).run()
    assert not emulator.counts.rpcs
    called = asyncio.Event()

    async def listen(service: Service, store: ListenerStore) -> None:
        called.set()

    register_listener("mine", listen)
    await ListenerManager(SERVICE, store, lock).run()
    assert called.is_set()


async def test_the_command_lists_them_and_what_they_keep(monkeypatch: pytest.MonkeyPatch) -> None:
    register_listener("Deposits", nothing)
    register_listener("other", functools.partial(nothing))
    made: dict[str, Any] = {"__name__": "made.by.code"}
    exec("async def listen(service, store): ...", made)  # of no module that could be found
    register_listener("made", made["listen"])
    async with EmulatorProcess() as process, connect(process.address, "demo") as client:
        store = EventStore(client.document("sources/1"))
        await ListenerStore(store, "deposits").set(b"place", b"\0\1")
        await ListenerStore(store, "deposits").set(b"name", b"x" * 100)
        monkeypatch.setenv("FIRESTORE_EMULATOR_HOST", process.address)
        monkeypatch.setattr(sys, "path", [*sys.path])  # the command puts its folder there, and leaves it

        def invoke(*arguments: str) -> Any:
            return CliRunner().invoke(main, ["listeners", "--project", "demo", *arguments])

        shown = await asyncio.to_thread(invoke, "--store", "sources/1")
        assert shown.exit_code == 0, shown.output
        assert "deposits  (tests.eventbox.sources.test_listeners:nothing)" in shown.output
        assert "other  (tests.eventbox.sources.test_listeners:nothing)" in shown.output
        assert "made  (made.by.code:listen)" in shown.output
        assert "place = 0x0001  (2 bytes, " in shown.output
        assert "name = " + "x" * 60 + "...  (100 bytes" in shown.output
        assert "keeps nothing yet" in shown.output
        as_json = json.loads((await asyncio.to_thread(invoke, "--store", "sources/1", "--json")).output)
        assert as_json["deposits"]["keeps"][1]["value"] == "0001"
        assert as_json["other"]["keeps"] == []
        assert "keeps" not in (await asyncio.to_thread(invoke)).output
        odd = await asyncio.to_thread(invoke, "--store", "sources")
        assert odd.exit_code == 2
        assert "is no document" in odd.output
        missing = await asyncio.to_thread(invoke, "--import", "no_such_module")
        assert missing.exit_code == 1
        assert "no_such_module could not be imported" in missing.output
