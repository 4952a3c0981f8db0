"""How the engine waits without knowing who drives it.

The engine's coroutines suspend on nothing but a `Waiter`. A front drives them: `drive` from asyncio,
`drive_in_thread` from a plain thread. So one engine serves asyncio clients, threads of a synchronous
client, and a server at once, and an RPC that need not wait costs no task and no trip through a loop.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Generator
from concurrent.futures import Future
from typing import Any, TypeVar

T = TypeVar("T")


class Waiter:
    """A moment to wait for: `await waiter` returns after `wake()`, or raises what `fail()` was given."""

    __slots__ = ("_future",)

    def __init__(self) -> None:
        self._future: Future[None] = Future()

    def wake(self) -> None:
        """Let the one who waits go on; a second call changes nothing."""
        if not self._future.done():
            self._future.set_result(None)

    def fail(self, error: Exception) -> None:
        """Raise `error` in the one who waits; changes nothing once woken."""
        if not self._future.done():
            self._future.set_exception(error)

    @property
    def done(self) -> bool:
        return self._future.done()

    def __await__(self) -> Generator[Waiter, None, None]:
        if not self._future.done():
            yield self
        self._future.result(timeout=0)


async def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run an engine coroutine inside asyncio; cancelling the caller cancels the engine's wait."""
    try:
        waiter: Waiter = coroutine.send(None)
        while True:
            try:
                # asyncio's future, not the waiter's own, is what a cancellation cancels
                await asyncio.shield(asyncio.wrap_future(waiter._future))
            except asyncio.CancelledError as cancelled:
                if not waiter.done:
                    coroutine.throw(cancelled)
                raise
            except Exception:
                pass  # the coroutine raises it itself, where it waits
            waiter = coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        coroutine.close()


def drive_in_thread(coroutine: Coroutine[Any, Any, T], timeout: float | None = None) -> T:
    """Run an engine coroutine in this thread; `TimeoutError` after `timeout` seconds in one wait."""
    try:
        waiter: Waiter = coroutine.send(None)
        while True:
            waiter._future.exception(timeout)
            waiter = coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        coroutine.close()
