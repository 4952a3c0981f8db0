"""How a worker learns that it is to stop, and what that does to what is running."""

from __future__ import annotations

import asyncio
import signal
import threading
from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from eventbox.tasks.stopping import Stopping


@pytest.fixture
def server() -> Iterator[list[int]]:
    """The signals that a server's own handler was given."""
    received: list[int] = []
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
    for number in before:
        signal.signal(number, lambda number, frame: received.append(number))
    try:
        yield received
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_begins_the_stop_before_the_server_hears_of_it(server: list[int], number: int) -> None:
    stopping = Stopping(timedelta(0))
    with stopping.on_signals():
        signal.raise_signal(number)

        assert stopping.begun
        assert server == [number]


def test_afterwards_the_servers_handlers_are_as_they_were(server: list[int]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    stopping = Stopping(timedelta(0))
    with stopping.on_signals():
        assert signal.getsignal(signal.SIGTERM) is not before
    signal.raise_signal(signal.SIGTERM)

    assert signal.getsignal(signal.SIGTERM) is before
    assert not stopping.begun


def test_a_handler_that_somebody_put_over_ours_stays(server: list[int]) -> None:
    def later(number: int, frame: Any) -> None: ...

    with Stopping(timedelta(0)).on_signals():
        signal.signal(signal.SIGTERM, later)

    assert signal.getsignal(signal.SIGTERM) is later


def test_where_no_server_handles_signals_they_end_the_process_as_ever(server: list[int]) -> None:
    signal.signal(signal.SIGTERM, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with Stopping(timedelta(0)).on_signals():
        assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
        assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


def test_outside_the_main_thread_no_handler_is_touched(server: list[int]) -> None:
    before = signal.getsignal(signal.SIGTERM)
    seen = []

    def serve() -> None:
        with Stopping(timedelta(0)).on_signals():
            seen.append(signal.getsignal(signal.SIGTERM))

    thread = threading.Thread(target=serve)
    thread.start()
    thread.join()
    assert seen == [before]


async def test_what_runs_has_the_grace_to_end() -> None:
    stopping = Stopping(timedelta(0))
    started = asyncio.Event()

    async def run() -> None:
        async with asyncio.timeout(3_600) as timeout:
            with stopping.running(timeout):
                started.set()
                await asyncio.Event().wait()

    running = asyncio.ensure_future(run())
    await started.wait()
    await asyncio.to_thread(stopping.begin)
    stopping.begin()  # again: nothing further

    with pytest.raises(TimeoutError):
        await running


async def test_what_begins_later_has_it_too() -> None:
    stopping = Stopping(timedelta(0))
    stopping.begin()

    with pytest.raises(TimeoutError):
        async with asyncio.timeout(None) as timeout:
            with stopping.running(timeout):
                await asyncio.Event().wait()


async def test_what_would_end_sooner_still_does() -> None:
    stopping = Stopping(timedelta(hours=1))
    stopping.begin()

    async with asyncio.timeout(60) as timeout:
        before = timeout.when()
        with stopping.running(timeout):
            await asyncio.sleep(0)
            assert timeout.when() == before


async def test_what_has_ended_is_left_alone() -> None:
    stopping = Stopping(timedelta(0))
    async with asyncio.timeout(3_600) as timeout:
        with stopping.running(timeout):
            stopping.begin()  # it takes effect in the loop's next turn
        when = timeout.when()
        for _ in range(5):
            await asyncio.sleep(0)
        assert timeout.when() == when


def test_a_new_life_of_the_application_is_not_stopping() -> None:
    stopping = Stopping(timedelta(0))
    stopping.begin()
    stopping.reset()

    assert not stopping.begun
