"""`ListenerManager`: runs listeners beside the service, on one process at a time."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from datetime import timedelta

from dsset.clock import Clock, SystemClock
from eventbox.sources.ending import end
from eventbox.sources.errors import ListenerError
from eventbox.sources.event_store import EventStore
from eventbox.sources.leader import Leader, Lock
from eventbox.sources.listener import ListenerStore, ListenFunc, Service, listener_name
from eventbox.sources.listener_registry import load_listeners, registered_listeners

READY_INTERVAL = timedelta(seconds=1)
"""How often `ready` is asked until it says so."""


async def always() -> bool:
    """Ready at once."""
    return True


class ListenerManager:
    """Runs all listeners while this process holds the lock.

        manager = ListenerManager(Service("shop"), store, lock)
        await manager.run()

    Args:
        service: what listeners may know of the service.
        store: where they put events, and keep what they must remember.
        lock: a lock that nothing else uses.
        ready: they are not started before it says so; it is asked each second.
        listeners: which ones, by name; by default those that are registered, also by installed packages.
        clock: what it waits by.

    On Cloud Run listeners need CPU that is always allocated.
    """

    def __init__(
        self,
        service: Service,
        store: EventStore,
        lock: Lock,
        *,
        ready: Callable[[], Awaitable[bool]] = always,
        listeners: Mapping[str, ListenFunc] | None = None,
        clock: Clock | None = None,
    ) -> None:
        if not all(hasattr(service, name) for name in ("name", "logger", "config")):
            raise TypeError(f"service must be a Service, not {type(service).__name__}")
        if not isinstance(store, EventStore):
            raise TypeError(f"store must be an EventStore, not {type(store).__name__}")
        if not callable(ready):
            raise TypeError(f"ready must be an asynchronous function, not {type(ready).__name__}")
        self._service = service
        self._store = store
        self._lock = lock
        self._ready = ready
        self._listeners = None if listeners is None else _checked(listeners)
        self._clock = clock or SystemClock()

    async def run(self) -> None:
        """Run the listeners, until all of them have ended by themselves, or it is cancelled.

        They are started when the service is ready and this process holds the lock, all at once. When the lease is lost
        they are cancelled, and started again once the lock is back. One that ends leaves the others running; one that
        fails ends them all. When this returns or raises, no listener is left running and the lock is let go.

        Raises:
            ListenerError: a listener failed, or could not be loaded; `name` tells which, its `__cause__` why.
            ValueError: an installed package registers a name that is taken.
            GoogleAPICallError: the lock could not be taken: Firestore refuses.
        """
        listeners: Mapping[str, ListenFunc] | None = self._listeners
        if listeners is None:
            load_listeners()
            listeners = registered_listeners()
        if not listeners:
            return
        while not await self._ready():
            await self._clock.sleep(READY_INTERVAL)
        await Leader(self._lock).run(lambda token: self._run_all(listeners))

    async def _run_all(self, listeners: Mapping[str, ListenFunc]) -> None:
        self._service.logger.info("listening: %s", ", ".join(listeners))
        tasks = {
            asyncio.create_task(self._run(name, listen), name=f"listener {name}"): name
            for name, listen in listeners.items()
        }
        pending = set(tasks)
        try:
            while pending:
                done, pending = await asyncio.wait(pending, return_when=asyncio.FIRST_COMPLETED)
                for task in [one for one in tasks if one in done]:
                    error = asyncio.CancelledError() if task.cancelled() else task.exception()
                    if error is not None:
                        raise ListenerError(tasks[task], repr(error)) from error
                    self._service.logger.info("listener %s has ended", tasks[task])
        finally:
            await end(*tasks)

    async def _run(self, name: str, listen: ListenFunc) -> None:
        await listen(self._service, ListenerStore(self._store, name))


def _checked(listeners: Mapping[str, ListenFunc]) -> dict[str, ListenFunc]:
    checked: dict[str, ListenFunc] = {}
    for name, listen in listeners.items():
        key = listener_name(name)
        if key in checked:
            raise ValueError(f"there are two listeners {key!r}")
        if not callable(listen):
            raise TypeError(
                f"listener {name!r} must be an asynchronous function, not {type(listen).__name__}"
            )
        checked[key] = listen
    return checked
