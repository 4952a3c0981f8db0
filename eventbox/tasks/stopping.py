"""`Stopping`: a worker that is told to stop, by its server, by a signal, or by `stop()`."""

from __future__ import annotations

import asyncio
import logging
import signal
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

logger = logging.getLogger("eventbox.tasks")

_SIGNALS = (signal.SIGTERM, signal.SIGINT)


class Stopping:
    """Whether the worker is to stop, and what has to be over by then.

    Args:
        grace: how long what runs may go on after that.
    """

    def __init__(self, grace: timedelta) -> None:
        self._grace_s = grace.total_seconds()
        self._begun = False
        # a dict for a set that keeps the order of beginning
        self._running: dict[tuple[asyncio.AbstractEventLoop, asyncio.Timeout], None] = {}

    @property
    def begun(self) -> bool:
        """Whether it is to stop."""
        return self._begun

    def begin(self) -> None:
        """Let nothing new be begun, and what runs end within the grace. From any thread, and in a signal handler."""
        if self._begun:
            return
        self._begun = True
        for loop, timeout in list(self._running):
            if not loop.is_closed():
                loop.call_soon_threadsafe(self._shorten, loop, timeout)

    def reset(self) -> None:
        """Forget about it: a new life of the application begins, as in tests that start it several times."""
        self._begun = False

    @contextmanager
    def running(self, timeout: asyncio.Timeout) -> Iterator[None]:
        """Something that runs within this time-out, which comes sooner where the worker stops meanwhile."""
        entry = (asyncio.get_running_loop(), timeout)
        self._running[entry] = None
        try:
            if self._begun:
                self._shorten(*entry)
            yield
        finally:
            del self._running[entry]

    def _shorten(self, loop: asyncio.AbstractEventLoop, timeout: asyncio.Timeout) -> None:
        if (loop, timeout) not in self._running or timeout.expired():
            return
        by = loop.time() + self._grace_s
        when = timeout.when()
        if when is None or by < when:
            timeout.reschedule(by)

    @contextmanager
    def on_signals(self) -> Iterator[None]:
        """Inside the block, SIGTERM and SIGINT begin it, and then do what the server has them do.

        A server ends an application only after all requests have been answered, which is too late to tell them. Where
        the server has no handler of its own (or this is not the main thread), nothing is changed: the signal then ends
        the process as it does without us.
        """
        if threading.current_thread() is not threading.main_thread():
            logger.debug("not in the main thread: call worker.stop() before the server stops")
            yield
            return
        chained = [(number, _chain(number, self.begin)) for number in _SIGNALS]
        try:
            yield
        finally:
            for number, handlers in chained:
                if handlers is not None and signal.getsignal(number) is handlers[0]:
                    signal.signal(number, handlers[1])


def _chain(number: signal.Signals, first: Callable[[], None]) -> tuple[Callable[..., None], Any] | None:
    """Let a signal call `first` and then its present handler: the new handler and the old one."""
    present = signal.getsignal(number)
    if not callable(present) or present is signal.default_int_handler:
        return None
    then: Callable[[int, FrameType | None], Any] = present

    def handle(received: int, frame: FrameType | None) -> None:
        first()
        then(received, frame)

    signal.signal(number, handle)
    return handle, present
