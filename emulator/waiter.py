"""How the engine waits without knowing who drives it.

The engine's coroutines suspend on nothing but a `Waiter`. A front drives them, from asyncio or from a plain thread
(see `front`), so one engine serves asyncio clients, the threads of a synchronous client, and a server at once; and
an RPC that need not wait costs no task and no turn of a loop.
"""

from __future__ import annotations

from collections.abc import Coroutine, Generator
from concurrent.futures import Future, InvalidStateError
from contextlib import suppress
from typing import Any, TypeVar

T = TypeVar("T")


class Waiter:
    """A moment to wait for: `await waiter` returns after `wake()`.

    `timed` tells that the clock alone may bring it about, for a transaction that is in the way expires.
    """

    __slots__ = ("future", "timed")

    def __init__(self, *, timed: bool = True) -> None:
        self.future: Future[None] = Future()
        self.timed = timed

    def wake(self) -> None:
        """Let the one who waits go on; a second call changes nothing."""
        with suppress(InvalidStateError):  # woken before, or given up by the one who waited
            self.future.set_result(None)

    @property
    def done(self) -> bool:
        return self.future.done()

    def __await__(self) -> Generator[Waiter, None, None]:
        if not self.future.done():
            yield self


def run_through(coroutine: Coroutine[Any, Any, T]) -> T:
    """Run an engine coroutine that cannot wait."""
    try:
        coroutine.send(None)
    except StopIteration as stop:
        result: T = stop.value
        return result
    finally:
        coroutine.close()
    raise AssertionError("a coroutine that cannot wait has waited")
